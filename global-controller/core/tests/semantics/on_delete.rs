//! Rule 18: members whose workload's owner has to delete old pods, as its update strategy is `OnDelete`.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World};

const WAITS: Outcome = Outcome::PodDeletionByOwner;
const OLD: &str = "0 of 3 pods updated, 3 available; OnDelete: the others stay until their owner deletes them";
const STARTING: &str = "1 of 3 pods updated, 2 available; OnDelete: the others stay until their owner deletes them";

/// Members m1 to m4, two at once, with a deadline of 30 s and a pause of a minute in the end; `m1` and `m2` are told to run
/// the revision.
fn world(edit: impl FnOnce(&mut Spec)) -> World {
    let members = ["m1", "m2", "m3", "m4"];
    let spec = Spec::new(&members, "[{setWeight: 100, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        edit(spec);
    });
    let mut world = World::new(spec, &members);
    world.decide();
    world.all_answer(&members, Outcome::Observed);
    assert_eq!(world.orders().len(), 2);
    world
}

/// The same when m1 waits for its owner and all others are healthy.
fn waiting() -> World {
    let mut world = world(|_| {});
    world.answer_saying("m1", WAITS, OLD);
    for member in ["m2", "m3", "m4"] {
        world.answer(member, Outcome::Healthy);
        world.decide();
    }
    assert_eq!(world.reason(), "PodDeletionByOwner");
    world
}

fn ready(world: &World) -> (Option<bool>, String) {
    let ready = world.summary().conditions.remove(1);
    (ready.status, ready.message)
}

#[test]
fn semantics_18_a_member_whose_owner_has_to_delete_pods_fails_by_no_deadline_and_stays_in_flux() {
    let mut world = world(|_| {});
    world.answer_saying("m1", WAITS, OLD);
    world.answer("m2", Outcome::Progressing);
    world.decide();
    assert_eq!(world.reason(), "MemberHealth", "m2 goes on by itself");
    assert_eq!(world.state_of("m1"), format!("PodDeletionByOwner: PodDeletionByOwner: {OLD}"));
    world.answer("m2", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m3: run 1 v2 over v1, previous v1"], "m1 keeps its place, and no more");
    world.all_answer(&["m3"], Outcome::Healthy);
    world.decide();
    world.all_answer(&["m4"], Outcome::Healthy);
    let message = format!(
        "1 member waiting for the owner of the workload to delete old pods, as its update strategy is OnDelete: m1 (PodDeletionByOwner: {OLD}); no deadline runs meanwhile"
    );
    assert_eq!(world.decide(), [format!("Warning PodDeletionByOwner: {message}")]);
    assert_eq!((world.phase(), world.message()), (Phase::Holding, message));
    assert_eq!(world.wake_at, None);
    let counts = world.summary().status.counts;
    assert_eq!((counts.healthy, counts.in_flux, counts.failed), (3, 1, 0));
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
    world.answer("m1", Outcome::Healthy);
    world.decide();
    assert_eq!(world.reason(), "Pause");
}

#[test]
fn semantics_18_when_the_owner_deletes_a_pod_the_deadline_counts_anew() {
    let mut world = waiting();
    world.advance(3_600);
    world.answer_saying("m1", Outcome::Progressing, STARTING);
    assert_eq!(world.orders(), [""; 0]);
    assert_eq!(world.wake_at, Some(world.now + 30_000));
    world.advance(20);
    // The pod is there, and there are more.
    world.answer_saying("m1", WAITS, OLD);
    world.decide();
    world.advance(20);
    world.answer_saying("m1", Outcome::Progressing, STARTING);
    world.decide();
    world.now += 29_999;
    assert_eq!(world.decide(), [""; 0]);
    world.now += 1;
    let failed = world.decide();
    assert!(failed[0].starts_with(&format!("Warning FailedMember: m1 (Progressing: {STARTING})")), "{failed:?}");
    assert_eq!(failed[1], "Return m1: run 1 v1, previous v1");
}

#[test]
fn semantics_18_no_other_answer_takes_the_time_that_the_owner_took() {
    for outcome in [Outcome::Refused, Outcome::WorkloadMissing] {
        let mut world = waiting();
        world.advance(3_600);
        world.answer("m1", outcome);
        world.decide();
        assert_eq!(world.summary().status.counts.failed, 0, "{outcome:?}");
    }
    let mut world = world(|spec| spec.max_failures = Some("1".to_owned()));
    world.answer_saying("m1", WAITS, OLD);
    world.decide();
    world.answer("m1", Outcome::Reverted);
    assert_eq!(world.orders()[0], "Return m1: run 1 v1, previous v1", "it has gone back by itself all the same");
}

#[test]
fn semantics_18_an_order_that_is_written_anew_starts_the_time_anew() {
    let mut world = waiting();
    world.advance(3_600);
    world.edit(|spec| spec.deadline_seconds = Some(40));
    assert!(world.orders().contains(&"Apply m1: run 1 v2 over v1, previous v1".to_owned()));
    world.advance(39);
    let mut mute = world.clone();
    world.answer_saying("m1", WAITS, OLD);
    world.decide();
    world.advance(86_400);
    world.decide();
    assert_eq!(world.summary().status.counts.failed, 0);
    // One that doesn't answer it at all has the whole deadline.
    assert_eq!(mute.decide(), [""; 0]);
    mute.advance(1);
    mute.decide();
    assert_eq!(mute.summary().status.counts.failed, 1);
}

#[test]
fn semantics_18_nothing_counts_against_one_that_falls_silent_in_its_owners_turn() {
    let mut world = waiting();
    world.silence("m1");
    world.decide();
    world.advance(3_600);
    world.set_reachability("m1", Reachability::Reachable);
    world.decide();
    world.advance(60);
    world.decide();
    world.answer_saying("m1", Outcome::Progressing, STARTING);
    world.decide();
    world.advance(29);
    world.decide();
    assert_eq!(world.summary().status.counts.failed, 0);
    world.advance(1);
    world.decide();
    assert_eq!(world.summary().status.counts.failed, 1);
}

#[test]
fn semantics_18_one_that_was_healthy_is_not_sick_while_its_owner_has_to_delete_pods_and_no_evidence_either() {
    let mut world = world(|_| {});
    world.rest();
    assert_eq!(world.reason(), "Pause");
    // Somebody has changed its template.
    world.answer_saying("m1", WAITS, OLD);
    let told = world.decide();
    assert_eq!(told[0], format!("Warning MemberUnhealthy: m1 is no longer healthy: PodDeletionByOwner: {OLD}"));
    assert_eq!((world.reason(), told.len()), ("PodDeletionByOwner", 2), "said at once: {told:?}");
    world.advance(3_600);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "PodDeletionByOwner", "the step does not end without it");
    world.answer_saying("m1", Outcome::Progressing, STARTING);
    world.decide();
    world.advance(59);
    assert_eq!(world.orders(), [""; 0]);
    world.advance(1);
    assert!(world.orders().contains(&"Return m1: run 1 v1, previous v1".to_owned()), "unhealthy for 60 s");
}

#[test]
fn semantics_18_after_the_success_the_condition_names_who_waits_for_an_owner() {
    let mut world = world(|_| {});
    world.finish();
    assert_eq!(world.reason(), "done");
    world.answer_saying("m1", WAITS, OLD);
    world.decide();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    let (status, message) = ready(&world);
    assert_eq!(status, Some(false));
    assert!(message.contains(&format!("m1 (PodDeletionByOwner: {OLD})")), "{message}");
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
}

#[test]
fn semantics_35_one_that_joins_after_the_success_waits_for_its_owner_and_the_next_one_for_it() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| spec.deadline_seconds = Some(30));
    let mut world = World::fleet(1, spec);
    world.finish();
    world.join("m02", "prod");
    world.join("m03", "prod");
    world.decide();
    world.answer("m02", Outcome::Observed);
    world.decide();
    world.answer_saying("m02", WAITS, OLD);
    world.decide();
    world.advance(86_400);
    assert_eq!(world.orders(), [""; 0]);
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "PodDeletionByOwner"));
    world.answer("m02", Outcome::Healthy);
    world.finish();
    assert_eq!((world.applied().len(), world.reason()), (3, "done"));
}

#[test]
fn semantics_35_one_that_waits_for_its_owner_again_after_the_success_keeps_nobody_from_catching_up() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100}]"));
    world.finish();
    world.answer_saying("m01", WAITS, OLD);
    world.decide();
    world.join("m03", "prod");
    assert_eq!(world.orders(), ["Observe m03: run 1 v2"]);
    assert_eq!(world.reason(), "Observation");
    world.answer("m03", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m03: run 1 v2 over v1, previous v1"]);
    world.answer("m03", Outcome::Healthy);
    world.decide();
    assert_eq!(world.reason(), "done");
    assert!(ready(&world).1.contains(&format!("m01 (PodDeletionByOwner: {OLD})")), "{}", ready(&world).1);
}

#[test]
fn semantics_30_a_return_has_its_deadline_also_in_the_owners_turn_and_its_end_says_what_to_do() {
    let mut world = world(|_| {});
    world.all_answer(&["m1", "m2"], Outcome::Progressing);
    world.decide();
    world.advance(30);
    world.decide();
    world.obey("m2");
    world.answer_saying("m1", WAITS, OLD);
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
    assert_eq!(world.state_of("m1"), format!("Returning: PodDeletionByOwner: {OLD}"));
    assert_eq!(world.wake_at, Some(world.now + 30_000));
    world.advance(30);
    let told = world.decide();
    assert!(told[0].starts_with("Warning RollbackIncomplete: run 1: 1 member not back"), "{told:?}");
    let message = world.message();
    assert_eq!((world.phase(), world.reason()), (Phase::Failed, "RollbackIncomplete"));
    assert!(message.contains(&format!("m1 (PodDeletionByOwner: {OLD})")), "{message}");
    assert_eq!(ready(&world).1, message);
    assert_eq!(world.state_of("m1"), format!("Failed: PodDeletionByOwner: {OLD}"));
    world.answer("m1", Outcome::Healthy);
    world.decide();
    assert_eq!(world.summary().status.counts.returned, 2, "a late return is taken up");
}

#[test]
fn semantics_30_one_that_waited_for_its_owner_before_the_run_is_back_when_it_does_again() {
    let mut world = world(|_| {});
    for (member, healthy) in [("m1", false), ("m2", true)] {
        let record = world.state.members.get_mut(member).unwrap();
        record.previous.as_mut().unwrap().healthy = healthy;
        world.assignments.get_mut(member).unwrap().spec.previous.as_mut().unwrap().healthy = healthy;
    }
    world.all_answer(&["m1", "m2"], Outcome::Progressing);
    world.decide();
    world.advance(30);
    world.decide();
    world.answer_saying("m1", WAITS, OLD);
    world.answer_saying("m2", WAITS, OLD);
    world.decide();
    let counts = world.summary().status.counts;
    assert_eq!((counts.returned, counts.returning), (1, 1));
}

#[test]
fn semantics_29_with_scope_member_one_that_waits_for_its_owner_is_in_flux_and_another_payload_ends_the_wait() {
    let mut world = world(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.answer_saying("m1", WAITS, OLD);
    world.answer("m2", Outcome::Progressing);
    world.decide();
    world.advance(30);
    world.decide();
    world.obey("m2");
    world.decide();
    world.advance(86_400);
    world.decide();
    assert_eq!(world.reason(), "Finishing");
    assert!(world.message().contains("m1 (PodDeletionByOwner"), "{}", world.message());
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
}
