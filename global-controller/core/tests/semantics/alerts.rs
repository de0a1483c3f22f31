//! What people are alerted of: which facts, under which labels, since when and until when.

use crds::{ActionKind, Outcome, Phase};
use rollout_core::{Alert, AlertKind, Reachability, alerts};

use crate::world::measures::{configured, of_thousand};
use crate::world::{Spec, World};

impl World {
    fn alerts(&self) -> Vec<Alert> {
        alerts(&self.state, self.desired(), &self.observations(), self.now)
    }

    /// Names of those that last, with what tells them from others of the name.
    fn firing(&self) -> Vec<String> {
        self.alerts().iter().filter(|alert| alert.until.is_none()).map(|alert| self.named(short(alert))).collect()
    }

    fn ended(&self) -> Vec<String> {
        self.alerts().iter().filter(|alert| alert.until.is_some()).map(|alert| self.named(short(alert))).collect()
    }

    fn alert(&self, kind: AlertKind) -> Alert {
        self.alerts().into_iter().find(|alert| alert.kind == kind).unwrap()
    }
}

/// As in `RolloutHeld run=1 reason=GateNoData`.
fn short(alert: &Alert) -> String {
    let labels = ["run", "step", "reason"].into_iter().filter_map(|name| Some((name, alert.labels.get(name)?)));
    labels.fold(alert.labels["alertname"].clone(), |text, (name, value)| format!("{text} {name}={value}"))
}

/// Two canaries of four with a pause of a minute, measured each ten seconds. Of m2 Prometheus says that it fails.
fn bad(analysis: &str) -> World {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("4".to_owned());
        spec.analysis = Some(analysis.to_owned());
    });
    world.gates = configured();
    world.pass(15);
    assert_eq!(world.firing(), [""; 0], "a pause is nothing to alert of");
    world.says("success-rate", Some("m2"), of_thousand(994.0));
    world
}

#[test]
fn semantics_29_a_failed_gate_and_the_rollback_fire_at_once_and_the_end_says_so_until_another_run() {
    let mut world = bad("{interval: 10}");
    world.advance(5);
    world.measure();
    world.decide();
    let began = world.now;
    assert_eq!(world.phase(), Phase::RollingBack);
    assert_eq!(world.firing(), ["RolloutGateFailed run=1", "RolloutRollingBack run=1"]);
    let failed = world.alert(AlertKind::GateFailed);
    assert_eq!((failed.since, failed.labels["severity"].as_str()), (began, "critical"));
    assert_eq!(failed.summary, "rollout checkout: a gate has failed");
    assert!(failed.description.contains("success-rate on m2: 99.4% of 1000 requests"), "{failed:?}");
    assert_eq!(world.named(failed.labels["revision"].clone()), "v2");

    world.advance(3);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.firing(), ["RolloutGateFailed run=1", "RolloutRolledBack run=1"]);
    assert_eq!(world.ended(), ["RolloutRollingBack run=1"]);
    let over = world.alert(AlertKind::RollingBack);
    assert_eq!((over.since, over.until), (began, Some(world.now)));
    assert_eq!(world.alert(AlertKind::GateFailed).labels, failed.labels);
    assert_eq!(world.alert(AlertKind::GateFailed).since, began);

    world.advance(3600);
    world.begin_term();
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.firing().len(), 2, "a new leader tells the same");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    assert_eq!(world.firing(), [""; 0]);
    assert_eq!(world.ended().len(), 3);
    world.advance(25 * 3600);
    assert_eq!(world.ended(), [""; 0], "nobody is told after a day");
}

#[test]
fn semantics_29_the_alert_ends_when_a_person_retries_or_takes_the_payload_back() {
    let mut world = bad("{interval: 10}");
    world.pass(10);
    assert_eq!(world.firing(), ["RolloutGateFailed run=1", "RolloutRolledBack run=1"]);
    world.says("success-rate", Some("m2"), of_thousand(1000.0));
    world.act(ActionKind::Retry);
    world.rest();
    assert_eq!(world.firing(), [""; 0]);

    let mut world = bad("{interval: 10}");
    world.pass(10);
    world.edit(|spec| spec.image = None);
    world.rest();
    assert_eq!(world.firing(), [""; 0]);
}

#[test]
fn semantics_34_a_deleted_rollout_is_told_to_go_back_and_nothing_more() {
    let mut world = bad("{interval: 10}");
    world.advance(5);
    world.measure();
    world.decide();
    world.deleted = true;
    world.decide();
    assert_eq!(world.firing(), ["RolloutGateFailed run=1", "RolloutRollingBack run=1"]);
    world.rest();
    assert_eq!(world.firing(), [""; 0]);
}

#[test]
fn semantics_32_with_mode_manual_the_failed_gate_fires_and_nobody_goes_back() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| {
        spec.analysis = Some("{interval: 10}".to_owned());
        spec.rollback = Some("{mode: Manual}".to_owned());
    });
    world.gates = configured();
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.pass(20);
    assert_eq!((world.reason(), world.firing()), ("GateFailed", vec!["RolloutGateFailed run=1".to_owned()]));
}

#[test]
fn semantics_26_a_hold_is_named_for_its_reason_and_over_when_the_reason_is() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| spec.analysis = Some("{interval: 10}".to_owned()));
    world.gates = configured();
    world.says("success-rate", Some("m1"), of_thousand(10.0));
    let few = vec![rollout_core::Answer::Values(vec![10.0]), rollout_core::Answer::Values(vec![10.0])];
    world.says("success-rate", Some("m1"), few);
    world.pass(60);
    assert_eq!(world.firing(), ["RolloutHeld run=1 reason=GateNoData"]);
    let held = world.alert(AlertKind::Held);
    assert!(held.description.contains("10 of 10 requests") || held.description.contains("minRequests"), "{held:?}");
    world.says("success-rate", Some("m1"), of_thousand(1000.0));
    world.pass(120);
    assert_eq!(world.firing(), [""; 0]);
    assert_eq!(world.ended(), ["RolloutHeld run=1 reason=GateNoData"]);
}

#[test]
fn a_hold_before_the_first_run_has_no_run() {
    let mut world = World::of(&["m1", "nowhere"], "[{setWeight: 50}]");
    world.delete_member("nowhere");
    world.rest();
    assert_eq!(world.firing(), ["RolloutHeld reason=TargetMissing"]);
    assert!(world.alert(AlertKind::Held).description.contains("no MemberCluster for nowhere"));
    world.join("nowhere", "prod");
    world.rest();
    assert_eq!(world.firing(), [""; 0]);
}

#[test]
fn semantics_09_an_approval_is_waited_for_by_step() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, approval: Required}]");
    world.rest();
    assert_eq!(world.firing(), ["RolloutApprovalWaiting run=1 step=1"]);
    let waiting = world.alert(AlertKind::ApprovalWaiting);
    assert!(waiting.description.contains("kubectl clusterrollout approve checkout --step 1"), "{waiting:?}");
    assert_eq!(waiting.labels["severity"], "info");
    world.act(ActionKind::Approve);
    world.rest();
    assert_eq!(world.firing(), [""; 0]);
}

#[test]
fn semantics_37_more_silent_members_than_may_be_are_one_alert_that_names_them() {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]")
        .with(|spec| (spec.max_concurrency, spec.max_unreachable) = (Some("4".to_owned()), Some("1".to_owned())));
    let mut world = World::fleet(4, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03", "m04"], Outcome::Observed);
    world.decide();
    world.silence("m01");
    world.decide();
    assert_eq!(world.firing(), [""; 0], "one may be silent");
    world.silence("m02");
    world.decide();
    assert_eq!(world.firing(), ["RolloutMembersUnreachable run=1"]);
    let (before, labels) = (world.now, world.alert(AlertKind::MembersUnreachable).labels);
    world.advance(60);
    world.silence("m03");
    world.decide();
    let unreachable = world.alert(AlertKind::MembersUnreachable);
    assert_eq!((unreachable.since, unreachable.labels), (before, labels), "the fact stays the same");
    assert!(unreachable.description.contains("m01, m02, m03"), "{}", unreachable.description);
    for member in ["m01", "m02", "m03"] {
        world.set_reachability(member, Reachability::Reachable);
    }
    world.decide();
    assert_eq!(world.firing(), [""; 0]);
}

#[test]
fn what_comes_again_is_the_same_alert_with_a_new_beginning_and_the_number_of_old_ones_is_bounded() {
    let mut world = World::of(&["m1", "nowhere"], "[{setWeight: 50}]");
    for _ in 0..3 {
        world.delete_member("nowhere");
        world.advance(60);
        world.edit(|spec| spec.paused = false);
        world.rest();
        assert_eq!(world.alerts().len(), 1);
        world.join("nowhere", "prod");
        world.edit(|spec| spec.image = None);
        world.rest();
    }
    let mut world = bad("{interval: 10}");
    for number in 3..12 {
        world.pass(30);
        let since = world.alert(AlertKind::RolledBack).since;
        assert!(since > 0);
        world.edit(|spec| spec.image = Some(format!("v{number}")));
        world.rest();
        assert!(world.alerts().len() <= 20, "{:?}", world.alerts().len());
    }
}
