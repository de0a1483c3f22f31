//! What a rollout waits for and what can be done, in words: a pure function of the object.

use std::fmt::Write as _;

use crds::{ClusterScopeRollout, ClusterScopeRolloutStatus, Phase};
use kube::ResourceExt as _;

/// Reasons for waiting in which a retry helps.
const RETRIABLE: [&str; 7] = [
    "Quarantined",
    "RollbackIncomplete",
    "TooManyFailed",
    "CatchUpHeld",
    "DeadlinePassed",
    "MemberFailed",
    "GateFailed",
];
/// Members of the status that are listed.
const MAX_MEMBERS: usize = 10;

/// The explanation, several lines.
pub(crate) fn text(rollout: &ClusterScopeRollout) -> String {
    let name = rollout.name_any();
    let unknown = ClusterScopeRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&unknown);
    let mut text = format!("{name}: {}\n", standing(status));
    let mut line = |title: &str, words: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title:<10} {words}");
    };
    if Some(status.observed_generation) != rollout.metadata.generation {
        line("note", "the controller has not looked at the latest change of the specification yet");
    }
    match &status.waiting_on {
        Some(waiting) => line("waits for", &format!("{}: {}", waiting.reason, waiting.message)),
        None if status.phase == Some(Phase::Succeeded) => line("waits for", "nothing: it is done"),
        None => {}
    }
    if let Some(gate) = &status.gate {
        line("gate", &gate.message);
    }
    for member in status.clusters.iter().take(MAX_MEMBERS) {
        line("member", &format!("{}: {}: {}", member.name, member.state, member.message));
    }
    let more = status.clusters.len().saturating_sub(MAX_MEMBERS);
    if more > 0 {
        line("", &format!("and {more} more: see kubectl describe csro {name}"));
    }
    for (what, command) in possible(rollout, status) {
        line("to", &format!("{what}: {command}"));
    }
    text
}

fn standing(status: &ClusterScopeRolloutStatus) -> String {
    let phase = status.phase.map_or("not looked at yet", Phase::as_str);
    if status.run == 0 {
        return format!("{phase}, no run has started");
    }
    let counts = &status.counts;
    let partial = if counts.partial == 0 { String::new() } else { format!(", {} of them partial", counts.partial) };
    format!(
        "{phase}, run {}, step {} ({}%), {} of {} members healthy{partial}",
        status.run, status.step_summary, status.weight, counts.healthy, counts.total
    )
}

/// What a person may do now, and how.
fn possible(rollout: &ClusterScopeRollout, status: &ClusterScopeRolloutStatus) -> Vec<(&'static str, String)> {
    let name = rollout.name_any();
    let command = |words: &str| format!("kubectl clusterrollout {words}");
    let waits = |reason: &str| status.waiting_on.as_ref().is_some_and(|waiting| waiting.reason == reason);
    let under_way = matches!(
        status.phase,
        Some(Phase::Progressing | Phase::Verifying | Phase::Paused | Phase::Holding) if status.run > 0
    );
    let failed = status.phase == Some(Phase::Succeeded) && status.counts.failed > 0;
    let mut possible = Vec::new();
    if waits("Approval") {
        possible.push(("let the step go on", command(&format!("approve {name} --step {}", status.step))));
    }
    if RETRIABLE.iter().any(|reason| waits(reason)) || failed {
        possible.push(("try again what failed", command(&format!("retry {name} --why REASON"))));
    }
    if waits("HubRewound") {
        possible.push(("take the hub as it is", command(&format!("accept-hub {name} --why REASON"))));
        return possible;
    }
    if waits("StoreRebuilt") {
        possible.push(("go on where it was", command(&format!("resume {name} --why REASON"))));
        possible.push(("go on from its first step", command(&format!("retry {name} --why REASON"))));
    }
    if rollout.spec.paused {
        possible.push(("go on", command(&format!("resume {name}"))));
    } else if under_way {
        possible.push(("stop for a while", command(&format!("pause {name}"))));
    }
    if under_way {
        possible.push(("take the whole fleet back", command(&format!("abort {name} --why REASON"))));
    }
    possible
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn explained(phase: &str, reason: &str, paused: bool) -> String {
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "ClusterScopeRollout",
            "metadata": {"name": "checkout", "generation": 3},
            "spec": {"targetClusters": ["east"], "paused": paused,
                     "rolloutStrategy": {"canary": {"steps": [{"setWeight": 10, "approval": "Required"}]}}},
            "status": {"observedGeneration": 3, "phase": phase, "run": 2, "step": 1, "stepSummary": "1/2", "weight": 10,
                       "counts": {"healthy": 1, "total": 4}, "waitingOn": {"reason": reason, "message": "why, in words"}},
        });
        text(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_step_that_waits_for_approval_can_be_approved_paused_and_aborted() {
        assert_eq!(
            explained("Holding", "Approval", false),
            "checkout: Holding, run 2, step 1/2 (10%), 1 of 4 members healthy\n\
             waits for  Approval: why, in words\n\
             to         let the step go on: kubectl clusterrollout approve checkout --step 1\n\
             to         stop for a while: kubectl clusterrollout pause checkout\n\
             to         take the whole fleet back: kubectl clusterrollout abort checkout --why REASON\n"
        );
    }

    #[test]
    fn semantics_18_members_that_are_partial_are_counted() {
        let counts = crds::Counts { healthy: 3, partial: 2, total: 4, ..crds::Counts::default() };
        let status = ClusterScopeRolloutStatus {
            phase: Some(Phase::Succeeded),
            run: 2,
            counts,
            ..ClusterScopeRolloutStatus::default()
        };
        assert!(standing(&status).ends_with("3 of 4 members healthy, 2 of them partial"), "{}", standing(&status));
    }

    #[test]
    fn what_was_rolled_back_can_be_retried_and_nothing_else() {
        assert_eq!(
            explained("RolledBack", "Quarantined", false),
            "checkout: RolledBack, run 2, step 1/2 (10%), 1 of 4 members healthy\n\
             waits for  Quarantined: why, in words\n\
             to         try again what failed: kubectl clusterrollout retry checkout --why REASON\n"
        );
    }

    #[test]
    fn a_gate_that_failed_under_mode_manual_can_be_retried_or_the_run_aborted() {
        let text = explained("Holding", "GateFailed", false);
        for command in ["retry checkout --why REASON", "abort checkout --why REASON"] {
            assert!(text.contains(command), "no {command} in {text}");
        }
    }

    #[test]
    fn what_is_paused_can_be_resumed() {
        let text = explained("Paused", "Paused", true);
        assert!(text.contains("go on: kubectl clusterrollout resume checkout"), "{text}");
        assert!(!text.contains("pause checkout"), "{text}");
    }
}
