//! Invariants of a state. Each is worded as the sentence that is broken.

use std::collections::BTreeSet;

use crds::{FailureTolerance, Intent, OnDrift, Revision, RollbackMode, RolloutAssignmentSpec};

use crate::claims::targets_of;
use crate::tally::Tally;
use crate::{
    Command, Decision, Desired, History, MAX_PAST_RUNS, MemberStage, Observations, RolloutState, Run, Stage, Target,
    Touched, Weight, is_recovering, went_back, words,
};

/// Every invariant that the state breaks, in words; empty when it is sound.
///
/// `observations` may be older than the state, as they are right after a decision.
pub fn lint(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    lint_plan(state, &mut broken);
    if let Some(run) = &state.header.run {
        lint_run(state, run, &mut broken);
        // Records of a lost store's members are made anew one by one.
        if !is_recovering(state, observations) {
            lint_members(state, run, observations, &mut broken);
        }
    }
    // What a hub says that went back is not decided on.
    let in_doubt = observations.hub.rewound.is_some() || went_back(&state.header, desired, &observations.hub).is_some();
    lint_history(state, &mut broken);
    lint_header(state, in_doubt || matches!(desired, Desired::Deleted { .. }), &mut broken);
    broken
}

fn lint_plan(state: &RolloutState, broken: &mut Vec<String>) {
    let plan = &state.plan;
    let distinct: BTreeSet<&String> = plan.members.iter().collect();
    require(distinct.len() == plan.members.len(), broken, || "the plan names a member twice".to_owned());
    require(plan.wave_end <= plan.members.len(), broken, || {
        format!("waves of {} members have begun in a plan of {}", plan.wave_end, plan.members.len())
    });
    let begun: BTreeSet<&String> = state.begun().iter().collect();
    if let Some(late) = &plan.late {
        let distinct: BTreeSet<&String> = late.members.iter().collect();
        require(distinct.len() == late.members.len(), broken, || "a catch-up names a member twice".to_owned());
        require(late.wave_end <= late.members.len(), broken, || {
            format!("waves of {} members have begun in a catch-up of {}", late.wave_end, late.members.len())
        });
        let of_earlier = state.header.run.as_ref().is_none_or(|run| late.run.number < run.number);
        require(of_earlier, broken, || format!("a catch-up with run {} beside no later one", late.run.number));
    }
    for name in state.members.keys().filter(|name| distinct.contains(name) && !begun.contains(name)) {
        let stage = state.stage_of(name);
        let untold = matches!(stage, MemberStage::Planned | MemberStage::Withdrawing) || stage.is_given_back();
        require(untold, broken, || format!("{name} is {stage:?}, but its wave has not begun"));
    }
}

fn lint_run(state: &RolloutState, run: &Run, broken: &mut Vec<String>) {
    let stage = &run.stage;
    require(run.step <= run.steps.len(), broken, || format!("step {} of {}", run.step, run.steps.len()));
    require(run.number == state.header.runs_started, broken, || "the run is not the latest started".to_owned());
    require(run.is_over() == run.finished_at.is_some(), broken, || {
        "a run has an end if and only if it is over".to_owned()
    });
    let placed = match stage {
        Stage::Updating
        | Stage::Finishing
        | Stage::GivenUp
        | Stage::RollingBack
        | Stage::RolledBack
        | Stage::Failed => true,
        Stage::Pausing(_) | Stage::AwaitingApproval => !run.in_last_step(),
        Stage::Soaking(_) | Stage::Succeeded => run.in_last_step(),
    };
    require(placed, broken, || format!("{stage:?} in step {} of {}", run.step, run.steps.len()));
    let weights: Vec<Weight> = run.steps.iter().map(|step| step.weight).collect();
    require(weights.is_sorted(), broken, || "weights decrease".to_owned());
    // A deletion takes the assignments away again, wherever the run stands.
    let settled = matches!(stage, Stage::Pausing(_) | Stage::AwaitingApproval | Stage::Soaking(_) | Stage::Succeeded);
    if settled && !state.header.deleting {
        lint_left_behind(state, run, broken);
    }
    let refused = run.is_refused() && !run.gives_way();
    require(refused == state.header.quarantine.contains(&run.revision), broken, || {
        "a run was given up, and is not retried, if and only if its revision is in quarantine".to_owned()
    });
    require(!run.retry || run.gives_way() || run.stage == Stage::Succeeded || run.goes_forward(), broken, || {
        format!("a retry of a run that is {stage:?}")
    });
    let held = state.header.hold.is_some();
    require(!run.goes_forward() || run.failures <= run.failure_limit || is_manual(run) || held, broken, || {
        format!("{} failed, {} allowed, and the run goes on", run.failures, run.failure_limit)
    });
    if *stage == Stage::Succeeded {
        require(state.header.accepted_revision.as_ref() == Some(&run.revision), broken, || {
            "the run succeeded and its revision is not accepted".to_owned()
        });
    }
}

/// A step leaves behind as many as `maxUnreachable` bears, and those that are cordoned; after the end those who came later are on their way, too.
fn lint_left_behind(state: &RolloutState, run: &Run, broken: &mut Vec<String>) {
    let updated = |stage: MemberStage| {
        matches!(stage, MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. }) || stage.is_given_back()
    };
    let behind: Vec<&String> = state.begun().iter().filter(|name| !updated(state.stage_of(name))).collect();
    require(behind.len() <= run.unreachable_most + run.caught_up + run.passed_over, broken, || {
        let stages: Vec<String> = behind.iter().map(|name| format!("{name} is {:?}", state.stage_of(name))).collect();
        format!("{} after the wave was healthy, {} allowed", words::list(&stages), run.unreachable_most)
    });
}

/// Every invariant that the orders of a decision break, in words; empty when they are sound.
pub fn lint_orders(decision: &Decision, observations: &Observations<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    let state = &decision.state;
    let Some(run) = &state.header.run else { return broken };
    let late = state.plan.late.as_deref();
    let mut applies = BTreeSet::new();
    for command in &decision.commands {
        let Command::Assign { member, spec } = command else { continue };
        let forward = matches!(spec.intent, Intent::Apply | Intent::Observe);
        // The same order under a new fence touches nobody anew.
        let uploaded = observations.recovery.and_then(|recovery| recovery.orders.get(member));
        let known = observations.assignments.get(member).into_iter().chain(uploaded);
        let again = known.into_iter().any(|known| is_same_order(&known.spec, spec));
        require(!forward || again || !state.header.quarantine.contains(&spec.revision), &mut broken, || {
            format!("{member} is told to {} a revision in quarantine", spec.intent.as_str())
        });
        let begun = state.begun().contains(member) || late.is_some_and(|late| late.begun().contains(member));
        require(!forward || again || begun, &mut broken, || {
            format!("{member} is told to {}, but its wave has not begun", spec.intent.as_str())
        });
        if spec.intent == Intent::Apply && !again {
            applies.insert(spec.rollout.run);
        }
        require(!forward || again || is_claimed(decision, observations, member, spec), &mut broken, || {
            format!("{member} is told to {} without a claim on it", spec.intent.as_str())
        });
    }
    // Each run's limits bind its own orders: a catch-up goes on whatever became of members of the run that was given up.
    if applies.contains(&run.number) {
        lint_limits(&Tally::of(state, observations, state.header.decided_at), run, &mut broken);
    }
    if let Some(late) = late.filter(|late| applies.contains(&late.run.number)) {
        let tally = Tally::of_late(late, state, observations, state.header.decided_at);
        lint_limits(&tally, &late.run, &mut broken);
    }
    broken
}

/// Whether a member was told the same before.
fn is_same_order(known: &RolloutAssignmentSpec, spec: &RolloutAssignmentSpec) -> bool {
    known.intent == spec.intent && known.revision == spec.revision && known.rollout == spec.rollout
}

/// Whether the rollout holds the claim on what it changes there, or takes it with the order.
fn is_claimed(decision: &Decision, observations: &Observations<'_>, name: &str, spec: &RolloutAssignmentSpec) -> bool {
    let uid = &decision.state.header.uid;
    let is_ours = |wanted: &Target| {
        let held = observations.claims.holder(name, wanted);
        let taken = |command: &Command| matches!(command, Command::Claim { member, target, .. } if member == name && target == wanted);
        held.is_some_and(|claim| claim.uid == *uid) || (held.is_none() && decision.commands.iter().any(taken))
    };
    match &spec.workload {
        Some(workload) => is_ours(&Target::of_assigned(workload)),
        None => objects_of(&decision.state, spec).iter().all(is_ours),
    }
}

/// The objects of an order of whole objects, which itself names none.
fn objects_of(state: &RolloutState, spec: &RolloutAssignmentSpec) -> Vec<Target> {
    let late = state.plan.late.as_deref().map(|late| &late.run);
    let runs = state.header.run.iter().chain(late);
    runs.filter(|run| run.number == spec.rollout.run).flat_map(|run| targets_of(&run.payload)).collect()
}

/// What must hold whenever a member is told to apply.
fn lint_limits(tally: &Tally, run: &Run, broken: &mut Vec<String>) {
    require(tally.in_flux <= run.flux_limit, broken, || {
        format!("{} in flux, {} allowed", tally.in_flux, run.flux_limit)
    });
    let perhaps_failed = run.failures + tally.in_flux + tally.silent_in_flux;
    let strict = run.failure_rules.tolerance == FailureTolerance::Strict;
    require(!strict || perhaps_failed <= run.failure_limit + 1, broken, || {
        format!("{perhaps_failed} may have failed, {} allowed, and the tolerance is Strict", run.failure_limit)
    });
    let silent = tally.silent_assigned.len();
    require(!run.goes_forward() || silent <= run.unreachable_limit, broken, || {
        format!("{silent} assigned and silent, {} allowed, and the run goes on", run.unreachable_limit)
    });
}

fn is_manual(run: &Run) -> bool {
    run.failure_rules.mode == RollbackMode::Manual
}

fn lint_members(state: &RolloutState, run: &Run, observations: &Observations<'_>, broken: &mut Vec<String>) {
    for (name, record) in &state.members {
        require(record.run <= run.number, broken, || format!("{name} speaks of run {} of {}", record.run, run.number));
        let assigned = record.run == run.number && record.stage.is_assigned();
        let told = assigned || record.stage.is_given_back();
        if told {
            require(record.previous.is_some(), broken, || {
                format!("{name} was touched with no previous state recorded")
            });
            require(record.touched != Touched::No, broken, || {
                format!("{name} was told to apply or to return and counts as untouched")
            });
        }
        let on_its_way = matches!(record.stage, MemberStage::Applying { .. }) || record.stage.owes_return();
        let repaired = record.standing.on_drift == OnDrift::Repair;
        require(record.run != run.number || !on_its_way || repaired, broken, || {
            format!("{name} is {:?}, and drift is only reported", record.stage)
        });
        require(!(assigned && run.is_over() && run.is_rolled_back()), broken, || {
            format!("{name} is {:?} after the rollback", record.stage)
        });
        let assignment = observations.assignments.get(name).filter(|assignment| {
            let spec = &assignment.spec;
            let meant = if assigned { spec.intent == Intent::Apply } else { spec.intent == Intent::Return };
            told && meant && spec.rollout.run == run.number && record.run == run.number
        });
        if let Some(assignment) = assignment {
            let spec = &assignment.spec;
            require(spec.revision == run.revision, broken, || {
                format!("{name} is assigned another revision than the run's")
            });
            require(spec.previous == record.previous, broken, || {
                format!("{name}: the assignment's previous state is not the record's")
            });
        }
    }
}

fn lint_header(state: &RolloutState, may_be_gone: bool, broken: &mut Vec<String>) {
    let header = &state.header;
    require(header.settled_run <= header.runs_started, broken, || "a run was settled that never started".to_owned());
    require(may_be_gone || !header.finalizer_released, broken, || "a rollout that is there was let go".to_owned());
    require(header.deleting || !header.finalizer_released, broken, || "let go without deletion".to_owned());
    // A return that a rollback has left behind is carried out first.
    let let_go = |stage: MemberStage| stage == MemberStage::Withdrawing || stage.is_given_back();
    let withdrawn = state.members.values().all(|record| let_go(record.stage));
    require(!header.finalizer_released || withdrawn, broken, || "let go before every member was withdrawn".to_owned());
}

/// What is noted of runs is in their order, ended but for the latest, and named by what it is.
fn lint_history(state: &RolloutState, broken: &mut Vec<String>) {
    let History { runs, payloads } = &state.history;
    // Beside the latest, and what was accepted last.
    require(runs.len() <= MAX_PAST_RUNS + 2, broken, || format!("{} runs are kept", runs.len()));
    require(runs.is_sorted_by(|one, next| one.number < next.number), broken, || {
        "past runs are not in their order".to_owned()
    });
    let latest = state.header.run.as_ref().map(|run| (run.number, &run.revision));
    for past in runs.iter().filter(|past| latest != Some((past.number, &past.revision))) {
        require(past.outcome.is_some() || latest.is_none(), broken, || {
            format!("run {} is over and nobody knows how it ended", past.number)
        });
    }
    for (revision, payload) in payloads {
        require(Revision::of(payload) == *revision, broken, || format!("payload {revision} has another hash"));
    }
}

fn require(holds: bool, broken: &mut Vec<String>, sentence: impl FnOnce() -> String) {
    if !holds {
        broken.push(sentence());
    }
}
