//! A run whose records were lost, or are of an older store, put together again from what is left: the records, the
//! status on the hub, and the orders that members have (SEMANTICS 42).
//!
//! The latest of the three tells which run it is. Whatever is in doubt is taken for what asks more of people: a run that
//! is not certainly over holds, a step is taken again from its beginning, a revision that anybody calls rolled back is.

mod member;

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    ClusterScopeRolloutStatus, Content, Intent, Manifest, Manifests, Phase, Revision, RollbackScope, RolloutAssignment,
    WorkloadPayload, millis_from_time,
};

pub(crate) use member::{TakenUp, taken_up};

use crate::plan::order;
use crate::waves::{current_weight, raise_limits, wave_end};
use crate::{
    Desired, Header, Hold, Late, MemberRecord, MemberStage, Millis, Observations, Payload, Plan, Recovery, Rollout,
    RolloutState, Run, Stage, state,
};

/// Whether records are to be adopted before anything else: they are of an earlier epoch, or a member tells of a later run.
pub(crate) fn is_needed(state: &RolloutState, recovery: &Recovery<'_>) -> bool {
    let header = &state.header;
    let told = header.runs_started > 0 || recovery.status.run > 0;
    let later = recovery.orders.values().any(|order| order.spec.rollout.run > header.runs_started);
    (told && header.epoch != recovery.epoch) || later
}

/// Whether anything of a rollout is still to be learnt anew before it is decided on: its decisions do only that until then.
pub fn is_recovering(state: &RolloutState, observations: &Observations<'_>) -> bool {
    let Some(recovery) = observations.recovery.filter(|_| observations.hub.rewound.is_none()) else { return false };
    let told = recovery.orders.keys().any(|name| observations.members.contains_key(name));
    let outdated = observations.assignments.values().any(|order| is_outdated(order, &recovery));
    told || outdated || is_needed(state, &recovery)
}

/// Whether an order is one that a backup brought back. Only its member knows whether it ever came, and whether another
/// came after it; it is neither sent nor counted.
pub(crate) fn is_outdated(order: &RolloutAssignment, recovery: &Recovery<'_>) -> bool {
    order.spec.fence.epoch < recovery.epoch
}

/// The state as it can be known: header and plan. The members' records are taken up one by one after that.
pub(crate) fn adopt(
    state: &RolloutState,
    recovery: &Recovery<'_>,
    desired: Desired<'_>,
    observations: &Observations<'_>,
    now: Millis,
) -> RolloutState {
    let rollout = match desired {
        Desired::Present(rollout) => Some(rollout),
        Desired::Invalid { .. } | Desired::Deleted { .. } => None,
    };
    let sources = Sources { status: recovery.status, orders: recovery.orders, rollout, now };
    let mut next = state.clone();
    next.header.epoch = recovery.epoch;
    keep_outcomes(&mut next.header, recovery.status);
    let stored = next.header.runs_started;
    let latest = sources.latest(stored, &next.header);
    if let Some((number, run)) = latest {
        next.header.runs_started = number;
        next.header.run = run;
        settle(&mut next.header);
        if number > stored || next.plan.members.is_empty() {
            let late = next.plan.late.take().filter(|_| number == stored);
            next.plan = Plan { late, ..sources.plan(&next.header, observations) };
        }
        next.plan.wave_end = reached(&next.header, &next.plan);
        if let Some(run) = next.header.run.as_mut() {
            bear(run, next.plan.wave_end);
        }
    }
    if let Some(accepted) = next.header.accepted_revision.clone()
        && let Some(payload) = sources.exact_payload(&accepted, state.header.run.as_ref())
    {
        next.history.learn(&accepted, &payload);
    }
    let told = recovery.status.run == next.header.runs_started && recovery.is_current;
    let over = next.header.run.as_ref().is_some_and(|run| run.is_over() && phase_is_terminal(recovery.status));
    next.header.hold = (!(told && over)).then_some(Hold::StoreRebuilt { since: now }).or(next.header.hold);
    next
}

/// What outlives runs: the status is never behind the store that it was computed from, so it is right about the accepted
/// revision unless the store has started a later run. What anybody calls rolled back is.
fn keep_outcomes(header: &mut Header, status: &ClusterScopeRolloutStatus) {
    if status.run >= header.runs_started {
        header.settled_run = header.settled_run.max(status.settled_run).min(status.run);
        header.accepted_revision = status.accepted_revision.clone().or(header.accepted_revision.take());
    }
    for revision in &status.quarantined_revisions {
        if !header.quarantine.contains(revision) {
            header.quarantine.push(revision.clone());
        }
    }
    let surplus = header.quarantine.len().saturating_sub(state::MAX_QUARANTINED);
    header.quarantine.drain(..surplus);
}

/// A run that was rolled back has its revision in quarantine, and one that succeeded or was rolled back is settled.
fn settle(header: &mut Header) {
    let Some(run) = &header.run else { return };
    if run.is_refused() && !header.quarantine.contains(&run.revision) {
        header.quarantine.push(run.revision.clone());
    }
    if matches!(run.stage, Stage::Succeeded | Stage::RolledBack) {
        header.settled_run = run.number;
    }
}

fn phase_is_terminal(status: &ClusterScopeRolloutStatus) -> bool {
    matches!(status.phase, Some(Phase::Succeeded | Phase::RolledBack | Phase::Failed))
}

/// How far the waves have begun: as far as the step reaches, or as anybody was told.
fn reached(header: &Header, plan: &Plan) -> usize {
    match &header.run {
        Some(run) if run.goes_forward() => wave_end(current_weight(run), plan.members.len(), plan.wave_end),
        _ => plan.wave_end,
    }
}

/// Limits as they resolve now. Everybody counts as one who may have been left behind: that was decided before.
fn bear(run: &mut Run, wave_end: usize) {
    raise_limits(run, wave_end);
    if run.is_over() {
        run.caught_up = run.caught_up.max(wave_end);
    }
}

/// What is left beside the records.
struct Sources<'a> {
    status: &'a ClusterScopeRolloutStatus,
    orders: &'a BTreeMap<String, RolloutAssignment>,
    rollout: Option<&'a Rollout>,
    now: Millis,
}

impl Sources<'_> {
    /// Number and run of the latest, when it is not the stored one; no run when nobody knows its object.
    fn latest(&self, stored: i64, header: &Header) -> Option<(i64, Option<Run>)> {
        let told = self.orders.values().max_by_key(|order| (order.spec.rollout.run, order.spec.fence));
        let told = told.map(|order| (order.spec.rollout.run, order.spec.revision.clone()));
        let status = self.status;
        match (told, &status.revision) {
            (Some((number, revision)), known) if number > stored && (number > status.run || known.is_none()) => {
                let stage = self.stage(&revision, header, None);
                Some((number, self.run((number, &revision), stage, 0, header.run.as_ref())))
            }
            (_, Some(revision)) if status.run > 0 && status.run >= stored => {
                let stage = self.stage(revision, header, status.phase);
                let step = usize::try_from(status.step - 1).unwrap_or(0);
                Some((status.run, self.run((status.run, revision), stage, step, header.run.as_ref())))
            }
            _ => None,
        }
    }

    fn stage(&self, revision: &Revision, header: &Header, phase: Option<Phase>) -> Stage {
        let refused = header.quarantine.contains(revision);
        let member_scope = self.rollout.is_some_and(|rollout| rollout.failures.scope == RollbackScope::Member);
        let kept = self.status.waiting_on.as_ref().is_some_and(|waiting| waiting.reason == "TooManyFailed");
        match phase {
            Some(Phase::Succeeded) if !refused && header.accepted_revision.as_ref() == Some(revision) => {
                Stage::Succeeded
            }
            Some(Phase::RolledBack) => Stage::RolledBack,
            Some(Phase::Failed) if kept => Stage::GivenUp,
            Some(Phase::Failed) => Stage::Failed,
            Some(Phase::RollingBack) => Stage::RollingBack,
            _ if refused && member_scope => Stage::Finishing,
            _ if refused => Stage::RollingBack,
            _ => Stage::Updating,
        }
    }

    fn run(
        &self,
        (number, revision): (i64, &Revision),
        stage: Stage,
        step: usize,
        stored: Option<&Run>,
    ) -> Option<Run> {
        let content = self.payload(revision, stored)?;
        let (rollout, status) = (self.rollout, self.status);
        let told = status.run == number;
        let steps = rollout.map(|rollout| rollout.steps.clone()).unwrap_or_default();
        let step = if stage == Stage::Succeeded { steps.len() } else { step.min(steps.len()) };
        let time = |time: &Option<_>| time.as_ref().filter(|_| told).map_or(self.now, millis_from_time);
        let new = Run::new(number, Payload { revision: revision.clone(), content }, time(&status.started_at));
        let mut run = Run {
            step,
            stage,
            steps,
            soak_seconds: rollout.map_or(0, |rollout| rollout.soak_seconds),
            max_concurrency: rollout.map_or(new.max_concurrency, |rollout| rollout.max_concurrency),
            failure_rules: rollout.map_or(new.failure_rules, |rollout| rollout.failures),
            failures: if told { usize::try_from(status.counts.failed).unwrap_or(0) } else { 0 },
            changed_members: true,
            paused: rollout.is_some_and(|rollout| rollout.paused),
            on_drift: rollout.map_or(new.on_drift, |rollout| rollout.on_drift),
            on_conflict: rollout.map_or(new.on_conflict, |rollout| rollout.on_conflict),
            ..new
        };
        run.finished_at = run.is_over().then(|| time(&status.finished_at));
        Some(run)
    }

    /// The payload of a revision, from whoever has it. Where nobody does, its images are not needed either: a run to another
    /// revision than the wanted one tells nobody to apply, nor does one whose payload is not known.
    fn payload(&self, revision: &Revision, stored: Option<&Run>) -> Option<crds::Payload> {
        let others = self.orders.values().map(payload_of);
        let nameless = || self.payloads(stored).into_iter().map(|(_, payload)| payload).chain(others).next();
        let exact = self.exact_payload(revision, stored);
        exact.or_else(|| {
            let mut payload = nameless()?;
            match &mut payload.content {
                Content::Images(workload) => workload.images.clear(),
                Content::Manifests(manifests) => manifests.hash.clear(),
            }
            payload.overrides.clear();
            Some(payload)
        })
    }

    fn exact_payload(&self, revision: &Revision, stored: Option<&Run>) -> Option<crds::Payload> {
        self.payloads(stored).into_iter().find(|(known, _)| *known == revision).map(|(_, payload)| payload)
    }

    /// All that anybody tells of, with their hashes.
    fn payloads<'a>(&'a self, stored: Option<&'a Run>) -> Vec<(&'a Revision, crds::Payload)> {
        let wanted = self.rollout.and_then(|rollout| rollout.payload.as_ref());
        let wanted = wanted.map(|payload| (&payload.revision, payload.content.clone()));
        let stored = stored.map(|run| (&run.revision, run.payload.clone()));
        let forward = |order: &&RolloutAssignment| matches!(order.spec.intent, Intent::Apply | Intent::Observe);
        let ordered = self.orders.values().filter(forward).map(|order| (&order.spec.revision, payload_of(order)));
        wanted.into_iter().chain(stored).chain(ordered).collect()
    }

    /// Those who have an order of the run first, then the others, each in their order. After a success also those who
    /// have not told what they have: it was theirs, or is owed to them.
    fn plan(&self, header: &Header, observations: &Observations<'_>) -> Plan {
        let Some(run) = &header.run else { return Plan::default() };
        let members = match self.rollout {
            Some(rollout) => order(rollout, observations.members).members,
            None => self.orders.keys().cloned().collect(),
        };
        let told: BTreeSet<&String> =
            self.orders.iter().filter(|(_, order)| is_of(order, run)).map(|(name, _)| name).collect();
        let succeeded = run.stage == Stage::Succeeded;
        let begun = |name: &String| told.contains(name) || (succeeded && !observations.is_known(name));
        let (mut members, rest): (Vec<String>, Vec<String>) = members.into_iter().partition(begun);
        let wave_end = members.len();
        members.extend(rest);
        Plan { members, wave_end, ..Plan::default() }
    }
}

/// What a member was told, which is the whole payload where there are no overrides. Of whole objects it only says which they
/// are: a payload whose hash nobody knows.
fn payload_of(order: &RolloutAssignment) -> crds::Payload {
    let spec = &order.spec;
    let Some(workload) = &spec.workload else {
        let objects = spec.manifests.iter().flat_map(|manifests| &manifests.objects);
        let objects = objects.map(Manifest::object).collect();
        let content = Content::Manifests(Manifests { objects, hash: String::new() });
        return crds::Payload { content, overrides: Vec::new() };
    };
    let workload = WorkloadPayload {
        kind: workload.kind,
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        images: workload.images.clone(),
        if_missing: crds::IfMissing::Hold,
    };
    workload.into()
}

/// Whether the order is one of this run.
pub(crate) fn is_of(order: &RolloutAssignment, run: &Run) -> bool {
    let spec = &order.spec;
    spec.rollout.run == run.number && spec.revision == run.revision && spec.intent != Intent::Withdraw
}

/// Makes a member that has an order of the run one of the waves begun.
pub(crate) fn begin_member(state: &mut RolloutState, name: &str) {
    let plan = &mut state.plan;
    let Some(place) = plan.members.iter().position(|member| member == name).filter(|at| *at >= plan.wave_end) else {
        return;
    };
    let member = plan.members.remove(place);
    plan.members.insert(plan.wave_end, member);
    plan.wave_end += 1;
    let end = plan.wave_end;
    if let Some(run) = state.header.run.as_mut() {
        bear(run, end);
    }
}

/// Makes a member that has an order of the run that was accepted before the latest one, which was given up, one of those
/// whose turn to catch up with it has come: it is on its way, has failed, or is known to belong to them. One that had
/// failed by its record of `before` has done so in the run itself, or is known.
pub(crate) fn begin_late_member(
    state: &mut RolloutState,
    name: &str,
    order: &RolloutAssignment,
    before: Option<&MemberRecord>,
) {
    let Some(mut late) = Late::of(state).filter(|late| is_of(order, &late.run)) else { return };
    let Some(record) = state.members.get(name) else { return };
    let number = late.run.number;
    let known = late.members.iter().any(|member| member == name);
    let begun = match record.stage {
        MemberStage::Applying { .. } => true,
        stage if stage.is_given_back() => known || before.is_none_or(|before| before.failed_in != number),
        _ => known,
    };
    if !begun {
        return;
    }
    late.begin(name);
    let has_failed = |name: &&String| state.members.get(*name).is_some_and(|record| record.failed_in == number);
    late.run.failures = late.run.failures.max(late.members.iter().filter(has_failed).count());
    state.plan.late = Some(Box::new(late));
}

/// The failures that the records tell of, which may be more than the status told.
pub(crate) fn count_failures(header: &mut Header, members: &BTreeMap<String, MemberRecord>) {
    if let Some(run) = header.run.as_mut() {
        let failed = members.values().filter(|record| record.failed_in == run.number).count();
        run.failures = run.failures.max(failed);
    }
}
