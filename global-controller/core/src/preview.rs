//! What a rollout would do on the fleet as it is, before it does anything.

mod rehearsal;

use crds::{
    Content, GateMode, Manifests, ObjectRef, Override, PlanAnswer, PlannedContent, PlannedGate, PlannedMetric,
    PlannedObject, PlannedStep, WaitingOnStatus,
};

use crate::decide::new_run;
use crate::gates::{Metric, Rule, missing_source};
use crate::manifests::patch_for;
use crate::plan::order;
use crate::waves::{current_weight, raise_limits, wave_end};
use crate::{
    Desired, Millis, Observations, Payload, Reachability, Rollout, RolloutState, Run, WaitingOn, waiting_on, words,
};

pub use rehearsal::{Rehearsal, Rehearsed};

/// Number of the run that is looked at; no other one plays a part.
const RUN: i64 = 1;

/// What a rollout would do if it started now. Of `state`, which is what is known of it already, only what outlives a run
/// plays a part.
pub fn preview(state: &RolloutState, rollout: &Rollout, observations: &Observations<'_>, now: Millis) -> PlanAnswer {
    let members = order(rollout, observations.members).members;
    let mut answer = PlanAnswer {
        name: rollout.name.clone(),
        revision: rollout.payload.as_ref().map(|payload| payload.revision.clone()),
        members: members.len(),
        waiting_on: before_start(state, rollout, observations, now),
        ..PlanAnswer::default()
    };
    let Some(payload) = rollout.payload.as_ref().filter(|_| !members.is_empty()) else { return answer };
    let waves = waves(rollout, payload, &members, observations, now);
    answer.delivers = delivers(payload, &members, observations);
    for wave in &waves {
        answer.shortest_seconds += i64::from(wave.run.pause_seconds());
        answer.steps.push(wave.planned(&members, observations, now));
    }
    answer.notes = notes(rollout, &members, &waves, observations);
    answer.notes.extend(idle_overrides(payload, &members, observations));
    answer
}

/// The pauses of a rollout in which metrics are measured, with the number of the step, from 1; of each the first members
/// only.
pub fn rehearsals(
    rollout: &Rollout,
    observations: &Observations<'_>,
    (most_members, most_measurements): (usize, u32),
    now: Millis,
) -> Vec<(usize, Rehearsal)> {
    let members = order(rollout, observations.members).members;
    let Some(payload) = rollout.payload.as_ref().filter(|_| !members.is_empty()) else { return Vec::new() };
    let waves = waves(rollout, payload, &members, observations, now);
    let of = |wave: &Wave| {
        let rehearsal = wave.rehearsal(&members, most_members, observations)?;
        Some((wave.run.step_number(), rehearsal.in_at_most(most_measurements)))
    };
    waves.iter().filter_map(of).collect()
}

/// A step of the rollout, as its run stands when the step has begun.
struct Wave {
    run: Run,
    /// Members updated before it, and after it.
    start: usize,
    end: usize,
}

fn waves(
    rollout: &Rollout,
    payload: &Payload,
    members: &[String],
    observations: &Observations<'_>,
    now: Millis,
) -> Vec<Wave> {
    let mut run = new_run(RUN, rollout, payload, observations.gates, now);
    let mut start = 0;
    let next = |step: usize| {
        run.step = step;
        let end = wave_end(current_weight(&run), members.len(), start).max(1);
        raise_limits(&mut run, end);
        Wave { run: run.clone(), start: std::mem::replace(&mut start, end), end }
    };
    (0..=rollout.steps.len()).map(next).collect()
}

/// What each member gets. Those that no override changes anything for come first, also if there are none.
fn delivers(payload: &Payload, members: &[String], observations: &Observations<'_>) -> Vec<PlannedContent> {
    let base = match &payload.content.content {
        Content::Images(workload) => PlannedContent { images: workload.images.clone(), ..PlannedContent::default() },
        Content::Manifests(manifests) => {
            let objects = planned_objects(manifests, &payload.content.overrides, &[]);
            PlannedContent { objects, ..PlannedContent::default() }
        }
    };
    let mut groups = vec![base];
    for member in members {
        let labels = observations.labels_of(member);
        let images = payload.content.images_for(member, labels);
        let objects = payload.content.manifests().map_or_else(Vec::new, |manifests| {
            let for_member = payload.content.overrides_for(member, labels);
            planned_objects(manifests, &payload.content.overrides, &for_member)
        });
        match groups.iter_mut().find(|group| group.images == images && group.objects == objects) {
            Some(group) => group.members.push(member.clone()),
            None => groups.push(PlannedContent { images, objects, members: vec![member.clone()] }),
        }
    }
    groups
}

fn planned_objects(manifests: &Manifests, overrides: &[Override], for_member: &[i32]) -> Vec<PlannedObject> {
    let planned = |object: &ObjectRef| {
        let patch = patch_for(overrides, for_member, object).unwrap_or_default();
        PlannedObject { object: object.clone(), patches: patch.iter().map(ToString::to_string).collect() }
    };
    manifests.objects.iter().map(planned).collect()
}

/// A word about overrides that are for nobody: most likely the selector is mistaken.
fn idle_overrides(payload: &Payload, members: &[String], observations: &Observations<'_>) -> Vec<String> {
    let is_idle = |other: &Override| !members.iter().any(|member| other.is_for(member, observations.labels_of(member)));
    let overrides = payload.content.overrides.iter().enumerate().filter(|(_, other)| is_idle(other));
    overrides.map(|(index, _)| format!("spec.overrides[{index}] is for no member of the rollout")).collect()
}

/// What keeps it from starting, in the words of the status.
fn before_start(
    state: &RolloutState,
    rollout: &Rollout,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOnStatus> {
    let mut fresh = RolloutState::new(&rollout.name, &rollout.uid);
    fresh.header.quarantine.clone_from(&state.header.quarantine);
    fresh.header.runs_started = state.header.runs_started;
    let waiting = waiting_on(&fresh, Desired::Present(rollout), observations, now);
    waiting.filter(|waiting| *waiting != WaitingOn::Decision).map(|waiting| waiting.status())
}

impl Wave {
    fn rehearsal(&self, members: &[String], most: usize, observations: &Observations<'_>) -> Option<Rehearsal> {
        Rehearsal::of(&self.run, (members, self.end), most, observations.members, observations.gates)
    }

    fn planned(&self, members: &[String], observations: &Observations<'_>, now: Millis) -> PlannedStep {
        let Self { run, start, end } = self;
        PlannedStep {
            number: run.step_number(),
            weight: current_weight(run).percent(),
            members: *end,
            adds: members.get(*start..*end).unwrap_or_default().to_vec(),
            max_concurrency: run.flux_limit,
            max_failures: run.failure_limit,
            max_unreachable: run.unreachable_limit,
            pause_seconds: run.pause_seconds(),
            approval: run.steps.get(run.step).and_then(|step| step.approval),
            gate: self.gate(members, observations, now),
        }
    }

    fn gate(&self, members: &[String], observations: &Observations<'_>, now: Millis) -> Option<PlannedGate> {
        let gate = self.run.gate.as_ref().filter(|_| self.run.pause_seconds() > 0)?;
        let rehearsal = self.rehearsal(members, 1, observations);
        let asks = rehearsal.as_ref().map(|rehearsal| rehearsal.first_asks(now)).unwrap_or_default();
        let compares = self.end < members.len();
        let series = |metric: &Metric| match metric.rule {
            Rule::Drop { .. } => usize::from(compares),
            _ if gate.is_per_member(metric) => self.end,
            _ => 1,
        };
        let planned = |metric: &Metric| {
            let first = asks.iter().find(|ask| ask.key.metric == metric.name);
            PlannedMetric {
                name: metric.name.clone(),
                member: first.and_then(|ask| ask.key.member.clone()),
                queries: first.map_or_else(Vec::new, |ask| ask.queries.iter().map(|one| one.text.clone()).collect()),
                must: must(&metric.rule),
            }
        };
        let alerts = gate.alerts.as_ref().map(|rule| {
            let labels: Vec<String> = rule.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            let must = format!("no alert with {} fires", words::list(&labels));
            PlannedMetric { name: "alerts".to_owned(), member: None, queries: Vec::new(), must }
        });
        Some(PlannedGate {
            source: gate.source.clone(),
            from: gate.from,
            series: gate.metrics.iter().map(series).sum(),
            interval_seconds: gate.pace.interval_seconds,
            measurements: gate.needed(self.run.pause_seconds()),
            metrics: gate.metrics.iter().map(planned).chain(alerts).collect(),
        })
    }
}

/// What the answer must be.
fn must(rule: &Rule) -> String {
    match rule {
        Rule::SuccessRate { minimum, min_requests, confidence, .. } => {
            let sure = confidence.map_or_else(String::new, |sure| format!(", {} sure", sure.as_str()));
            format!("at least {minimum} of at least {min_requests} requests succeed{sure}")
        }
        Rule::Drop { max_drop, min_requests, .. } => format!(
            "at most {max_drop} fewer succeed than on members that are not updated yet, of at least {min_requests} requests"
        ),
        Rule::Values { condition, .. } => condition.as_str().to_owned(),
    }
}

fn notes(rollout: &Rollout, members: &[String], waves: &[Wave], observations: &Observations<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if rollout.paused {
        notes.push("it is paused: it plans and observes, and touches nobody until it is resumed".to_owned());
    }
    for wave in waves {
        let (number, steps) = (wave.run.step_number(), waves.len());
        let what = if number == steps { "soak" } else { "pause" };
        if wave.run.pause_seconds() == 0 {
            notes.push(format!("step {number} has no {what}: it ends on health alone, and no metric is looked at"));
        }
        if wave.start == wave.end {
            notes.push(format!("step {number} adds nobody"));
        }
    }
    if waves.len() > 1 && waves.first().is_some_and(|first| first.end == members.len()) {
        notes.push("the first step updates every member at once: there is no canary".to_owned());
    }
    let measured = waves.iter().any(|wave| wave.run.gate.is_some());
    if !measured && missing_source(rollout, observations.gates).is_none() {
        notes.push(
            match observations.gates.when_unconfigured {
                GateMode::Hold => {
                    "no Prometheus is configured: it holds at the end of its first pause (gates.whenUnconfigured: Hold)"
                }
                GateMode::TimerOnly => {
                    "no Prometheus is configured: pauses end by time alone (gates.whenUnconfigured: TimerOnly)"
                }
            }
            .to_owned(),
        );
    }
    notes.extend(absent(members, waves, observations));
    notes
}

/// Members that can't be updated as things are.
fn absent(members: &[String], waves: &[Wave], observations: &Observations<'_>) -> Vec<String> {
    let (cordoned, others): (Vec<&String>, Vec<&String>) =
        members.iter().partition(|name| observations.is_cordoned(name));
    let silent = |name: &&&String| observations.reachability(name) == Reachability::Unreachable;
    let silent: Vec<&String> = others.iter().filter(silent).copied().collect();
    let allowed = waves.last().map_or(0, |wave| wave.run.unreachable_limit);
    let mut notes = Vec::new();
    if !cordoned.is_empty() {
        notes.push(format!("cordoned, so they are owed the revision: {}", words::list(&cordoned)));
    }
    if !silent.is_empty() {
        let holds = if silent.len() > allowed { ", so it will hold" } else { "" };
        let names = words::list(&silent);
        notes.push(format!("unreachable at present: {names}; maxUnreachable allows {allowed} in the end{holds}"));
    }
    notes
}
