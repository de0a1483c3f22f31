//! The members that need attention, the worst first.

use std::collections::BTreeSet;

use crds::{ClusterStatus, Outcome};

use super::{MAX_CLUSTERS_IN_STATUS, View};
use crate::claims::Footing;
use crate::plan::{Order, order};
use crate::returns::Returns;
use crate::{Desired, MemberTrouble, Stage, words};

/// Characters that the schema allows the message of one member.
const MAX_CLUSTER_MESSAGE_CHARS: usize = 512;

pub(super) fn needing_attention(view: &View<'_>) -> Vec<ClusterStatus> {
    let (missing_targets, contested) = match view.desired {
        Desired::Present(rollout) => {
            let Order { members, missing } = order(rollout, view.observations.members);
            (missing, Footing::of(rollout, &members, view.observations.claims).contested)
        }
        Desired::Invalid { .. } | Desired::Deleted { .. } => Default::default(),
    };
    let View { tally, late, drifted, .. } = view;
    // Those who catch up with what was accepted before are no matter of the latest run any more.
    let catches_up = |name: &&String| view.state.plan.late.as_ref().is_some_and(|late| late.members.contains(name));
    let (late_back, late_held) = view.late_members();
    let unobserved = tally.unobserved.iter().filter(|name| !catches_up(name)).chain(&late.unobserved);
    let Returns { overdue, returning, owed, unheard, .. } = &view.returns;
    let troubled = [
        ("Failed", overdue),
        ("DeadlinePassed", &tally.overdue),
        ("MemberFailed", &tally.sick),
        ("WorkloadMissing", &tally.missing),
        ("Refused", &tally.refused),
        ("DeadlinePassed", &late.overdue),
        ("WorkloadMissing", &late.missing),
        ("Refused", &late.refused),
        ("Unhealthy", &tally.unhealthy),
        ("Returning", returning),
        ("Returning", &tally.going_back),
    ];
    let owed_revision: BTreeSet<&String> = view.owed().into_iter().collect();
    let pending = |name: &&String| owed_revision.contains(name);
    let borne = view
        .state
        .header
        .run
        .as_ref()
        .is_some_and(|run| run.stage == Stage::Succeeded || tally.silent() <= run.unreachable_limit);
    let silent_owed = tally.silent_assigned.iter().chain(&tally.silent_unassigned).filter(pending).filter(|_| borne);
    let silent = tally.silent_assigned.iter().chain(&tally.silent_unassigned);
    let applying = tally.applying.iter().chain(&late.applying).map(|member| troubled_member("Progressing", member));
    let awaiting = tally.awaiting_owner.iter().chain(&late.awaiting_owner);
    let awaiting = awaiting.map(|member| troubled_member("PodDeletionByOwner", member));
    let named = |state: &'static str, message: &'static str| move |name: &String| member(name, state, message);
    // The list is a map by name for the API server, which refuses a status with a name twice. One whose
    // `MemberCluster` was deleted is that, as long as the state has not followed: missing, and silent.
    let mut seen = BTreeSet::new();
    drifted
        .iter()
        .map(|member| troubled_member(member.outcome.map_or("", Outcome::as_str), member))
        .chain(
            troubled
                .into_iter()
                .flat_map(|(state, members)| members.iter().map(move |member| troubled_member(state, member))),
        )
        .chain(
            missing_targets
                .iter()
                .map(named("TargetMissing", "named in targetClusters, but there is no such MemberCluster")),
        )
        .chain(contested.iter().flat_map(|(holder, names)| names.iter().map(move |name| conflicted(name, holder))))
        .chain(owed.iter().map(named("Unreachable", "its agent is silent; owed the return to what it ran before")))
        .chain(
            silent_owed
                .map(named("Owed", "its agent is silent; owed the revision, which it gets when it is heard again")),
        )
        .chain(silent.map(named("Unreachable", "its agent is silent")))
        .chain(tally.cordoned.iter().map(named("Cordoned", "kept out of new waves; owed the revision")))
        .chain(tally.too_old.iter().chain(&late.too_old).map(named("AgentTooOld", "its agent is too old: upgrade it")))
        .chain(awaiting)
        .chain(applying)
        .chain(view.state.skipped().into_iter().map(|name| skipped(view, name)))
        .chain(view.state.given_back().into_iter().chain(late_back).map(|name| returned(view, name)))
        .chain(late_held.into_iter().map(|name| member(name, "Owed", "owed the accepted revision; the catch-up holds")))
        .chain(tally.unheard.iter().chain(unheard).map(named("Unknown", "not heard by this leader yet")))
        .chain(unobserved.map(named("Observing", "has not reported what is running yet")))
        .chain(view.state.partial().into_iter().map(|name| partial(view, name)))
        .filter(|cluster| seen.insert(cluster.name.clone()))
        .take(MAX_CLUSTERS_IN_STATUS)
        .collect()
}

/// Another rollout has a claim on it.
fn conflicted(name: &str, holder: &str) -> ClusterStatus {
    let text = format!("rollout {holder} has a claim on it; it is left out until that is released");
    member(name, "Conflicted", &text)
}

/// What the agent says now: the workload may have come since, too late for this run.
fn skipped(view: &View<'_>, name: &str) -> ClusterStatus {
    let report = view.observations.answer(name).map(|(_, report)| report);
    let text = match report {
        Some(report) if report.outcome == Outcome::Observed => {
            "has the workload by now; gets the accepted revision after the run".to_owned()
        }
        Some(report) => format!("{}; left out, since ifMissing is Skip", report.message),
        None => "had no such workload when last asked; left out, since ifMissing is Skip".to_owned(),
    };
    member(name, "Skipped", &text)
}

/// Healthy, and a person set the partition: it comes last.
fn partial(view: &View<'_>, name: &str) -> ClusterStatus {
    let said = view.observations.answer(name).map(|(_, report)| report.message.as_str());
    let text = said.unwrap_or("healthy, and the partition keeps pods of an older template");
    member(name, "Partial", text)
}

/// Back, or still on its way and listed as such already.
fn returned(view: &View<'_>, name: &str) -> ClusterStatus {
    let images =
        view.state.members.get(name).and_then(|record| record.previous.as_ref()).map(|previous| &previous.images);
    let images: Vec<String> = images.into_iter().flatten().map(|(name, image)| format!("{name}={image}")).collect();
    let which = if images.is_empty() { String::new() } else { format!(": {}", words::list(&images)) };
    member(name, "Returned", &format!("runs again what it ran before{which}"))
}

fn troubled_member(state: &str, trouble: &MemberTrouble) -> ClusterStatus {
    let outcome = trouble.outcome.map_or("no answer yet", crds::Outcome::as_str);
    let text = if trouble.message.is_empty() { outcome.to_owned() } else { format!("{outcome}: {}", trouble.message) };
    member(&trouble.name, state, &text)
}

fn member(name: &str, state: &str, message: &str) -> ClusterStatus {
    ClusterStatus {
        name: name.to_owned(),
        state: state.to_owned(),
        message: words::bounded(message, MAX_CLUSTER_MESSAGE_CHARS),
    }
}
