//! Rules 1 to 3, 7, 13, 29 and 45 with whole objects as payload. The hub knows which they are and their hash; what they were
//! before, only the members' agents know, by the name of a snapshot.

use crds::{Intent, Outcome, Phase};
use rollout_core::{preview, validate};

use crate::world::{Spec, World};

fn deployment(tag: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{namespace: shop, name: checkout}}, spec: {{replicas: 1, template: \
         {{spec: {{containers: [{{name: app, image: 'shop:{tag}'}}]}}}}}}}}"
    )
}

fn config(name: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: shop, name: {name}}}, data: {{color: red}}}}")
}

fn list(objects: &[String]) -> String {
    format!("[{}]", objects.join(", "))
}

/// A fleet that gets these objects, in two steps of half of it.
fn fleet(members: usize, objects: &[String]) -> World {
    let spec = Spec::selecting("[{setWeight: 50, pause: 60}]").with(|spec| {
        spec.manifests = Some(list(objects));
        spec.max_concurrency = Some("'100%'".to_owned());
    });
    World::fleet(members, spec)
}

fn objects(world: &World) -> Vec<&str> {
    world.agents.values().map(|agent| agent.objects.as_str()).collect()
}

/// Field and text of all that is wrong with these objects.
fn problems(objects: &[String]) -> Vec<String> {
    let problems = fleet(1, objects).rollout().expect_err("something is wrong").clone();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn semantics_02_objects_are_assigned_by_their_hash_and_it_is_what_reports_must_name() {
    let mut world = fleet(2, &[config("a"), deployment("v2")]);
    world.decide();
    let observe = &world.assignments["m01"].spec;
    assert_eq!((observe.intent, observe.workload.is_none()), (Intent::Observe, true));
    let hash = observe.content_hash().unwrap();
    assert!(observe.manifests.as_ref().unwrap().objects.is_empty(), "the store has each payload once");
    world.answer("m01", Outcome::Observed);
    world.decide();
    let apply = &world.assignments["m01"].spec;
    assert_eq!((apply.intent, apply.content_hash(), apply.previous.is_some()), (Intent::Apply, Some(hash), true));
    let seen = world.reports["m01"].workload.as_ref().unwrap().content_hash();
    assert_eq!(apply.expected_hash, Some(seen));
    world.answer("m01", Outcome::Healthy);
    world.reports.get_mut("m01").unwrap().applied_hash = Some("another".to_owned());
    world.decide();
    assert!(!world.state_of("m01").starts_with("Healthy"), "{}", world.state_of("m01"));
    world.answer("m01", Outcome::Healthy);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_29_each_member_goes_back_to_its_own_snapshot() {
    let mut world = fleet(2, &[deployment("v2")]);
    world.agents.get_mut("m02").unwrap().objects = "its own".to_owned();
    world.finish();
    let v2 = world.agents["m01"].objects.clone();
    assert_eq!((world.phase(), world.agents["m02"].objects.clone()), (Phase::Succeeded, v2.clone()));
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.edit(|spec| spec.manifests = Some(list(&[deployment("v3"), config("b")])));
    world.finish();
    assert_eq!((world.phase(), objects(&world)), (Phase::RolledBack, vec![v2.as_str(), v2.as_str()]));
    let back = &world.assignments["m01"].spec;
    assert_eq!(back.intent, Intent::Return);
    assert_eq!(back.content_hash(), back.previous.as_ref().unwrap().snapshot);
}

#[test]
fn semantics_17_an_agent_that_is_cut_off_goes_back_to_what_it_has_kept() {
    let mut world = fleet(1, &[deployment("v2")]);
    world.agents.get_mut("m01").unwrap().cursed = true;
    world.rest();
    world.silence("m01");
    world.pass_own_deadline("m01");
    assert_eq!(objects(&world), [""]);
}

#[test]
fn semantics_13_objects_that_changed_since_they_were_seen_are_left_alone_and_seen_again() {
    let mut world = fleet(1, &[deployment("v2")]);
    world.decide();
    world.answer("m01", Outcome::Observed);
    world.agents.get_mut("m01").unwrap().objects = "somebody's".to_owned();
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    let first = world.agents["m01"].objects.clone();
    world.agents.get_mut("m01").unwrap().cursed = true;
    world.edit(|spec| spec.manifests = Some(list(&[deployment("bad")])));
    world.finish();
    assert_eq!((world.phase(), objects(&world)), (Phase::RolledBack, vec![first.as_str()]));
}

#[test]
fn semantics_01_forced_conflicts_start_no_run_and_reach_those_on_their_way() {
    let mut world = fleet(1, &[deployment("v2")]);
    world.decide();
    world.answer("m01", Outcome::Observed);
    world.decide();
    world.answer_saying("m01", Outcome::Refused, "Deployment shop/checkout: .spec.replicas belongs to 'hpa'");
    assert_eq!(world.reason(), "Refused");
    assert!(world.message().contains(".spec.replicas belongs to 'hpa'"), "{}", world.message());
    let forced = |world: &World| world.assignments["m01"].spec.manifests.as_ref().unwrap().force_conflicts;
    assert!(!forced(&world));
    world.edit(|spec| spec.force_conflicts = true);
    world.decide();
    assert!(forced(&world));
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 1));
}

#[test]
fn semantics_07_each_object_is_claimed_before_anybody_is_told_anything() {
    let many: Vec<String> = (0..50).map(|number| config(&format!("c{number}"))).collect();
    let mut world = fleet(4, &many);
    let first = world.decide_claims();
    assert_eq!((first.len(), first[0].as_str()), (40, "Claim m01: ConfigMap/shop/c0"));
    assert!(world.assignments.is_empty());
    world.finish();
    assert_eq!((world.phase(), world.claims.of(&world.state.header.uid).count()), (Phase::Succeeded, 200));
}

#[test]
fn semantics_49_a_member_whose_agent_is_too_old_is_told_nothing_and_the_run_waits_for_its_upgrade() {
    let mut world = fleet(4, &[deployment("v2")]);
    world.members.get_mut("m02").unwrap().api_level = 1;
    world.finish();
    assert_eq!(world.reason(), "AgentTooOld");
    assert!(world.message().ends_with("API level 2: m02; upgrade them, and the run goes on"), "{}", world.message());
    assert!(world.state_of("m02").starts_with("AgentTooOld"), "{}", world.state_of("m02"));
    assert!(!world.assignments.contains_key("m02") && world.agents["m03"].objects.is_empty());
    world.members.get_mut("m02").unwrap().api_level = 2;
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_49_images_need_no_new_agent() {
    let mut world = World::fleet(1, Spec::selecting("[{setWeight: 100}]"));
    world.members.get_mut("m01").unwrap().api_level = 1;
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_07_another_rollout_of_the_same_deployment_keeps_it_from_starting() {
    let mut world = fleet(2, &[config("a"), deployment("v2")]);
    world.claim_for("other", "m02");
    world.rest();
    assert_eq!((world.reason(), world.claimed().len()), ("Conflicted", 0));
}

#[test]
fn semantics_03_both_sorts_of_payload_at_once_are_refused_and_none_waits() {
    let mut spec = Spec::selecting("[{setWeight: 100}]");
    spec.manifests = Some(list(&[config("a")]));
    let text = spec.hash();
    assert!(text.contains("manifests") && !text.contains("workload:"));
    let mut object: crds::ClusterScopeRollout = crds::yaml::from_str(&spec.yaml()).unwrap();
    spec.manifests = None;
    let other: crds::ClusterScopeRollout = crds::yaml::from_str(&spec.yaml()).unwrap();
    object.spec.workload = other.spec.workload;
    let problems = validate(&object).unwrap_err();
    assert_eq!(problems[0].to_string(), "spec.manifests: \"and spec.workload\": must not both be given");
}

#[test]
fn semantics_45_what_no_api_server_would_take_is_named_before_anybody_is_asked() {
    let rows = [
        (vec![config("a"), config("a")], "spec.manifests[1]: \"ConfigMap shop/a\": must not be there twice"),
        (
            vec!["{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: s}}".to_owned()],
            "spec.manifests[0]: \"Secret shop/s\": must be no Secret: whoever may read rollouts could read it",
        ),
        (
            vec!["{apiVersion: v1, kind: ConfigMapList, metadata: {name: l}, items: []}".to_owned()],
            "spec.manifests[0].kind: \"ConfigMapList\": must be one object: write the items of the list",
        ),
        (
            vec!["{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: c, uid: u}}".to_owned()],
            "spec.manifests[0].metadata.uid: \"ConfigMap shop/c\": must not be set: the member's API server writes it",
        ),
        (
            vec!["{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, generateName: c}}".to_owned()],
            "spec.manifests[0].metadata.name: \"\": must be a name of 1 to 253 characters",
        ),
    ];
    for (objects, expected) in rows {
        assert_eq!(problems(&objects), [expected]);
    }
}

#[test]
fn semantics_02_a_payload_that_is_too_large_says_so() {
    let large = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: shop, name: c}}, data: {{text: '{}'}}}}",
        "x".repeat(200 * 1024)
    );
    let world = fleet(1, &[large]);
    assert_eq!(world.reason(), "PayloadTooLarge");
    assert!(world.message().contains("must have at most 196608 bytes"), "{}", world.message());
}

/// A patch of the deployment's replicas, for members with this label.
fn patch(region: &str, operations: &str) -> String {
    format!(
        "[{{clusterSelector: {{matchLabels: {{region: {region}}}}}, target: {{kind: Deployment, name: checkout}}, jsonPatch: \
         [{operations}]}}]"
    )
}

fn patched(operations: &str) -> World {
    let mut world = fleet(3, &[deployment("v2")]);
    world.members.get_mut("m02").unwrap().labels.insert("region".to_owned(), "east".to_owned());
    world.edit(|spec| spec.overrides = Some(patch("east", operations)));
    world
}

#[test]
fn semantics_02_a_patched_member_has_a_hash_of_its_own_and_all_have_one_revision() {
    let mut world = patched("{op: replace, path: /spec/replicas, value: 3}");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    let objects = objects(&world);
    assert!(objects[0] == objects[2] && objects[0] != objects[1], "{objects:?}");
    assert_eq!(world.assignments["m02"].spec.manifests.as_ref().unwrap().overrides, [0]);
    let revisions: std::collections::BTreeSet<_> = world.assignments.values().map(|one| &one.spec.revision).collect();
    assert_eq!(revisions.len(), 1);
}

#[test]
fn semantics_02_a_patch_is_shown_in_the_plan() {
    let world = patched("{op: replace, path: /spec/replicas, value: 3}");
    let answer = preview(&world.state, world.rollout().unwrap(), &world.observations(), world.now);
    let shown: Vec<_> = answer.delivers.iter().map(|one| (&one.objects[0].patches, &one.members)).collect();
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(shown[0], (&text(&[]), &text(&["m01", "m03"])));
    assert_eq!(shown[1], (&text(&["replace /spec/replicas: 3"]), &text(&["m02"])));
    assert_eq!(answer.delivers[0].objects[0].object.to_string(), "Deployment shop/checkout");
}

#[test]
fn semantics_02_a_patch_that_does_not_apply_stops_the_run_before_anything_is_touched_and_names_the_member() {
    let mut world = patched("{op: replace, path: /spec/nothing/here, value: 3}");
    world.rest();
    assert_eq!((world.reason(), world.assignments.len()), ("Invalid", 0));
    let message = world.message();
    assert!(message.contains("spec.overrides[0].jsonPatch: \"Deployment checkout\""), "{message}");
    assert!(
        message.contains("it does not apply to Deployment shop/checkout") && message.ends_with("it is for m02"),
        "{message}"
    );
}

#[test]
fn semantics_02_a_patch_of_an_object_that_is_not_there_is_refused() {
    let mut world = fleet(1, &[config("a")]);
    world.edit(|spec| spec.overrides = Some(patch("east", "{op: remove, path: /spec}")));
    assert!(world.message().contains("\"Deployment checkout\": must be one of spec.manifests"), "{}", world.message());
}

#[test]
fn semantics_02_copies_of_copies_end_before_they_fill_the_memory() {
    let copies: Vec<String> =
        (0..32).map(|number| format!("{{op: copy, from: '', path: /metadata/c{number}}}")).collect();
    let world = patched(&copies.join(", "));
    assert!(world.message().contains("it makes more than 196608 bytes as JSON of it"), "{}", world.message());
}

#[test]
fn semantics_45_what_a_patch_makes_is_checked_like_what_is_written() {
    let world = patched("{op: add, path: /metadata/uid, value: u}");
    let message = world.message();
    assert!(message.contains("jsonPatch.metadata.uid") && message.contains("must not be set"), "{message}");
}

#[test]
fn semantics_45_kinds_and_versions_fit_into_a_key() {
    let kind = "K".repeat(64);
    let object = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: a}}}}");
    assert!(problems(&[object])[0].contains("must be a kind of at most 63 letters and digits"));
    let object = "{apiVersion: 'a b/v1', kind: K, metadata: {name: a}}".to_owned();
    assert!(problems(&[object])[0].contains("must be VERSION or GROUP/VERSION"));
}

#[test]
fn semantics_45_values_within_each_other_have_an_end() {
    let nested = |levels: usize| {
        let (open, close) = ("{a: ".repeat(levels), "}".repeat(levels));
        format!("{{apiVersion: example.com/v1, kind: Deep, metadata: {{name: a}}, spec: {open}1{close}}}")
    };
    assert!(fleet(1, &[nested(60)]).rollout().is_ok());
    assert!(problems(&[nested(63)])[0].contains("\"65 levels\": must have at most 64 levels"));
}

/// The agent has forgotten what was there when it is told to withdraw.
#[test]
fn semantics_36_a_leaver_of_whole_objects_is_withdrawn_only_when_the_run_is_over() {
    let mut world = fleet(2, &[deployment("v2")]);
    world.edit(|spec| spec.steps = "[{setWeight: 50, pause: 600}]".to_owned());
    world.rest();
    let touched = world.assignments["m01"].spec.intent;
    assert_eq!(touched, Intent::Apply);
    world.members.get_mut("m01").unwrap().labels.insert("env".to_owned(), "test".to_owned());
    world.rest();
    assert_eq!(world.assignments["m01"].spec.intent, Intent::Apply, "it may have to go back");
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.finish();
    assert_eq!((world.phase(), objects(&world)), (Phase::RolledBack, vec!["", ""]));
    assert!(!world.assignments.contains_key("m01"), "then it is let go");
}

/// Another rollout has an object that is new in the payload.
#[test]
fn semantics_07_members_keep_what_they_have_while_somebody_else_has_what_is_new() {
    let mut world = fleet(2, &[config("a")]);
    world.finish();
    let before = objects(&world).join(" ");
    for member in ["m01", "m02"] {
        world.claim_for("other", member);
    }
    world.edit(|spec| spec.manifests = Some(list(&[config("a"), deployment("v2")])));
    world.finish();
    assert_eq!((world.reason(), objects(&world).join(" ")), ("Conflicted", before));
    let intents: Vec<Intent> = world.assignments.values().map(|one| one.spec.intent).collect();
    assert_eq!(intents, [Intent::Apply, Intent::Apply], "nobody is withdrawn");
    world.release_of("other");
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 2));
}

#[test]
fn semantics_07_a_member_that_some_other_rollout_shares_is_left_out_and_keeps_what_it_has() {
    let mut world = fleet(3, &[config("a")]);
    world.finish();
    let before = world.agents["m02"].objects.clone();
    world.claim_for("other", "m02");
    world.edit(|spec| spec.manifests = Some(list(&[config("a"), deployment("v2")])));
    world.finish();
    assert_eq!(world.agents["m02"].objects, before);
    assert_eq!(world.assignments["m02"].spec.intent, Intent::Apply);
    assert!(world.state_of("m02").starts_with("Conflicted"), "{}", world.state_of("m02"));
    world.release_of("other");
    world.finish();
    assert_ne!(world.agents["m02"].objects, before, "and gets the rest when it is free");
}

/// It catches up with objects that the specification does not name any more.
#[test]
fn semantics_35_a_late_joiner_gets_what_was_accepted_with_claims_on_all_of_it() {
    let mut world = fleet(2, &[config("a"), config("b")]);
    world.finish();
    let accepted = world.agents["m01"].objects.clone();
    world.agents.get_mut("m01").unwrap().cursed = true;
    world.edit(|spec| spec.manifests = Some(list(&[config("a"), config("c")])));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.join("m03", "prod");
    world.finish();
    assert_eq!(world.agents["m03"].objects, accepted);
    let claimed: Vec<String> = world.claims.held["m03"].keys().map(ToString::to_string).collect();
    assert_eq!(claimed, ["ConfigMap/shop/a", "ConfigMap/shop/b", "ConfigMap/shop/c"]);
}

#[test]
fn semantics_35_one_with_an_old_agent_keeps_nobody_else_from_catching_up() {
    let mut world = fleet(2, &[config("a")]);
    world.edit(|spec| spec.max_concurrency = Some("1".to_owned()));
    world.finish();
    world.join("m03", "prod");
    world.members.get_mut("m03").unwrap().api_level = 1;
    world.rest();
    world.join("m04", "prod");
    world.finish();
    assert_eq!(world.agents["m04"].objects, world.agents["m01"].objects);
    assert_eq!(world.reason(), "AgentTooOld");
}
