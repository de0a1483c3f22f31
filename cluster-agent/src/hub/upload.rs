//! Telling a hub whose store was lost, or went back, what this member was told before (SEMANTICS 42).

use crds::{Fence, RolloutAssignment, Upload};
use kube::api::ObjectMeta;

use super::Hub;
use crate::accept::Acceptor;
use crate::logging::with_causes;

/// Orders of one post, as the hub takes them. The largest has some 150 KiB with its status.
const MAX_ORDERS: usize = 8;

/// Tells everything. If that fails, the hub asks again within 10 s.
pub(super) async fn all(member: &str, hub: &Hub, acceptor: &Acceptor) {
    let (seen, orders) = match acceptor.told().await {
        Ok(told) => told,
        Err(error) => return tracing::warn!(error = with_causes(&error), "failed to read what the hub asks for"),
    };
    let count = orders.len();
    for part in parts(member, seen, orders) {
        if let Err(error) = hub.post("/v1/uploads", &part).await {
            return tracing::warn!(error = with_causes(&error), "failed to tell the hub what this member was told");
        }
    }
    tracing::info!(count, "told the hub, whose store is new or went back, what this member was told");
}

/// The posts; the last one says that it is. Pure.
fn parts(member: &str, seen: Fence, orders: Vec<RolloutAssignment>) -> Vec<Upload> {
    let orders: Vec<RolloutAssignment> = orders.into_iter().map(bare).collect();
    let mut parts: Vec<Upload> = orders
        .chunks(MAX_ORDERS)
        .map(|orders| Upload { member: member.to_owned(), seen, orders: orders.to_vec(), complete: false })
        .collect();
    if parts.is_empty() {
        parts.push(Upload { member: member.to_owned(), seen, orders: Vec::new(), complete: false });
    }
    if let Some(last) = parts.last_mut() {
        last.complete = true;
    }
    parts
}

/// Without what is of this cluster only, and without the objects, which the hub has from the rollout or not at all.
fn bare(order: RolloutAssignment) -> RolloutAssignment {
    let RolloutAssignment { metadata, mut spec, status } = order;
    if let Some(manifests) = &mut spec.manifests {
        manifests.objects.clear();
    }
    RolloutAssignment { metadata: ObjectMeta { name: metadata.name, ..ObjectMeta::default() }, spec, status }
}

#[cfg(test)]
mod tests {
    use crds::AssignedManifests;

    use super::*;
    use crate::assignment::fixtures::assignment;

    #[test]
    fn only_the_last_part_is_complete_and_a_member_without_orders_says_so() {
        let complete = |count: usize| -> Vec<(usize, bool)> {
            let orders = vec![assignment(5); count];
            let parts = parts("m", Fence::default(), orders);
            parts.iter().map(|part| (part.orders.len(), part.complete)).collect()
        };
        assert_eq!(complete(0), [(0, true)]);
        assert_eq!(complete(8), [(8, true)]);
        assert_eq!(complete(17), [(8, false), (8, false), (1, true)]);
    }

    #[test]
    fn nothing_of_this_cluster_is_told_beside_order_and_status() {
        let mut order = assignment(5);
        order.metadata.uid = Some("u".to_owned());
        let objects = vec![crds::Manifest(serde_json::json!({"kind": "ConfigMap"}))];
        let (hash, overrides) = ("aaaa".to_owned(), vec![2]);
        order.spec.manifests = Some(AssignedManifests { hash, overrides, force_conflicts: true, objects });
        let told = bare(order.clone());
        assert_eq!((told.metadata.name.as_deref(), told.metadata.uid), (Some("checkout"), None));
        order.spec.manifests.iter_mut().for_each(|manifests| manifests.objects.clear());
        assert_eq!(told.spec, order.spec);
    }
}
