//! What is said of objects that the API server doesn't take. Pure.

use crds::ObjectRef;

use crate::cluster::{Contested, Error};

/// What is named in one message, of all that it counts.
const MOST_NAMED: usize = 3;

/// Of fields that belong to others.
pub(super) fn contested(object: &ObjectRef, fields: &[Contested]) -> String {
    let fields = fields.iter().map(|one| format!("{} belongs to '{}'", one.field, one.manager)).collect();
    format!("{object}: {}", listed(fields))
}

/// Of an object that nobody has enabled where the agent is installed.
pub(super) fn not_enabled(object: &ObjectRef) -> String {
    let place = match object.namespace.as_str() {
        "" => "manifests.cluster".to_owned(),
        namespace => format!("manifests.namespaced for namespace '{namespace}', or in manifests.cluster,"),
    };
    let group = if object.group().is_empty() { "the core API group" } else { object.group() };
    format!("{object}: the agent may not apply it; enable {} of {group} in {place} of the agent's chart", object.kind)
}

/// Of an object that is refused; none when it may be taken the next time.
pub(super) fn refused(object: &ObjectRef, error: &Error) -> Option<String> {
    let fields = error.contested();
    if !fields.is_empty() {
        return Some(contested(object, &fields));
    }
    let message = error.refusal().or_else(|| error.untyped())?;
    // "User … cannot patch resource …": the words of RBAC. Others forbid things too, such as quotas and webhooks.
    let has_no_right = error.is_forbidden() && message.contains(" cannot ") && message.contains(" resource ");
    if has_no_right {
        return Some(format!("{} ({message})", not_enabled(object)));
    }
    Some(format!("{object}: {message}"))
}

/// Of all that was found before anything was applied.
pub(super) fn all(contested: Vec<String>, refused: Vec<String>) -> Option<String> {
    let is_contested = !contested.is_empty();
    let all: Vec<String> = contested.into_iter().chain(refused).collect();
    if all.is_empty() {
        return None;
    }
    let remedy = if is_contested { "; set forceConflicts to take fields over, or leave them out" } else { "" };
    Some(format!("nothing was applied: {}{remedy}", listed(all)))
}

fn listed(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(MOST_NAMED);
    all.truncate(MOST_NAMED);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object() -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    fn answer(code: u16, message: &str) -> Error {
        Error::Answer { what: "apply an object", code, message: message.to_owned(), causes: Vec::new() }
    }

    #[test]
    fn semantics_14_fields_of_others_are_named_with_their_owners() {
        let field = |field: &str, manager: &str| Contested { field: field.to_owned(), manager: manager.to_owned() };
        let one = contested(&object(), &[field(".spec.replicas", "hpa")]);
        assert_eq!(one, "Deployment shop/web: .spec.replicas belongs to 'hpa'");
        let said = all(vec![one], Vec::new());
        let expected = "nothing was applied: Deployment shop/web: .spec.replicas belongs to 'hpa'; set forceConflicts to take \
                        fields over, or leave them out";
        assert_eq!(said.as_deref(), Some(expected));
        let many: Vec<Contested> = ["a", "b", "c", "d", "e"].map(|name| field(name, "x")).into();
        assert!(contested(&object(), &many).ends_with("c belongs to 'x'; and 2 more"));
        assert_eq!(all(Vec::new(), Vec::new()), None);
    }

    #[test]
    fn semantics_47_a_missing_right_is_told_from_what_others_forbid() {
        let rbac =
            r#"deployments.apps "web" is forbidden: User "x" cannot patch resource "deployments" in API group "apps""#;
        assert!(
            refused(&object(), &answer(403, rbac))
                .unwrap()
                .contains("enable Deployment of apps in manifests.namespaced for namespace 'shop'")
        );
        let quota = "exceeded quota: pods";
        assert_eq!(
            refused(&object(), &answer(403, quota)).as_deref(),
            Some("Deployment shop/web: exceeded quota: pods")
        );
    }

    #[test]
    fn what_may_be_taken_the_next_time_is_not_refused() {
        let untyped = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric";
        assert!(refused(&object(), &answer(500, untyped)).is_some());
        for code in [409, 429, 500, 503] {
            assert_eq!(refused(&object(), &answer(code, "no")), None, "{code}");
        }
    }
}
