//! What must hold for every decision, whatever led to it.

use std::collections::BTreeSet;

use crds::{Intent, RolloutAssignmentSpec};
use rollout_core::{
    AlertKind, AlertRule, Clock, Command, Decision, Desired, GateId, MAX_CLUSTERS_IN_STATUS, MAX_MEMBERS_PER_DECISION,
    MemberStage, Millis, Observations, RolloutState, Run, SampleKey, Stage, Summary, decide, is_recovering, lint,
    lint_orders, summarize, waiting_on,
};

use super::{World, claims};

/// Characters that the schema allows a message.
const MAX_MESSAGE_CHARS: usize = 1024;
/// Two months: longer than the longest pause.
const LONG_MILLIS: Millis = 60 * 86_400_000;

impl World {
    pub fn check(&self, decision: &Decision) {
        let broken = lint(&decision.state, self.desired(), &self.observations());
        assert!(broken.is_empty(), "{broken:#?} after {:#?}", self.render(&decision.commands));
        self.check_changes(decision);
        self.check_told(decision);
        self.check_limits(decision);
        self.check_late(decision);
        let broken = lint_orders(decision, &self.observations());
        assert!(broken.is_empty(), "{broken:#?} after {:#?}", self.render(&decision.commands));
        self.check_gates(decision);
        self.check_repetition(decision);
        self.check_words(decision);
    }

    /// The changed members are told exactly, are few enough for a transaction, and each has at most one order.
    fn check_changes(&self, decision: &Decision) {
        let (before, after) = (&self.state.members, &decision.state.members);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differing: BTreeSet<String> =
            names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
        assert_eq!(differing, decision.changed_members, "other members changed than the decision says");
        let mut ordered: Vec<&String> = decision
            .commands
            .iter()
            .filter_map(|command| match command {
                Command::Assign { member, .. } | Command::Forget { member } => Some(member),
                Command::Claim { .. }
                | Command::Release { .. }
                | Command::TakeUp { .. }
                | Command::AcceptHub
                | Command::Announce { .. }
                | Command::ReleaseFinalizer => None,
            })
            .collect();
        let orders = ordered.len();
        ordered.sort();
        ordered.dedup();
        assert_eq!(ordered.len(), orders, "a member has two orders in one decision");
        let touched: BTreeSet<&String> = ordered.into_iter().chain(&decision.changed_members).collect();
        assert!(touched.len() <= MAX_MEMBERS_PER_DECISION, "{} members in one transaction", touched.len());
        let claims = decision.commands.iter().filter(|command| claims::is_about(command)).count();
        assert!(
            3 * touched.len() + 2 * claims <= 90,
            "{} members and {claims} claims in one transaction",
            touched.len()
        );
        let (now, decided_at) = (decision.state.header.decided_at, self.state.header.decided_at);
        assert!(now >= decided_at, "time ran back from {decided_at} to {now}");
    }

    /// Nobody is told to apply whose agent is not heard, and nobody beyond the waves begun is under an order. The limits
    /// are the linter's.
    fn check_limits(&self, decision: &Decision) {
        let state = &decision.state;
        let applied: Vec<&String> = decision
            .commands
            .iter()
            .filter_map(|command| match command {
                Command::Assign { member, spec } if spec.intent == Intent::Apply && !self.is_told(spec) => Some(member),
                _ => None,
            })
            .collect();
        for member in &applied {
            let reachable = self.observations().reachability(member) == rollout_core::Reachability::Reachable;
            assert!(
                reachable && self.hub_fresh,
                "{member} was assigned without being heard, or while the hub is silent"
            );
        }
        let beyond = state.plan.members.iter().skip(state.plan.wave_end);
        for member in beyond {
            let stage = state.stage_of(member);
            let untold = matches!(stage, MemberStage::Planned | MemberStage::Withdrawing) || stage.is_given_back();
            assert!(untold, "{member} is {stage:?} beyond its wave");
        }
    }

    /// No step advances without its gate: of everybody who is updated, healthy and heard, all that counts in it passed
    /// at its end (DESIGN, guarantee 5).
    fn check_gates(&self, decision: &Decision) {
        let Some((before, after)) = self.state.header.run.as_ref().zip(decision.state.header.run.as_ref()) else {
            return;
        };
        let (Stage::Pausing(clock) | Stage::Soaking(clock)) = before.stage else { return };
        let advanced = after.goes_forward() && after.step > before.step || after.stage == Stage::Succeeded;
        let as_before = before.number == after.number
            && (&before.steps, before.soak_seconds, &before.gate) == (&after.steps, after.soak_seconds, &after.gate);
        if !(advanced && as_before && before.gate.is_some()) {
            return;
        }
        let ends_at = match clock {
            Clock::Running { ends_at } => ends_at,
            // It runs on in this very decision.
            Clock::Stopped { .. } => self.now,
        };
        let gate = GateId { run: before.number, step: before.step, began_at: before.gate_began_at };
        let heard = |member: &String| {
            matches!(self.state.stage_of(member), MemberStage::Healthy { .. })
                && !self.state.members[member].idle
                && self.observations().reachability(member) == rollout_core::Reachability::Reachable
        };
        let counts = |key: &SampleKey| key.member.as_ref().is_none_or(heard);
        let Some(wanted) = &before.gate else { return };
        if let Some(rule) = &wanted.alerts {
            self.check_alerts(before, rule, heard);
        }
        if wanted.metrics.is_empty() {
            return;
        }
        let samples: Vec<_> =
            self.samples.iter().filter(|(key, one)| !key.background && one.gate == gate && counts(key)).collect();
        assert!(!samples.is_empty(), "advanced without any measurement");
        for (key, sample) in samples {
            let passed = sample.verdict == crds::Verdict::Pass && sample.at >= ends_at;
            assert!(passed, "advanced although {key} is {sample:?}");
        }
    }

    /// What people are alerted of: each fact once, a rollback exactly while it lasts, and what began before as it began.
    fn check_told(&self, decision: &Decision) {
        let (before, after) = (&self.state.header.alerts.0, &decision.state.header.alerts.0);
        let facts: BTreeSet<_> = after.iter().map(|raised| &raised.fact).collect();
        assert_eq!(facts.len(), after.len(), "a fact is there twice: {after:#?}");
        assert!(after.len() <= 24, "{} alerts", after.len());
        let stage = decision.state.header.run.as_ref().map(|run| &run.stage);
        let told = after.iter().any(|one| one.fact.kind == AlertKind::RollingBack && one.until.is_none());
        let ended = decision.more && stage != Some(&Stage::RollingBack);
        assert!(told == (stage == Some(&Stage::RollingBack)) || ended, "{stage:?}, and alerts {after:#?}");
        for old in before.iter().filter(|old| old.until.is_none()) {
            let new = after.iter().find(|new| new.fact == old.fact).expect("what lasted is known when it is over");
            assert_eq!(new.since, old.since, "{old:?} began anew");
        }
    }

    /// Nothing that counts fires, and a watchdog would be missed if it did not come.
    fn check_alerts(&self, run: &Run, rule: &AlertRule, heard: impl Fn(&String) -> bool) {
        let watches = |name: &str| rule.watchdog.as_ref().is_some_and(|watchdog| watchdog.alertname == name);
        let firing: Vec<_> = self.heard.values().filter(|alert| alert.ended_at.is_none()).collect();
        for alert in &firing {
            let name = alert.labels["alertname"].as_str();
            let labelled = rule.labels.iter().all(|(label, value)| alert.labels.get(label) == Some(value));
            let told = |member: &String| alert.starts_at >= self.state.members[member].told_at;
            let member = alert.labels.get(&rule.cluster_label);
            let named = member.is_some_and(|member| heard(member) && told(member))
                || alert.labels.get("rollout").is_some_and(|rollout| *rollout == self.state.header.name);
            let counts = labelled && named && !watches(name) && !name.starts_with("Rollout");
            assert!(!counts || alert.starts_at < run.started_at, "advanced although {alert:?} fires");
        }
        if let Some(watchdog) = &rule.watchdog {
            let fresh = |heard_at: i64| heard_at + i64::from(watchdog.silent_seconds) * 1000 > self.now;
            let told = firing.iter().any(|alert| watches(&alert.labels["alertname"]) && fresh(alert.heard_at));
            assert!(told, "advanced although the watchdog is silent");
        }
    }

    /// Whether the member has this order already, perhaps with other words beside the payload.
    fn is_told(&self, spec: &RolloutAssignmentSpec) -> bool {
        self.assignments.get(&spec.member).into_iter().chain(self.uploads.get(&spec.member)).any(|known| {
            let known = &known.spec;
            known.intent == spec.intent && known.rollout.run == spec.rollout.run && known.revision == spec.revision
        })
    }

    /// Who was told to run what was accepted before a run that was given up counts in the limits of the catch-up with it. A
    /// state of an older release may say otherwise until it is decided on, so that the linter may not.
    fn check_late(&self, decision: &Decision) {
        let state = &decision.state;
        let Some(late) = state.plan.late.as_ref().filter(|_| !is_recovering(state, &self.observations())) else {
            return;
        };
        let (begun, beyond) = late.members.split_at(late.wave_end);
        let told = |name: &&String| {
            state.members.get(*name).is_some_and(|record| record.run == late.run.number && record.stage.is_assigned())
        };
        assert!(!beyond.iter().any(|name| told(&name)), "{beyond:?} are told to run it, and only {begun:?} begun");
    }

    /// The same inputs give the same bytes. Unless there is more to do, deciding again changes nothing, neither
    /// at once nor at any time before `wake_at`.
    fn check_repetition(&self, decision: &Decision) {
        let again = decide(&self.state, self.desired(), &self.observations(), self.now);
        assert_eq!(bytes(&again), bytes(decision), "the same inputs gave another decision");
        if decision.more {
            return;
        }
        // A commit brings its claims, and the next decision waits until it sees them.
        let claims = self.claims_after(decision);
        let observations = Observations { claims: &claims, ..self.observations() };
        let now = self.now.max(decision.state.header.decided_at);
        let last = decision.wake_at.map_or(now + LONG_MILLIS, |at| at - 1);
        assert!(last >= now, "wakes in the past");
        for at in [self.now, now, now + (last - now) / 2, last] {
            let again = decide(&decision.state, self.desired(), &observations, at);
            assert_eq!(
                again.commands,
                [],
                "decided again after {} ms, after {:#?}",
                at - now,
                self.render(&decision.commands)
            );
            assert_eq!(again.state, decision.state, "decided again after {} ms", at - now);
            assert!(!again.more && again.changed_members.is_empty(), "decided again after {} ms", at - now);
        }
    }

    /// Everything that is told to people fits where it goes, and its figures agree.
    fn check_words(&self, decision: &Decision) {
        for command in &decision.commands {
            if let Command::Announce { event } = command {
                let length = event.message.chars().count();
                assert!((1..=MAX_MESSAGE_CHARS).contains(&length), "an event of {length} characters");
            }
        }
        let waiting = waiting_on(&decision.state, self.desired(), &self.observations(), self.now);
        let summary = summarize(&decision.state, self.desired(), &self.observations(), self.now);
        assert!(waiting.is_some() == summary.status.waiting_on.is_some(), "the status hides what is waited for");
        check_summary(&decision.state, self.desired(), &summary);
        // Also while the state is older than what is observed.
        check_summary(&self.state, self.desired(), &self.summary());
    }
}

fn check_summary(state: &RolloutState, desired: Desired<'_>, summary: &Summary) {
    let status = &summary.status;
    let counts = status.counts;
    let by_state = [counts.healthy, counts.in_flux, counts.owed, counts.returning, counts.returned, counts.not_started];
    assert_eq!(by_state.iter().sum::<i32>(), counts.total, "{counts:?}");
    let told = counts.healthy + counts.in_flux;
    assert!((told..=told + counts.owed).contains(&counts.assigned), "{counts:?}");
    assert!(counts.unreachable <= counts.total, "{counts:?}");
    assert!((0..=100).contains(&status.weight), "weight {}", status.weight);
    let step_limit = state.header.run.as_ref().map_or(0, |run| run.steps.len() + 1);
    assert!(usize::try_from(status.step).is_ok_and(|step| step <= step_limit), "step {} of {step_limit}", status.step);
    assert!(status.step_summary.len() <= 16 && status.healthy_summary.len() <= 40, "{status:?}");
    if let Some(waiting) = &status.waiting_on {
        assert!((1..=64).contains(&waiting.reason.len()), "{waiting:?}");
        assert!((1..=MAX_MESSAGE_CHARS).contains(&waiting.message.chars().count()), "{waiting:?}");
    }
    assert!(status.gate.as_ref().is_none_or(|gate| gate.message.chars().count() <= 512), "{status:?}");
    assert!(status.clusters.len() <= MAX_CLUSTERS_IN_STATUS, "{} clusters", status.clusters.len());
    let names: BTreeSet<&str> = status.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    assert_eq!(names.len(), status.clusters.len(), "a cluster is listed twice: {:?}", status.clusters);
    for cluster in &status.clusters {
        assert!(cluster.state.len() <= 64 && cluster.message.chars().count() <= 512, "{cluster:?}");
    }
    check_conditions(desired, summary);
}

fn check_conditions(desired: Desired<'_>, summary: &Summary) {
    let kinds: Vec<&str> = summary.conditions.iter().map(|condition| condition.kind).collect();
    assert_eq!(kinds, ["Accepted", "Ready", "Reconciling", "Stalled", "Degraded", "Complete"]);
    for condition in &summary.conditions {
        assert!(
            !condition.reason.is_empty() && condition.message.chars().count() <= MAX_MESSAGE_CHARS,
            "{condition:?}"
        );
    }
    let status = |index: usize| summary.conditions[index].status == Some(true);
    let (accepted, ready, reconciling, stalled) = (status(0), status(1), status(2), status(3));
    assert_eq!(accepted, !matches!(desired, Desired::Invalid { .. }), "{:?}", summary.conditions);
    let one_at_most = u8::from(ready) + u8::from(reconciling) + u8::from(stalled);
    assert!(one_at_most <= 1, "{:?}", summary.conditions);
}

fn bytes(decision: &Decision) -> String {
    let Decision { state, commands, changed_members, more, wake_at } = decision;
    serde_json::to_string(&(state, commands, changed_members, more, wake_at)).expect("a decision is JSON")
}
