//! Rules 12, 28, 32 and 33: a member that fails, alone and within the budget.

use crds::{Outcome, Phase};

use crate::world::{Spec, World};

/// Of this many members two at once are told to apply; so many may fail, each after 30 s.
fn fleet(count: usize, max_failures: &str) -> World {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_failures = Some(max_failures.to_owned());
    });
    let mut world = World::fleet(count, spec);
    world.decide();
    let members: Vec<String> = world.members.keys().cloned().collect();
    for member in members {
        world.answer(&member, Outcome::Observed);
    }
    assert_eq!(world.orders().len(), 2);
    world
}

fn failure_limit(world: &World) -> usize {
    world.state.header.run.as_ref().map_or(0, |run| run.failure_limit)
}

fn clusters(world: &World) -> Vec<String> {
    let text = |cluster: crds::ClusterStatus| format!("{} {}: {}", cluster.name, cluster.state, cluster.message);
    world.summary().status.clusters.into_iter().map(text).collect()
}

#[test]
fn semantics_12_max_failures_is_none_by_default_rounds_down_and_never_falls_within_a_run() {
    let spec = Spec::selecting("[{setWeight: 50, pause: 60}, {setWeight: 60, pause: 60}]");
    for (limit, first, last) in [(None, 0, 0), (Some("'10%'"), 0, 1), (Some("'30%'"), 1, 3), (Some("7"), 7, 7)] {
        let mut world = World::fleet(10, spec.clone().with(|spec| spec.max_failures = limit.map(str::to_owned)));
        world.rest();
        assert_eq!(failure_limit(&world), first, "{limit:?} of 5");
        world.finish();
        assert_eq!(failure_limit(&world), last, "{limit:?} of 10");
    }
    let mut world = World::fleet(10, spec.with(|spec| spec.max_failures = Some("'30%'".to_owned())));
    let started = world.decide().remove(1);
    assert_eq!(
        started,
        "Normal StepStarted: step 1 of 3: 50% are 5 of 10 members, 5 new, at most 1 in flux, 1 may fail"
    );
    world.rest();
    for number in 2..=10 {
        world.delete_member(&format!("m{number:02}"));
    }
    world.finish();
    assert_eq!(failure_limit(&world), 1);
}

#[test]
fn semantics_12_a_changed_max_failures_applies_at_once() {
    let mut world = fleet(4, "1");
    world.edit(|spec| spec.max_failures = Some("'100%'".to_owned()));
    world.decide();
    assert_eq!(failure_limit(&world), 4);
    world.advance(30);
    world.decide();
    assert_eq!(world.summary().status.phase, Some(Phase::Progressing));
    world.edit(|spec| spec.max_failures = Some("1".to_owned()));
    world.decide();
    assert_eq!(world.summary().status.phase, Some(Phase::RollingBack));
}

#[test]
fn semantics_28_a_member_past_its_deadline_fails_and_returns_at_once_to_its_own_previous_state() {
    let mut world = fleet(4, "1");
    world.answer_saying("m01", Outcome::Progressing, "1 of 2 pods");
    world.advance(20);
    world.answer("m02", Outcome::Healthy);
    world.decide();
    world.now += 9_999;
    assert_eq!(world.decide(), [""; 0]);
    world.now += 1;
    assert_eq!(
        world.decide(),
        [
            "Warning FailedMember: m01 (Progressing: 1 of 2 pods) was not healthy within progressDeadlineSeconds (30 s): it returns to what it ran before",
            "Return m01: run 1 v1, previous v1",
            "Apply m04: run 1 v2 over v1, previous v1",
        ]
    );
    let counts = world.summary().status.counts;
    assert_eq!((counts.healthy, counts.in_flux, counts.returning, counts.failed), (1, 2, 1, 1));
    assert_eq!(clusters(&world)[0], "m01 Returning: no answer yet");
    world.obey("m01");
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.agents["m01"].runs, Some(crate::world::images("v1")));
    assert_eq!(world.summary().status.counts.returned, 1);
    assert_eq!(clusters(&world).last().unwrap(), "m01 Returned: runs again what it ran before: app=shop:v1");
}

#[test]
fn semantics_28_a_return_carries_the_previous_images_of_the_containers_that_were_set() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    let agent = world.agents.get_mut("m1").unwrap();
    agent.runs.as_mut().unwrap().insert("proxy".to_owned(), "proxy:v7".to_owned());
    world.edit(|spec| spec.deadline_seconds = Some(30));
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.decide();
    world.advance(30);
    world.decide();
    let spec = serde_json::to_value(&world.assignments["m1"].spec).unwrap();
    let expected = serde_json::json!({
        "member": "m1",
        "rollout": {"name": "checkout", "uid": "11e8-b0a7", "run": 1},
        "revision": world.rollout().unwrap().payload.as_ref().unwrap().revision,
        "intent": "Return",
        "fence": {"epoch": 1, "generation": 3},
        "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "shop:v1"}},
        "previous": {"uid": "w1", "images": {"app": "shop:v1", "proxy": "proxy:v7"}, "healthy": true},
        "deadlineSeconds": 30,
    });
    assert_eq!(spec, expected);
}

#[test]
fn semantics_28_a_member_that_was_healthy_fails_after_60_seconds_without_a_break() {
    let mut world = fleet(2, "1");
    world.all_answer(&["m01", "m02"], Outcome::Healthy);
    world.decide();
    assert_eq!(world.reason(), "Pause");
    world.answer_saying("m01", Outcome::Progressing, "crash loop");
    world.decide();
    world.advance(59);
    assert_eq!(world.decide(), [""; 0]);
    world.answer("m01", Outcome::Healthy);
    world.decide();
    world.advance(30);
    world.answer_saying("m01", Outcome::Progressing, "crash loop");
    world.decide();
    world.advance(59);
    assert_eq!(world.orders(), [""; 0], "there was a break");
    world.advance(1);
    assert_eq!(
        world.decide(),
        [
            "Warning FailedMember: m01 (Progressing: crash loop) was unhealthy for 60 s without a break: it returns to what it ran before",
            "Return m01: run 1 v1, previous v1",
        ]
    );
}

#[test]
fn semantics_28_a_member_whose_api_server_refuses_fails_at_its_deadline() {
    let mut world = fleet(2, "1");
    world.answer("m02", Outcome::Healthy);
    world.answer_saying("m01", Outcome::Refused, "quota exceeded");
    world.decide();
    assert_eq!(world.reason(), "Refused");
    world.advance(30);
    assert_eq!(world.orders(), ["Return m01: run 1 v1, previous v1"]);
}

#[test]
fn semantics_28_before_anything_was_applied_nothing_fails() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.decide();
    world.answer_saying("m1", Outcome::Refused, "no");
    world.answer_saying("m2", Outcome::WorkloadMissing, "no");
    world.decide();
    assert_eq!((world.reason(), world.wake_at), ("WorkloadMissing", None));
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
}

#[test]
fn semantics_28_after_the_run_has_ended_no_member_fails() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.finish();
    world.answer_saying("m1", Outcome::Progressing, "crash loop");
    world.decide();
    world.advance(3600);
    assert_eq!(world.decide(), [""; 0]);
}

#[test]
fn semantics_28_failures_of_members_that_left_still_count() {
    let mut world = fleet(4, "1");
    world.answer("m02", Outcome::Healthy);
    world.advance(30);
    assert_eq!(world.orders()[0], "Return m01: run 1 v1, previous v1");
    world.join("m01", "test");
    assert_eq!(world.orders(), [""; 0], "it is on its way back first");
    world.obey("m01");
    assert_eq!(world.orders(), ["Withdraw m01: run 1 v1, previous v1"]);
    world.advance(30);
    world.decide();
    assert_eq!(world.summary().status.counts.failed, 3);
    assert_eq!(world.summary().status.phase, Some(Phase::RollingBack));
}

#[test]
fn semantics_33_a_success_lists_the_tolerated_failures_and_is_not_complete() {
    let mut world = fleet(3, "1");
    world.advance(30);
    world.all_answer(&["m02"], Outcome::Healthy);
    world.decide();
    world.answer("m03", Outcome::Healthy);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(
        world.message(),
        "1 member failed within maxFailures and going back to what they ran before: m01 (no answer yet)"
    );
    world.obey("m01");
    let [started] = world.decide().try_into().unwrap();
    assert!(started.starts_with("Normal PauseStarted: 2 members healthy: pause of 60 s"), "{started}");
    let last = world.finish().pop().unwrap();
    assert_eq!(last, "Normal Succeeded: run 1: 2 members healthy at revision v2; 1 failed within maxFailures: m01");
    let summary = world.summary();
    assert_eq!(summary.status.phase, Some(Phase::Succeeded));
    let [ready, .., degraded, complete] = summary.conditions.as_slice() else { panic!("no conditions") };
    assert_eq!((ready.kind, degraded.status, degraded.reason.as_str()), ("Accepted", Some(true), "MembersFailed"));
    assert_eq!((complete.status, complete.reason.as_str()), (Some(false), "MembersFailed"));
    assert!(complete.message.ends_with("; 1 failed within maxFailures: m01"), "{}", complete.message);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(
        world.orders(),
        ["Observe m01: run 2 v3", "Observe m02: run 2 v3", "Observe m03: run 2 v3"],
        "a later run means all of them, and records afresh"
    );
}

#[test]
fn semantics_33_a_member_that_does_not_come_back_delays_the_success_until_its_deadline_and_keeps_its_previous_state() {
    let mut world = fleet(2, "1");
    world.agents.get_mut("m01").unwrap().runs = Some(crate::world::images("v2"));
    world.answer("m02", Outcome::Healthy);
    world.advance(30);
    world.decide();
    world.advance(29);
    world.decide();
    assert_eq!(world.reason(), "Return");
    world.advance(1);
    world.decide();
    assert_eq!(world.reason(), "Pause");
    world.advance(60);
    world.decide();
    world.advance(60);
    world.decide();
    world.advance(60);
    world.decide();
    assert_eq!(world.summary().status.phase, Some(Phase::Succeeded));
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders(), ["Observe m01: run 2 v3, previous v1", "Observe m02: run 2 v3"]);
}

#[test]
fn semantics_33_at_least_one_member_is_healthy_or_all_is_rolled_back() {
    let mut world = fleet(2, "'100%'");
    world.advance(30);
    let lines = world.decide();
    assert_eq!(
        lines.last().unwrap(),
        "Warning RollbackStarted: run 1: 2 members failed, and no other was updated: every touched member returns to what it ran before, and revision v2 is not rolled out again"
    );
}

#[test]
fn semantics_32_manual_nothing_returns_and_the_run_holds() {
    let mut world = fleet(3, "1");
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.all_answer(&["m01", "m02"], Outcome::Healthy);
    world.decide();
    world.answer("m03", Outcome::Healthy);
    world.decide();
    world.answer_saying("m01", Outcome::Progressing, "crash loop");
    world.decide();
    world.advance(60);
    assert_eq!(
        world.decide(),
        [
            "Warning MemberFailed: 1 member unhealthy for 60 s without a break: m01 (Progressing: crash loop); rollback.mode is Manual, so no further member is touched until then, until the payload changes, or until a person aborts or retries"
        ]
    );
    assert_eq!((world.summary().status.phase, world.wake_at), (Some(Phase::Holding), None));
    world.edit(|spec| spec.rollback = None);
    assert_eq!(world.orders(), ["Return m01: run 1 v1, previous v1"], "the mode applies at once");
}
