//! Rule 48 and the status: phases, conditions, counts, and how large it may become.

use crds::{Outcome, Phase};
use rollout_core::{ConditionFact, MAX_CLUSTERS_IN_STATUS, Reachability};

use crate::world::{START, Spec, World};

/// Reason of each condition, with its status.
fn conditions(world: &World) -> Vec<String> {
    let word = |status| match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let text = |fact: &ConditionFact| format!("{} {} {}", fact.kind, word(fact.status), fact.reason);
    world.summary().conditions.iter().map(text).collect()
}

#[test]
fn the_phases_of_a_run_follow_one_another() {
    use Phase::{Paused, Pending, Progressing, Succeeded, Verifying};

    let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
    let mut phases = vec![world.phase()];
    world.decide();
    phases.push(world.phase());
    world.rest();
    phases.push(world.phase());
    world.edit(|spec| spec.paused = true);
    world.decide();
    phases.push(world.phase());
    world.edit(|spec| spec.paused = false);
    world.rest();
    world.advance(60);
    world.rest();
    phases.push(world.phase());
    world.finish();
    phases.push(world.phase());
    assert_eq!(phases, [Pending, Progressing, Verifying, Paused, Verifying, Succeeded]);
}

#[test]
fn a_new_payload_ends_the_phase_succeeded_at_once() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_ne!(world.phase(), Phase::Succeeded, "even before it is decided on");
    assert_eq!(conditions(&world)[5], "Complete False NotStarted");
}

#[test]
fn semantics_48_conditions_speak_kstatus() {
    let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
    world.decide();
    assert_eq!(
        conditions(&world),
        [
            "Accepted True Valid",
            "Ready False Observation",
            "Reconciling True Observation",
            "Stalled False NotStalled",
            "Degraded False NotDegraded",
            "Complete False Running",
        ]
    );
    world.finish();
    assert_eq!(
        conditions(&world),
        [
            "Accepted True Valid",
            "Ready True Succeeded",
            "Reconciling False Done",
            "Stalled False NotStalled",
            "Degraded False NotDegraded",
            "Complete True Succeeded",
        ]
    );
}

#[test]
fn semantics_48_what_needs_a_person_is_stalled_and_not_reconciling() {
    let mut world = World::new(Spec::new(&["m1"], "[{setWeight: 100}]"), &[]);
    world.decide();
    assert_eq!(
        conditions(&world),
        [
            "Accepted True Valid",
            "Ready False TargetMissing",
            "Reconciling False TargetMissing",
            "Stalled True TargetMissing",
            "Degraded False NotDegraded",
            "Complete False NotStarted",
        ]
    );
}

#[test]
fn semantics_48_no_payload_is_a_reason_of_pending_and_a_pause_is_idle() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.edit(|spec| spec.image = None);
    world.decide();
    assert_eq!(world.phase(), Phase::Pending);
    assert_eq!(
        conditions(&world),
        [
            "Accepted True NoPayload",
            "Ready False NoPayload",
            "Reconciling False NoPayload",
            "Stalled False NotStalled",
            "Degraded False NotDegraded",
            "Complete False NotStarted",
        ]
    );
    world.edit(|spec| {
        spec.image = Some("v2".to_owned());
        spec.paused = true;
    });
    world.rest();
    assert_eq!(
        conditions(&world)[1..4],
        ["Ready False Paused", "Reconciling False Paused", "Stalled False NotStalled"]
    );
}

#[test]
fn semantics_48_an_invalid_object_is_not_accepted_and_its_run_takes_no_step() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.decide();
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    world.answer("m1", Outcome::Healthy);
    assert_eq!(
        world.decide(),
        [
            "Warning Invalid: fix the specification: spec.rolloutStrategy.canary.steps[0].setWeight: \"101\": must be 1 to 100"
        ]
    );
    assert_eq!(world.summary().status.counts.healthy, 1, "it goes on being watched");
    assert_eq!(world.phase(), Phase::Holding);
    assert_eq!(world.summary().status.observed_generation, 2);
    assert_eq!(
        conditions(&world),
        [
            "Accepted False Invalid",
            "Ready False Invalid",
            "Reconciling False Invalid",
            "Stalled True Invalid",
            "Degraded False NotDegraded",
            "Complete False Running",
        ]
    );
    world.advance(3600);
    assert_eq!(world.decide(), [""; 0]);
    world.edit(|spec| spec.steps = "[{setWeight: 50, pause: 60}]".to_owned());
    world.decide();
    assert_eq!(world.phase(), Phase::Verifying);
}

#[test]
fn after_a_success_readiness_is_unknown_while_a_member_is_silent() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.finish();
    for reachable in [Reachability::Unreachable, Reachability::Unknown] {
        world.set_reachability("m1", reachable);
        assert_eq!(world.decide(), [""; 0]);
        assert_eq!(conditions(&world)[1], "Ready Unknown MemberUnreachable");
        assert_eq!(world.phase(), Phase::Succeeded);
    }
}

#[test]
fn the_status_tells_run_step_weight_and_times() {
    let mut world = World::fleet(4, Spec::selecting("[{setWeight: 25, pause: 60}, {setWeight: 50, pause: 90}]"));
    world.rest();
    let status = world.summary().status;
    assert_eq!((status.observed_generation, status.run, status.step, status.weight), (1, 1, 1, 25));
    assert_eq!((status.step_summary.as_str(), status.healthy_summary.as_str()), ("1/3", "1/4"));
    assert_eq!(status.started_at, Some(crds::time_from_millis(START)));
    let waiting = status.waiting_on.unwrap();
    assert_eq!(waiting.reason, "Pause");
    assert_eq!(waiting.message, "1 member healthy; the step's pause ends at 2026-01-01T00:01:00Z");
    assert_eq!(waiting.until, Some(crds::time_from_millis(START + 60_000)));
    world.finish();
    let status = world.summary().status;
    assert_eq!((status.step, status.weight, status.step_summary.as_str()), (3, 100, "3/3"));
    assert_eq!((status.waiting_on, status.healthy_summary.as_str()), (None, "4/4"));
    assert_eq!(status.finished_at, Some(crds::time_from_millis(START + 240_000)));
    assert_eq!(status.clusters, []);
}

#[test]
fn healthy_in_flux_and_not_started_add_up_to_the_total() {
    let mut world = World::fleet(5, Spec::selecting("[{setWeight: 60, pause: 60}]"));
    world.edit(|spec| spec.max_concurrency = Some("2".to_owned()));
    let counts = |world: &World| {
        let counts = world.summary().status.counts;
        [counts.total, counts.assigned, counts.healthy, counts.in_flux, counts.not_started, counts.unreachable]
    };
    assert_eq!(counts(&world), [5, 0, 0, 0, 5, 0], "before the run as it would be planned");
    world.decide();
    assert_eq!(counts(&world), [5, 0, 0, 0, 5, 0], "an observation assigns nobody");
    world.all_answer(&["m01", "m02", "m03"], Outcome::Observed);
    world.decide();
    assert_eq!(counts(&world), [5, 2, 0, 2, 3, 0]);
    world.answer("m01", Outcome::Healthy);
    world.decide();
    assert_eq!(counts(&world), [5, 3, 1, 2, 2, 0]);
    world.silence("m01");
    world.silence("m05");
    world.answer("m02", Outcome::Healthy);
    world.decide();
    assert_eq!(counts(&world), [5, 3, 2, 1, 2, 2], "silence changes nobody's state");
    world.set_reachability("m01", Reachability::Reachable);
    world.answer("m01", Outcome::Progressing);
    world.decide();
    assert_eq!(counts(&world), [5, 3, 1, 2, 2, 1]);
}

#[test]
fn semantics_45_the_status_names_at_most_50_clusters_and_the_worst_first() {
    let mut world = World::fleet(
        80,
        Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("100".to_owned())),
    );
    while !world.orders().is_empty() {}
    for number in 1..=80 {
        world.answer(&format!("m{number:02}"), Outcome::Observed);
    }
    world.answer_saying("m77", Outcome::Refused, "no");
    world.answer_saying("m78", Outcome::WorkloadMissing, "gone");
    world.silence("m79");
    world.silence("m80");
    let clusters = |world: &World| {
        let name = |cluster: crds::ClusterStatus| format!("{} {}: {}", cluster.name, cluster.state, cluster.message);
        world.summary().status.clusters.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        clusters(&world),
        [
            "m78 WorkloadMissing: WorkloadMissing: gone",
            "m77 Refused: Refused: no",
            "m79 Unreachable: its agent is silent",
            "m80 Unreachable: its agent is silent",
        ]
    );
    for number in 1..=80 {
        world.silence(&format!("m{number:02}"));
    }
    assert_eq!(clusters(&world).len(), MAX_CLUSTERS_IN_STATUS);
}

#[test]
fn semantics_45_a_cluster_is_listed_once_whatever_is_the_matter_with_it() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100, pause: 60}]");
    world.rest();
    world.delete_member("m1");
    // The list is a map by name for the API server, which refuses the whole status when a name is there twice.
    let clusters = world.summary().status.clusters;
    let states: Vec<(&str, &str)> =
        clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.state.as_str())).collect();
    assert_eq!(states, [("m1", "TargetMissing")]);
}

#[test]
fn semantics_45_no_message_is_longer_than_the_schema_allows() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("100".to_owned()));
    let names: Vec<String> = (0..30).map(|number| format!("{number:02}{}", "m".repeat(61))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(spec, &names);
    let long = "ü".repeat(4000);
    world.decide();
    for member in &names {
        world.answer_saying(member, Outcome::WorkloadMissing, &long);
    }
    // Checked in each decision; here only that there was something to cut.
    let [event] = world.decide().try_into().unwrap();
    assert!(event.ends_with("…) and 26 more; create it there, deselect them or set ifMissing: Skip"), "{event}");
    let cluster = world.summary().status.clusters.remove(0);
    assert_eq!(cluster.message.chars().count(), 512);
    for member in &names {
        world.silence(member);
    }
    world.decide();
    assert!(world.message().contains("and 20 more"), "{}", world.message());
    world.edit(|spec| spec.image = Some("x".repeat(2000)));
    world.decide();
    assert_eq!(world.message().chars().count(), 1024);
}

#[test]
fn each_hold_is_announced_once_until_another_comes() {
    let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
    world.rest();
    let holds = |world: &mut World| world.decide().into_iter().filter(|line| line.starts_with("Warning")).count();
    world.silence("m1");
    world.advance(60);
    assert_eq!((holds(&mut world), holds(&mut world)), (1, 0));
    world.set_reachability("m1", Reachability::Reachable);
    world.hub_fresh = false;
    assert_eq!((holds(&mut world), holds(&mut world)), (1, 0));
    world.hub_fresh = true;
    assert_eq!(holds(&mut world), 0);
    world.silence("m1");
    assert_eq!(holds(&mut world), 1, "it comes up again");
}
