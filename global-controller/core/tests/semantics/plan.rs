//! Rules 7 and 8: whom a run means, and in which order.

use rollout_core::order;

use crate::world::{Spec, World};

#[test]
fn semantics_07_named_targets_come_in_list_order_and_then_the_selected_by_name() {
    let spec = Spec::new(&["z-last", "m3"], "[{setWeight: 10}]")
        .with(|spec| spec.selector = Some("{matchLabels: {env: prod}}".to_owned()));
    let mut world = World::new(spec, &["m4", "m1", "m3", "z-last"]);
    world.join("m2", "test");
    world.decide();
    assert_eq!(world.state.plan.members, ["z-last", "m3", "m1", "m4"]);
    assert_eq!(world.state.plan.wave_end, 1);
}

#[test]
fn semantics_07_a_target_that_is_also_selected_is_planned_once() {
    let spec = Spec::new(&["m2"], "[{setWeight: 10}]")
        .with(|spec| spec.selector = Some("{matchLabels: {env: prod}}".to_owned()));
    let world = World::new(spec, &["m1", "m2"]);
    assert_eq!(order(world.rollout().unwrap(), &world.members).members, ["m2", "m1"]);
}

#[test]
fn semantics_07_waves_that_have_begun_keep_their_order_when_the_targets_are_reordered() {
    let mut world = World::of(&["m1", "m2", "m3"], "[{setWeight: 30, pause: 60}]");
    world.rest();
    world.edit(|spec| spec.targets = ["m3", "m2", "m1"].map(str::to_owned).to_vec());
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.state.plan.members, ["m1", "m3", "m2"], "only those to come are ordered afresh");
    assert_eq!(world.state.plan.wave_end, 1);
}

#[test]
fn semantics_08_a_named_target_without_member_cluster_keeps_the_run_from_starting() {
    let mut world = World::new(Spec::new(&["m1", "m2", "m3"], "[{setWeight: 100}]"), &["m1"]);
    assert_eq!(
        world.decide(),
        ["Warning TargetMissing: no MemberCluster for m2, m3: create it, or take the name out of targetClusters"]
    );
    assert_eq!(world.decide(), [""; 0], "announced once");
    assert_eq!(world.state.header.run, None);
    world.join("m2", "prod");
    world.decide();
    assert_eq!(world.message(), "no MemberCluster for m3: create it, or take the name out of targetClusters");
    world.join("m3", "prod");
    assert_eq!(world.orders(), ["Observe m1: run 1 v2", "Observe m2: run 1 v2", "Observe m3: run 1 v2"]);
}

#[test]
fn semantics_08_a_missing_target_keeps_a_new_payload_from_superseding_the_running_run() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.edit(|spec| {
        spec.image = Some("v3".to_owned());
        spec.targets.push("m9".to_owned());
    });
    world.rest();
    assert_eq!((world.reason(), world.state.header.runs_started), ("TargetMissing", 1));
    world.advance(3600);
    assert_eq!(world.orders(), [""; 0], "and the payload that nobody wants any more goes to nobody");
}

#[test]
fn semantics_08_an_empty_plan_is_pending_and_never_succeeded() {
    let mut world = World::new(Spec::selecting("[{setWeight: 100}]"), &[]);
    world.join("m1", "test");
    assert_eq!(world.finish(), [""; 0]);
    assert_eq!(world.reason(), "EmptyPlan");
    assert_eq!(world.summary().status.phase, Some(crds::Phase::Pending));
    world.join("m2", "prod");
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_08_all_members_are_selected_by_the_label_that_the_controller_sets() {
    let selector = format!("{{matchExpressions: [{{key: {}, operator: Exists}}]}}", crds::MEMBER_LABEL);
    let spec = Spec::new(&[], "[{setWeight: 100}]").with(|spec| spec.selector = Some(selector));
    let mut world = World::new(spec, &["m1", "m2"]);
    world.members.get_mut("m2").unwrap().labels.insert(crds::MEMBER_LABEL.to_owned(), String::new());
    assert_eq!(order(world.rollout().unwrap(), &world.members).members, ["m2"]);
}
