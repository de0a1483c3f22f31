//! A pause of a rollout as it would be, or would have been, at any moment: all its members are healthy and heard since it
//! began. What is measured in it, and how it would end, is said by the same functions as in a real one.

use std::collections::BTreeMap;

use crds::Verdict;

use crate::gates::{Judgement, MAX_COMPARED};
use crate::{
    Ask, Claims, Clock, Gate, GateSettings, HeardAlerts, HubFacts, Measurement, MemberFacts, MemberRecord, MemberStage,
    Millis, Observations, Plan, Reachability, RolloutState, Run, Sample, SampleKey, Samples, Stage, Template,
    measurements_due,
};

/// Members that are kept of those beyond the pause's: as many as a control group has, at most.
const MOST_BEYOND: usize = MAX_COMPARED;

/// A pause that is not on.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The run in that pause. Its clock is set for each time that it is taken.
    run: Run,
    plan: Plan,
    members: BTreeMap<String, MemberFacts>,
    gates: GateSettings,
    /// Members that are updated in it, before any were left out.
    updated: usize,
    /// Seconds between two measurements, before they were put further apart.
    interval_seconds: u32,
    has_alerts: bool,
}

/// How a pause would have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// In a word.
    pub verdict: Verdict,
    /// On what, for people.
    pub found: String,
}

impl Rehearsal {
    /// The pause of a run's present step, in which the members up to `end` are updated, of whom the first ones are measured;
    /// none where no metric is.
    pub(super) fn of(
        run: &Run,
        (members, end): (&[String], usize),
        most: usize,
        facts: &BTreeMap<String, MemberFacts>,
        gates: &GateSettings,
    ) -> Option<Self> {
        let mut run = run.clone();
        let measured = |gate: &&mut Gate| !gate.metrics.is_empty();
        let gate = run.gate.as_mut().filter(measured)?;
        // Which alerts fired then nobody has kept.
        let has_alerts = gate.alerts.take().is_some();
        // What comes before and after is not looked at.
        gate.pace.background = false;
        let interval_seconds = gate.pace.interval_seconds;
        let wave_end = end.min(most);
        let beyond = members.iter().skip(end).take(MOST_BEYOND);
        let members: Vec<String> = members.iter().take(wave_end).chain(beyond).cloned().collect();
        let well = |facts: &MemberFacts| MemberFacts {
            labels: facts.labels.clone(),
            reachable: Reachability::Reachable,
            cordoned: false,
            uploaded: true,
            api_level: facts.api_level,
        };
        let known = |name: &String| Some((name.clone(), well(facts.get(name)?)));
        let facts = members.iter().filter_map(known).collect();
        let plan = Plan { members, wave_end, ..Plan::default() };
        let (gates, updated) = (gates.clone(), end);
        let rehearsal = Self { run, plan, members: facts, gates, updated, interval_seconds, has_alerts };
        (rehearsal.run.pause_seconds() > 0).then_some(rehearsal)
    }

    /// The same with so few measurements, further apart, if there would be more.
    pub(super) fn in_at_most(mut self, most: u32) -> Self {
        let least = self.run.pause_seconds().div_ceil(most.max(1));
        if let Some(gate) = &mut self.run.gate {
            gate.pace.interval_seconds = gate.pace.interval_seconds.max(least);
        }
        self
    }

    /// Seconds that it lasts.
    pub fn pause_seconds(&self) -> u32 {
        self.run.pause_seconds()
    }

    /// Seconds between two measurements.
    pub fn interval_seconds(&self) -> u32 {
        self.run.gate.as_ref().map_or(0, |gate| gate.pace.interval_seconds)
    }

    /// What that was before the measurements were put further apart, if they were.
    pub fn stretched_from(&self) -> Option<u32> {
        (self.interval_seconds < self.interval_seconds()).then_some(self.interval_seconds)
    }

    /// Whether a query is about the revision.
    pub fn names_revision(&self) -> bool {
        let metrics = self.run.gate.iter().flat_map(|gate| &gate.metrics);
        metrics.flat_map(|metric| metric.rule.templates()).any(Template::names_revision)
    }

    /// Whether agents ask in it, each the Prometheus beside it, which the hub can't reach.
    pub fn is_asked_by_members(&self) -> bool {
        self.run.gate.as_ref().is_some_and(|gate| !gate.from.is_hub())
    }

    /// Whether the gate looks at alerts, which play no part here.
    pub fn left_alerts_out(&self) -> bool {
        self.has_alerts
    }

    /// Members that are updated in it, and how many of them are measured.
    pub fn members(&self) -> (usize, usize) {
        (self.updated, self.plan.wave_end)
    }

    /// What is asked first.
    pub(super) fn first_asks(&self, now: Millis) -> Vec<Ask> {
        let began_at = now - i64::from(self.interval_seconds().min(self.pause_seconds())) * 1000;
        let (state, samples) = (self.state(began_at), Samples::new());
        self.observed(&samples, |observations| measurements_due(&state, observations, now).asks)
    }

    /// All that is asked in one that begins at that moment.
    pub fn asks(&self, began_at: Millis) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.take(began_at, |ask, before| {
            asks.push(ask.clone());
            // No answer ends it before its time.
            ask.measured(before, &Measurement::inconclusive(""))
        });
        asks
    }

    /// Takes it as if it had begun at that moment.
    pub fn take(
        &self,
        began_at: Millis,
        mut measure: impl FnMut(&Ask, &Samples) -> Vec<(SampleKey, Sample)>,
    ) -> Rehearsed {
        let state = self.state(began_at);
        let ends_at = began_at + i64::from(self.pause_seconds()) * 1000;
        let (mut samples, mut now) = (Samples::new(), began_at);
        loop {
            let asked = self.observed(&samples, |observations| measurements_due(&state, observations, now));
            for ask in &asked.asks {
                let measured = measure(ask, &samples);
                samples.extend(measured);
            }
            let judged = self.observed(&samples, |observations| Judgement::of(&state, observations, now));
            let next = asked.next_at.filter(|next| *next > now);
            match (judged, next) {
                (Some(judged), Some(next)) if now < ends_at && judged.failure().is_none() => now = next,
                (Some(judged), _) => {
                    let verdict = judged.verdict.unwrap_or(Verdict::Inconclusive);
                    return Rehearsed { verdict, found: judged.text };
                }
                (None, _) => return Rehearsed { verdict: Verdict::NoData, found: "nothing is measured".to_owned() },
            }
        }
    }

    fn state(&self, began_at: Millis) -> RolloutState {
        let mut state = RolloutState::new("", "");
        let mut run = self.run.clone();
        let clock = Clock::Running { ends_at: began_at + i64::from(run.pause_seconds()) * 1000 };
        run.stage = if run.in_last_step() { Stage::Soaking(clock) } else { Stage::Pausing(clock) };
        (run.started_at, run.gate_began_at) = (began_at, began_at);
        let healthy = MemberRecord { stage: MemberStage::Healthy { since: began_at }, ..MemberRecord::new(run.number) };
        let updated = self.plan.members.iter().take(self.plan.wave_end);
        state.members = updated.map(|name| (name.clone(), healthy.clone())).collect();
        state.plan = self.plan.clone();
        state.header.run = Some(run);
        state
    }

    /// Lets one look at members that are all well, and at these samples.
    fn observed<T>(&self, samples: &Samples, look: impl FnOnce(&Observations<'_>) -> T) -> T {
        let (assignments, reports) = (BTreeMap::new(), BTreeMap::new());
        let (claims, alerts) = (Claims::default(), HeardAlerts::new());
        look(&Observations {
            members: &self.members,
            assignments: &assignments,
            reports: &reports,
            claims: &claims,
            actions: &[],
            samples,
            alerts: &alerts,
            gates: &self.gates,
            hub_fresh: true,
            judging_since: 0,
            hub: HubFacts::default(),
            recovery: None,
        })
    }
}
