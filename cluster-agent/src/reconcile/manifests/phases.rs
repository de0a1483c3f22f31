//! In which order objects are applied and deleted, and which of them may be deleted at all. Pure.

use crds::ObjectRef;

/// Kinds that come first, with their API groups: other objects are in them, or of them.
const FIRST: [(&str, &str); 2] = [("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")];

/// Kinds of Kubernetes itself that follow, with their API groups, in the order in which Helm installs them. Kinds that
/// are named nowhere here come after these.
const KNOWN: [(&str, &str); 27] = [
    ("scheduling.k8s.io", "PriorityClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("policy", "PodDisruptionBudget"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("storage.k8s.io", "StorageClass"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "Ingress"),
];

/// Kinds that come last, with their API groups: the API server asks what stands behind them, which has to be there by
/// then.
const LAST: [(&str, &str); 3] = [
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
];

/// Kinds that are never deleted, with their API groups: what is in them, or of them, goes with them, and is not ours.
const KEPT: [(&str, &str); 5] = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Secret"),
];

/// Whether it has to be there, and be ready, before others are applied: a namespace or the definition of a kind.
pub fn is_first(object: &ObjectRef) -> bool {
    place(&FIRST, object).is_some()
}

/// Whether the API server asks what stands behind it when others are applied: while that is not well, they are refused.
pub fn is_last(object: &ObjectRef) -> bool {
    place(&LAST, object).is_some()
}

/// Puts what is about these objects into the order in which they are applied. Objects of one kind, and those of kinds
/// that Kubernetes doesn't have itself, stay in the order in which a person wrote them.
pub fn sort_for_apply<T>(items: &mut [T], object: impl Fn(&T) -> ObjectRef) {
    items.sort_by_cached_key(|item| rank(&object(item)));
}

/// Puts what is about these objects into the order in which they are deleted: that of applying, the other way round.
pub fn sort_for_deletion<T>(items: &mut [T], object: impl Fn(&T) -> ObjectRef) {
    sort_for_apply(items, object);
    items.reverse();
}

/// Whether the agent may delete an object of this kind at all (SEMANTICS 20).
pub fn may_delete(object: &ObjectRef) -> bool {
    place(&KEPT, object).is_none()
}

/// The later, the higher: first by phase, then within it.
fn rank(object: &ObjectRef) -> (u8, usize) {
    let in_order = |phase: u8, kinds: &[(&str, &str)]| place(kinds, object).map(|place| (phase, place));
    in_order(0, &FIRST).or_else(|| in_order(1, &KNOWN)).or_else(|| in_order(3, &LAST)).unwrap_or((2, 0))
}

fn place(kinds: &[(&str, &str)], object: &ObjectRef) -> Option<usize> {
    kinds.iter().position(|(group, kind)| *group == object.group() && *kind == object.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(api_version: &str, kind: &str, name: &str) -> ObjectRef {
        ObjectRef { api_version: api_version.into(), kind: kind.into(), namespace: String::new(), name: name.into() }
    }

    /// In the order in which they are applied.
    fn objects() -> Vec<ObjectRef> {
        [
            ("v1", "Namespace", "a"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "a"),
            ("scheduling.k8s.io/v1", "PriorityClass", "a"),
            ("v1", "ServiceAccount", "a"),
            ("v1", "ConfigMap", "z"),
            ("v1", "ConfigMap", "a"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "a"),
            ("v1", "Service", "a"),
            ("apps/v1", "Deployment", "a"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "a"),
            ("networking.k8s.io/v1", "Ingress", "a"),
            ("serving.knative.dev/v1", "Service", "z"),
            ("example.com/v1", "Widget", "a"),
            ("apiregistration.k8s.io/v1", "APIService", "a"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "a"),
        ]
        .map(|(api_version, kind, name)| object(api_version, kind, name))
        .to_vec()
    }

    #[test]
    fn what_others_need_is_applied_first_and_deleted_last() {
        let expected = objects();
        let mut mixed = expected.clone();
        // Those of one rank stay as they were.
        mixed.sort_by(|one, other| one.kind.cmp(&other.kind));
        sort_for_apply(&mut mixed, Clone::clone);
        assert_eq!(mixed, expected);
        sort_for_deletion(&mut mixed, Clone::clone);
        assert_eq!(mixed, expected.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn namespaces_and_definitions_of_kinds_are_waited_for() {
        let first: Vec<String> = objects().into_iter().filter(is_first).map(|object| object.kind).collect();
        assert_eq!(first, ["Namespace", "CustomResourceDefinition"]);
        assert!(!is_first(&object("example.com/v1", "Namespace", "a")));
    }

    #[test]
    fn webhooks_and_the_like_are_told_from_what_they_are_asked_about() {
        let last: Vec<String> = objects().into_iter().filter(is_last).map(|object| object.kind).collect();
        assert_eq!(last, ["APIService", "ValidatingWebhookConfiguration"]);
    }

    #[test]
    fn semantics_20_what_holds_other_things_is_never_deleted() {
        for (api_version, kind, expected) in [
            ("v1", "Namespace", false),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
            ("v1", "PersistentVolume", false),
            ("v1", "PersistentVolumeClaim", false),
            ("v1", "Secret", false),
            ("v1", "ConfigMap", true),
            ("apps/v1", "Deployment", true),
            ("example.com/v1", "Secret", true),
        ] {
            assert_eq!(may_delete(&object(api_version, kind, "a")), expected, "{api_version} {kind}");
        }
    }
}
