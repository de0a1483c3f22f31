//! Names that several programs must agree on: group, labels, finalizer, field managers.

/// API group of every resource here.
pub const GROUP: &str = "rollout.example.com";
/// Served and stored version.
pub const VERSION: &str = "v1alpha1";
/// Label that the controller sets on each `MemberCluster`, so that "all of them" can be selected.
pub const MEMBER_LABEL: &str = "rollout.example.com/member";
/// Label that agents set on each whole object that a rollout delivers, to find them again; its value is the rollout's name.
pub const ROLLOUT_LABEL: &str = "rollout.example.com/rollout";
/// Finalizer of the controller on a `ClusterScopeRollout`.
pub const FINALIZER: &str = "rollout.example.com/withdraw";
/// Field manager of the controller for what it writes to the hub.
pub const CONTROLLER_MANAGER: &str = "global-controller";
/// Field manager of the agent for the local `RolloutAssignment`.
pub const AGENT_MANAGER: &str = "cluster-agent";
/// Prefix of the agent's field manager on a workload; the rollout's name follows, so that two rollouts
/// on one object never share, and so never drop, each other's fields.
pub const WORKLOAD_MANAGER_PREFIX: &str = "rollout.example.com:";
/// Longest name of a rollout and of a member, in bytes: both become labels and parts of file and key names.
pub const MAX_NAME_BYTES: usize = 63;

/// Whether a text is a DNS label of at most [`MAX_NAME_BYTES`], as names of rollouts and members must be.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && is_dns_part(text)
}

/// Whether a text may stand between the dots of a DNS name, however long it is.
pub fn is_dns_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_label_has_letters_digits_and_inner_hyphens() {
        for good in ["a", "0", "prod-us-east", "a--b", "x".repeat(63).as_str()] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "x".repeat(64).as_str()] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_part(&"x".repeat(64)));
    }
}
