//! Members whose workload wants no pods: healthy, and no evidence.

use crds::Phase;

use crate::world::World;
use crate::world::measures::{canaries, key, silence};

/// Four members, two of them canaries, with a pause of a minute and a measurement each ten seconds.
fn world(analysis: &str) -> World {
    canaries(60, analysis)
}

fn scale(world: &mut World, member: &str, pods: i32) {
    world.agents.get_mut(member).unwrap().desired = pods;
}

#[test]
fn semantics_19_a_member_that_wants_no_pods_is_left_out_of_the_gate() {
    let mut world = world("{interval: 10, onNoData: Rollback}");
    scale(&mut world, "m1", 0);
    world.says("success-rate", Some("m1"), silence());
    let lines = world.pass(60);
    assert_eq!(world.reason(), "done", "{lines:?}");
    assert!(!world.samples.contains_key(&key("success-rate", Some("m1"))), "it was not even asked about");
    assert!(lines.iter().any(|line| line.contains("GatePassed: success-rate on m2")), "{lines:?}");
}

#[test]
fn semantics_24_a_gate_over_members_that_want_no_pods_is_no_data() {
    for analysis in ["{interval: 10}", "{interval: 10, metrics: [{name: queue, query: queue, condition: 'value < 9'}]}"]
    {
        let mut world = world(analysis);
        scale(&mut world, "m1", 0);
        scale(&mut world, "m2", 0);
        world.pass(120);
        assert_eq!((world.reason(), world.phase()), ("GateNoData", Phase::Holding), "{analysis}");
        assert!(world.message().contains("no updated member is healthy, heard and wants pods"), "{}", world.message());
        scale(&mut world, "m2", 1);
        world.pass(60);
        assert_eq!(world.reason(), "done", "{analysis}: one with pods is evidence");
    }
}

#[test]
fn semantics_24_members_that_want_no_pods_say_nothing_of_alerts_either() {
    let mut world = world("{alerts: {match: {severity: critical}}}");
    scale(&mut world, "m1", 0);
    scale(&mut world, "m2", 0);
    world.pass(60);
    assert_eq!(world.reason(), "GateNoData");
}

#[test]
fn semantics_19_without_a_gate_no_pods_are_healthy_enough() {
    let mut world = world("{}");
    world.edit(|spec| "[{setWeight: 50}]".clone_into(&mut spec.steps));
    for member in ["m1", "m2", "m3", "m4"] {
        scale(&mut world, member, 0);
    }
    world.rest();
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_19_a_member_that_is_scaled_to_nothing_in_the_pause_is_evidence_no_more() {
    let mut world = world("{interval: 10}");
    world.pass(25);
    scale(&mut world, "m1", 0);
    world.says("success-rate", Some("m1"), silence());
    world.pass(35);
    assert_eq!(world.reason(), "done", "{}", world.message());
}
