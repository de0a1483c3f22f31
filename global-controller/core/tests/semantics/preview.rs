//! What a rollout would do, told before it does anything: the same as it then does.

use crds::{PlanAnswer, PlannedStep, Verdict};
use rollout_core::{Answer, Reachability, Rehearsal, Rehearsed, preview, rehearsals};

use crate::world::measures::{canaries, configured, of_thousand, one, silence};
use crate::world::{Spec, World};

fn previewed(world: &World) -> PlanAnswer {
    preview(&world.state, world.rollout().unwrap(), &world.observations(), world.now)
}

/// The gate of a rollout that has one only.
fn only_gate(world: &World) -> Rehearsal {
    let mut all = rehearsals(world.rollout().unwrap(), &world.observations(), (1_000, 1_000), world.now);
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

fn reason(plan: &PlanAnswer) -> Option<&str> {
    plan.waiting_on.as_ref().map(|waiting| waiting.reason.as_str())
}

/// In the words of the event of a step that begins.
fn begun(step: &PlannedStep, plan: &PlanAnswer) -> String {
    let may = |limit: usize, what: &str| if limit == 0 { String::new() } else { format!(", {limit} may {what}") };
    format!(
        "step {} of {}: {}% are {} of {} members, {} new, at most {} in flux{}{}{}",
        step.number,
        plan.steps.len(),
        step.weight,
        step.members,
        plan.members,
        step.adds.len(),
        step.max_concurrency,
        may(step.max_failures, "fail"),
        may(step.max_unreachable, "be unreachable"),
        if step.approval.is_some() { "; it waits for approval in the end" } else { "" }
    )
}

#[test]
fn semantics_07_to_12_a_plan_is_what_the_run_then_does() {
    for count in [3, 10, 33] {
        let mut spec = Spec::selecting("[{setWeight: 10}, {setWeight: 40, approval: Required}, {setWeight: 40}]");
        spec.max_concurrency = Some("\"25%\"".to_owned());
        spec.max_failures = Some("\"20%\"".to_owned());
        spec.max_unreachable = Some("2".to_owned());
        let mut world = World::fleet(count, spec);
        world.approves = true;
        let plan = previewed(&world);
        assert_eq!((plan.members, reason(&plan)), (count, None));
        let lines = world.finish();
        let did: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("Normal StepStarted: ")).collect();
        let told: Vec<String> = plan.steps.iter().map(|step| begun(step, &plan)).collect();
        assert_eq!(did, told);
        let adds: Vec<&String> = plan.steps.iter().flat_map(|step| &step.adds).collect();
        assert_eq!(adds, world.state.plan.members.iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_keeps_it_from_starting_is_told_in_the_words_of_the_status() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.claim_for("other", "m1");
    let plan = previewed(&world);
    world.decide();
    assert_eq!(reason(&plan), Some("Conflicted"));
    assert_eq!(plan.waiting_on.unwrap().message, world.message());

    let mut world = World::of(&["m1"], "[{setWeight: 50}]");
    world.edit(|spec| spec.targets.push("nobody".to_owned()));
    assert_eq!(reason(&previewed(&world)), Some("TargetMissing"));

    let mut world = World::of(&["m1"], "[{setWeight: 50}]");
    world.edit(|spec| spec.image = Some("bad5".to_owned()));
    world.finish();
    assert_eq!(reason(&previewed(&world)), Some("Quarantined"), "a retry is needed");
    world.edit(|spec| spec.image = None);
    let plan = previewed(&world);
    assert_eq!((reason(&plan), plan.steps.len(), &plan.revision), (Some("NoPayload"), 0, &None));
}

#[test]
fn a_run_on_its_way_is_planned_as_if_it_began() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    let before = previewed(&world);
    world.rest();
    assert_eq!(world.reason(), "Pause");
    assert_eq!(previewed(&world), before);
}

#[test]
fn semantics_09_a_step_without_a_pause_is_noted() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    let notes = previewed(&world).notes.join("\n");
    assert!(notes.contains("step 1 has no pause: it ends on health alone"), "{notes}");
    world.edit(|spec| spec.paused = true);
    world.set_reachability("m1", Reachability::Unreachable);
    world.cordon("m2", true);
    let notes = previewed(&world).notes.join("\n");
    for told in ["it is paused", "cordoned, so they are owed the revision: m2", "unreachable at present: m1"] {
        assert!(notes.contains(told), "no {told} in {notes}");
    }
    world.edit(|spec| spec.steps = "[{setWeight: 100, pause: 10}]".to_owned());
    assert!(previewed(&world).notes.join("\n").contains("there is no canary"));
}

#[test]
fn the_queries_of_each_gate_are_told_as_they_are_asked_first() {
    let mut world =
        measured("{interval: 10, successRate: {}, metrics: [{name: load, query: up, condition: value < 1}]}");
    let plan = previewed(&world);
    let gate = plan.steps[0].gate.clone().unwrap();
    assert_eq!((gate.series, gate.interval_seconds, gate.measurements), (3, 10, 6));
    assert_eq!(gate.metrics[0].must, "at least 99.5% of at least 100 requests succeed");
    world.rest();
    world.advance(10);
    let asks = world.due().asks;
    let first = asks.iter().find(|ask| ask.key.member.as_deref() == Some("m1")).unwrap();
    let queries: Vec<&String> = first.queries.iter().map(|query| &query.text).collect();
    assert_eq!(gate.metrics[0].queries.iter().collect::<Vec<_>>(), queries);
    assert_eq!(
        (gate.metrics[1].queries.as_slice(), gate.metrics[1].must.as_str()),
        (["up".to_owned()].as_slice(), "value < 1")
    );
}

/// Four members, two of them canaries, with a pause of a minute.
fn measured(analysis: &str) -> World {
    canaries(60, analysis)
}

/// How the pause would have ended if Prometheus had said this of m2, and that all is well of the others.
fn taken(world: &World, said: &[Answer]) -> Rehearsed {
    only_gate(world).take(world.now - 1_000_000, |ask, before| {
        let ill = ask.key.member.as_deref() == Some("m2");
        let well = if ask.queries.len() == 2 { of_thousand(1000.0) } else { one(0.1) };
        ask.answered(before, if ill { said } else { &well })
    })
}

#[test]
fn a_pause_of_the_past_ends_as_a_real_one_does_on_the_same_answers() {
    let fails = Answer::Failed("no answer in time".to_owned());
    let cases = [
        (of_thousand(1000.0), Verdict::Pass),
        (of_thousand(994.0), Verdict::Fail),
        (silence(), Verdict::NoData),
        (vec![fails.clone(), fails], Verdict::Inconclusive),
    ];
    for (said, verdict) in cases {
        let mut world = measured("{interval: 10}");
        let rehearsed = taken(&world, &said);
        assert_eq!(rehearsed.verdict, verdict);
        world.says("success-rate", Some("m2"), said);
        let lines = world.pass(60);
        let real = if lines.iter().any(|line| line.contains("GatePassed")) {
            Verdict::Pass
        } else if lines.iter().any(|line| line.contains("RollbackStarted")) {
            Verdict::Fail
        } else {
            world.summary().status.gate.unwrap().verdict.unwrap()
        };
        assert_eq!(real, verdict, "{lines:?}");
        let told = format!("{lines:?} {}", world.message());
        assert!(told.contains(&rehearsed.found), "{} is not in {told}", rehearsed.found);
    }
}

#[test]
fn semantics_23_a_failure_within_the_limit_does_not_fail_a_pause_of_the_past_either() {
    let world = measured("{interval: 10, failureLimit: 1}");
    let rehearsal = only_gate(&world);
    let taken = |bad: usize| {
        let mut asked = 0;
        let rehearsed = rehearsal.take(world.now, |ask, before| {
            let ill = ask.key.member.as_deref() == Some("m1");
            asked += usize::from(ill);
            ask.answered(before, &of_thousand(if ill && asked <= bad { 900.0 } else { 1000.0 }))
        });
        rehearsed.verdict
    };
    assert_eq!([0, 1, 2].map(taken), [Verdict::Pass, Verdict::Pass, Verdict::Fail]);
}

#[test]
fn what_is_asked_so_long_after_its_beginning_is_the_same_whenever_a_pause_begins() {
    let world = measured("{interval: 10, compare: {with: NotYetUpdated, maxDrop: \"0.3%\"}}");
    let rehearsal = only_gate(&world);
    let asked = |began_at: i64| -> Vec<(i64, String)> {
        let asks = rehearsal.asks(began_at);
        asks.iter().flat_map(|ask| ask.queries.iter().map(|query| (ask.at - began_at, query.text.clone()))).collect()
    };
    let (one, other) = (asked(world.now), asked(world.now - 86_400_123));
    assert_eq!(one, other);
    assert_eq!(one.last().map(|(after, _)| *after), Some(60_000), "the last at the end");
    assert!(one.iter().any(|(_, query)| query.contains("m4")), "the control group is asked about too");
}

#[test]
fn a_large_gate_asks_about_its_first_members_and_less_often_and_says_so() {
    let mut world = World::fleet(30, Spec::selecting("[{setWeight: 50, pause: 600}]"));
    world.gates = configured();
    let gates = rehearsals(world.rollout().unwrap(), &world.observations(), (4, 5), world.now);
    let (step, pause) = &gates[0];
    assert_eq!((*step, pause.members(), pause.interval_seconds(), pause.stretched_from()), (1, (15, 4), 120, Some(30)));
    let members: std::collections::BTreeSet<_> = pause.asks(world.now).into_iter().map(|ask| ask.key.member).collect();
    assert_eq!(members.len(), 4);
    assert_eq!(gates.len(), 2, "the soak is a gate too");
    assert!(!pause.names_revision() && !pause.left_alerts_out());
}
