//! Every image that a Deployment has had, not only those that somebody happened to look at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use crds::WorkloadKind;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::harness::Watched;

/// Asks the server to end the watch before the client's own deadline for a quiet connection; then it goes on.
const WATCH_SECONDS: u32 = 15;

/// A watch of one Deployment that misses no version of it. When it can't go on, its end says so.
#[derive(Debug)]
pub struct ImageWatch {
    seen: Arc<Mutex<Result<BTreeSet<String>>>>,
    task: JoinHandle<()>,
}

impl ImageWatch {
    /// Sees the image of now, and from then on all.
    pub async fn start(client: Client, watched: Watched<'_>) -> Result<Self> {
        let Watched { kind, namespace, name, container } = watched;
        ensure!(kind == WorkloadKind::Deployment, "only a Deployment can be watched, not a {kind}");
        let api: Api<Deployment> = Api::namespaced(client, namespace);
        let only = format!("metadata.name={name}");
        let list = api.list(&ListParams::default().fields(&only)).await.context("failed to list the Deployment")?;
        let from = list.metadata.resource_version.context("the list has no resourceVersion")?;
        let images = list.items.iter().filter_map(|object| image(object, container)).collect();
        let seen = Arc::new(Mutex::new(Ok(images)));
        let (kept, container) = (Arc::clone(&seen), container.to_owned());
        let task = tokio::spawn(async move {
            let Err(error) = follow(&api, &only, &container, from, &kept).await;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
        });
        Ok(Self { seen, task })
    }

    /// Ends the watch and hands the images out.
    pub fn stop(self) -> Result<BTreeSet<String>> {
        self.task.abort();
        std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), Ok(BTreeSet::new()))
    }
}

impl Drop for ImageWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    api: &Api<Deployment>,
    only: &str,
    container: &str,
    mut version: String,
    seen: &Mutex<Result<BTreeSet<String>>>,
) -> Result<std::convert::Infallible> {
    let parameters = WatchParams::default().fields(only).timeout(WATCH_SECONDS);
    loop {
        let mut events = std::pin::pin!(api.watch(&parameters, &version).await.context("failed to watch")?);
        while let Some(event) = events.next().await {
            let object = match event.context("the watch broke")? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => object,
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Deleted(_) => bail!("the Deployment was deleted"),
                WatchEvent::Error(status) => bail!("the API server ended the watch: {}", status.message),
            };
            version = object.resource_version().context("an object has no resourceVersion")?;
            if let Ok(images) = &mut *seen.lock().unwrap_or_else(PoisonError::into_inner) {
                images.extend(image(&object, container));
            }
        }
    }
}

fn image(object: &Deployment, container: &str) -> Option<String> {
    let containers = &object.spec.template.spec.as_ref()?.containers;
    containers.iter().find(|candidate| candidate.name == container)?.image.clone()
}
