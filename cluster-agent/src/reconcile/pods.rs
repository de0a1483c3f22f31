//! Pods of a workload, read in pages, and what is said of them in more than one place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Client, ResourceExt as _};

use super::workload::Workload;
use crate::cluster::{Error, call};

/// Pods of one page.
const PAGE: u32 = 500;
/// Pages looked at: as many pods as Kubernetes bears nodes, and more than any `StatefulSet` that is updated one by one has.
const MOST_PAGES: usize = 10;

/// Views of the pods that a workload's selector means. Client required.
pub(super) async fn views<T>(
    client: &Client,
    namespace: &str,
    live: &Workload,
    view: impl Fn(&Pod) -> Option<T>,
) -> Result<Vec<T>, Error> {
    // A selector that can't be read selects nothing; the API server refuses such a workload anyway.
    let Ok(selector) = Selector::try_from(live.selector.clone()) else { return Ok(Vec::new()) };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    let mut parameters = ListParams::default().labels_from(&selector).limit(PAGE);
    for _ in 0..MOST_PAGES {
        let page = call("list the pods", api.list(&parameters)).await?;
        found.extend(page.items.iter().filter_map(&view));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    Ok(found)
}

/// Whether the object of this uid controls it.
pub(super) fn is_owned(pod: &Pod, owner: &str) -> bool {
    pod.owner_references().iter().any(|one| one.uid == owner && one.controller == Some(true))
}

/// What says that it is ready, if it is.
pub(super) fn ready(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|one| one.type_ == "Ready" && one.status == "True")
}

/// Whether it is being deleted.
pub(super) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Images of all its containers, init containers included.
pub(super) fn images(pod: &Pod) -> BTreeMap<String, String> {
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    containers.map(|one| (one.name.clone(), one.image.clone().unwrap_or_default())).collect()
}
