//! Rule 7: who may touch what runs in a member. One rollout at a time, and people are told who.

use std::collections::BTreeMap;

use crds::{Outcome, Phase};
use rollout_core::{
    Claim, ClaimTable, Contender, MemberFacts, Reachability, Rollout, claim_of, targets, wanted_by_older,
};

use crate::world::{Spec, World, claims::is_about};

const CHECKOUT: &str = "Deployment.apps/shop/checkout";

fn claims(verb: &str, members: &[&str]) -> Vec<String> {
    members.iter().map(|member| format!("{verb} {member}: {CHECKOUT}")).collect()
}

#[test]
fn semantics_07_the_first_run_starts_in_the_decision_that_takes_its_claims() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    assert_eq!(world.decide_claims(), claims("Claim", &["m1", "m2"]));
    assert_eq!(world.state.header.runs_started, 1);
    assert_eq!(world.decide_claims(), [""; 0], "taken once");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.decide_claims(), [""; 0], "and kept for the next run");
}

#[test]
fn semantics_07_a_rollout_whose_member_another_holds_waits_names_it_and_takes_nothing() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.claim_for("other", "m2");
    assert_eq!(
        world.decide(),
        [
            "Warning Conflicted: rollout other has a claim on 1 member: m2; delete rollout other, or take the members out of the selection of one of the two"
        ]
    );
    assert_eq!((world.phase(), world.claimed().len(), world.state.header.run.is_none()), (Phase::Pending, 0, true));
    assert!(world.state_of("m2").starts_with("Conflicted: rollout other"), "{}", world.state_of("m2"));
    assert_eq!(world.decide(), [""; 0], "announced once");
    world.release_of("other");
    assert_eq!(world.orders(), ["Observe m1: run 1 v2", "Observe m2: run 1 v2"]);
    assert_eq!(world.claimed().len(), 2);
}

#[test]
fn semantics_07_taking_the_member_out_of_the_selection_ends_the_conflict() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.claim_for("other", "m2");
    world.decide();
    world.edit(|spec| spec.targets = vec!["m1".to_owned()]);
    assert_eq!(world.orders(), ["Observe m1: run 1 v2"]);
}

#[test]
fn semantics_07_one_that_can_not_start_claims_nothing() {
    let mut world = World::new(Spec::new(&["m1", "m9"], "[{setWeight: 100}]"), &["m1"]);
    assert_eq!((world.decide_claims(), world.reason()), (Vec::new(), "TargetMissing"));
    world.join("m9", "prod");
    world.hub_fresh = false;
    assert_eq!((world.decide_claims(), world.reason()), (Vec::new(), "HubSilent"));
}

#[test]
fn semantics_07_of_those_that_have_not_started_the_younger_lets_go_of_what_the_older_wants() {
    let mut world = World::fleet(60, Spec::selecting("[{setWeight: 100}]"));
    assert_eq!(world.decide_claims().len(), 40, "a transaction bears no more");
    assert_eq!((world.more, world.state.header.runs_started), (true, 0), "and nobody is told before all are taken");
    world.wanted_by("older", "m60");
    assert_eq!(world.decide_claims().len(), 40);
    assert_eq!((world.claimed().len(), world.reason()), (0, "Conflicted"));
    world.release_of("older");
    world.decide();
    assert_eq!((world.claimed().len(), world.state.header.runs_started), (60, 1));
}

#[test]
fn semantics_07_a_joiner_that_another_holds_is_left_out_until_it_is_free_and_stops_nobody() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 50, pause: 60}]"));
    world.rest();
    world.claim_for("other", "m03");
    world.join("m03", "prod");
    let told = "Warning Conflicted: rollout other has a claim on 1 member: m03; delete rollout other, or take the members out of the selection of one of the two";
    assert_eq!(world.decide(), [told]);
    assert_eq!((world.reason(), world.state.plan.members.len()), ("Pause", 2));
    assert!(world.state_of("m03").starts_with("Conflicted: "), "{}", world.state_of("m03"));
    assert_eq!(world.decide(), [""; 0], "told once");
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "Conflicted"), "it is meant and has not got it");
    world.release_of("other");
    world.finish();
    assert_eq!((world.reason(), world.state.plan.members.len()), ("done", 3));
    assert!(world.claimed().contains("m03"));
}

#[test]
fn semantics_07_deciding_again_says_nothing_however_many_hold_the_joiners() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 50, pause: 60}]"));
    world.rest();
    for number in 10..50 {
        let member = format!("m{number}");
        world.claim_for(&format!("other-{number}"), &member);
        world.join(&member, "prod");
    }
    world.rest();
    let decided = world.state.header.decisions;
    assert_eq!(world.decide(), [""; 0], "announced once");
    assert_eq!(world.state.header.decisions, decided);
}

#[test]
fn semantics_07_a_fix_goes_out_to_the_members_that_are_held_whoever_holds_a_joiner() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 50, pause: 60}]"));
    world.rest();
    world.claim_for("other", "m03");
    world.join("m03", "prod");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.applied().len()), (Phase::Succeeded, 2));
}

#[test]
fn semantics_07_a_claim_is_kept_until_the_member_that_left_has_forgotten_the_rollout() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100}]"));
    world.finish();
    world.join("m02", "test");
    assert_eq!(world.orders(), ["Withdraw m02: run 1 v2 over v1, previous v1"]);
    assert_eq!(world.claimed().len(), 2);
    world.answer("m02", Outcome::Withdrawn);
    assert_eq!(world.decide_claims(), claims("Release", &["m02"]));
}

#[test]
fn semantics_07_a_deleted_member_frees_its_claim_in_the_decision_that_forgets_it() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100}]"));
    world.finish();
    world.delete_member("m02");
    assert_eq!(world.decide_claims(), claims("Release", &["m02"]));
}

#[test]
fn semantics_34_a_deletion_releases_the_claims_when_the_withdrawals_are_durable_unreachable_members_too() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100}]"));
    world.finish();
    world.silence("m02");
    world.deleted = true;
    assert_eq!(world.decide_claims(), [""; 0], "the withdrawals are not in the store yet");
    assert_eq!(world.decide_claims(), claims("Release", &["m01", "m02"]));
    assert!(world.state.header.finalizer_released);
}

#[test]
fn semantics_34_a_member_that_has_still_to_go_back_keeps_its_claim_after_the_deletion() {
    let spec = Spec::selecting("[{setWeight: 50}]").with(|spec| spec.image = Some("bad5".to_owned()));
    let mut world = World::fleet(2, spec);
    world.rest();
    world.silence("m01");
    world.advance(3600);
    world.rest();
    world.set_reachability("m01", Reachability::Reachable);
    world.rest();
    world.advance(600);
    world.decide();
    world.silence("m01");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.deleted = true;
    world.rest();
    assert!(world.state.header.finalizer_released);
    assert_eq!(world.claimed().into_iter().collect::<Vec<_>>(), ["m01"]);
}

#[test]
fn semantics_07_a_run_of_a_version_without_claims_takes_them_before_it_gives_another_order() {
    let mut world = World::fleet(
        60,
        Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("60".to_owned())),
    );
    world.decide();
    world.claims = rollout_core::Claims::default();
    let planned = world.state.plan.clone();
    let first = world.propose();
    assert!(
        first.more && first.commands.iter().all(is_about),
        "30 members were not observed yet, but claims come first"
    );
    world.commit(first);
    assert_eq!(world.state.plan, planned, "nobody falls out of the plan meanwhile");
    assert_eq!(world.orders().len(), 30);
    assert_eq!(world.claimed().len(), 60);
}

// Who is about to claim what: other rollouts that have not started.

fn fleet(names: &[&str]) -> BTreeMap<String, MemberFacts> {
    let reachable = Reachability::Reachable;
    let facts = || MemberFacts {
        labels: BTreeMap::new(),
        reachable,
        cordoned: false,
        uploaded: true,
        api_level: crds::AGENT_API_LEVEL,
    };
    names.iter().map(|name| ((*name).to_owned(), facts())).collect()
}

fn rollout(name: &str, created_at: i64, targets: &[&str]) -> Rollout {
    let valid = Spec::new(targets, "[{setWeight: 100}]").validate().unwrap();
    Rollout { name: name.to_owned(), uid: format!("uid-{name}"), created_at, ..valid }
}

fn held_by(claim: &Claim, member: &str) -> ClaimTable {
    let target = targets(&rollout("any", 0, &["m1"])).remove(0);
    BTreeMap::from([(member.to_owned(), BTreeMap::from([(target, claim.clone())]))])
}

/// Members that older ones are about to claim, and by whom.
fn wanted(others: &[(&Rollout, bool)], held: &ClaimTable) -> Vec<String> {
    let ours = rollout("ours", 100, &["m1", "m2", "m3"]);
    let contenders: Vec<Contender<'_>> =
        others.iter().map(|(rollout, started)| Contender { rollout, started: *started }).collect();
    let table = wanted_by_older(&ours, &contenders, &fleet(&["m1", "m2", "m3"]), held);
    let worded =
        table.iter().flat_map(|(member, claims)| claims.values().map(move |one| format!("{member} {}", one.rollout)));
    worded.collect()
}

#[test]
fn semantics_07_of_simultaneous_claims_the_lower_creation_and_then_the_lower_uid_wins() {
    let none = ClaimTable::new();
    let (older, younger) = (rollout("older", 99, &["m1"]), rollout("younger", 101, &["m2"]));
    let (lower, higher) = (rollout("a", 100, &["m2"]), rollout("z", 100, &["m3"]));
    assert_eq!(wanted(&[(&older, false), (&younger, false)], &none), ["m1 older"]);
    assert_eq!(wanted(&[(&lower, false), (&higher, false)], &none), ["m2 a"]);
    assert_eq!(wanted(&[(&older, true)], &none), [""; 0], "what has started holds its claims already");
}

#[test]
fn semantics_07_an_older_one_that_can_not_get_all_of_its_claims_keeps_nobody_waiting() {
    let older = rollout("older", 1, &["m1", "m2"]);
    let started = rollout("started", 50, &["m2"]);
    assert_eq!(wanted(&[(&older, false), (&started, true)], &held_by(&claim_of(&started), "m2")), [""; 0]);
    let gone = Claim { uid: "gone".to_owned(), rollout: "gone".to_owned(), created_at: 60 };
    assert_eq!(wanted(&[(&older, false)], &held_by(&gone, "m2")), [""; 0], "nor behind one that is being deleted");
    let without = rollout("without", 1, &["m1", "m9"]);
    assert_eq!(wanted(&[(&without, false)], &ClaimTable::new()), [""; 0], "a target of it is missing");
    let oldest = rollout("oldest", 0, &["m2"]);
    assert_eq!(wanted(&[(&older, false), (&oldest, false)], &ClaimTable::new()), ["m2 oldest"]);
}

#[test]
fn semantics_07_a_younger_one_that_holds_claims_and_has_not_started_is_no_obstacle() {
    let (older, younger) = (rollout("older", 1, &["m1", "m2"]), rollout("younger", 60, &["m2"]));
    let others = [(&older, false), (&younger, false)];
    assert_eq!(wanted(&others, &held_by(&claim_of(&younger), "m2")), ["m1 older", "m2 older"]);
}

#[test]
fn semantics_07_a_claim_is_released_once_also_when_the_member_leaves_before_the_start() {
    let mut world = World::new(Spec::new(&["m1", "m9"], "[{setWeight: 50}]"), &["m1"]);
    let mut started = World::of(&["m1"], "[{setWeight: 50}]");
    started.decide();
    world.claims = started.claims;
    world.delete_member("m1");
    assert_eq!(world.decide_claims(), claims("Release", &["m1"]));
}
