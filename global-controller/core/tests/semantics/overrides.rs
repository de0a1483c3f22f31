//! Rules 1 and 2 with `overrides`: what a member gets may be its own, and the revision is everybody's.

use crds::{ActionKind, Phase, RunOutcome};
use rollout_core::preview;

use crate::world::{Spec, World, images};

/// An override of the image for members of this region.
fn other(region: &str, tag: &str) -> String {
    format!("{{clusterSelector: {{matchLabels: {{region: {region}}}}}, images: {{app: 'shop:{tag}'}}}}")
}

/// m01 and m02 in the east, m03 in the west, m04 nowhere. All run v1.
fn fleet(overrides: &[String]) -> World {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.max_concurrency = Some("'100%'".to_owned());
        spec.overrides = Some(format!("[{}]", overrides.join(", ")));
    });
    let mut world = World::fleet(4, spec);
    for (member, region) in [("m01", "east"), ("m02", "east"), ("m03", "west")] {
        label(&mut world, member, region);
    }
    world
}

fn label(world: &mut World, member: &str, region: &str) {
    let labels = &mut world.members.get_mut(member).unwrap().labels;
    labels.insert("region".to_owned(), region.to_owned());
}

fn runs(world: &World) -> Vec<String> {
    let tag = |name: &&str| world.agents[*name].runs.as_ref().unwrap()["app"].replace("shop:", "");
    ["m01", "m02", "m03", "m04"].iter().map(tag).collect()
}

#[test]
fn semantics_02_each_member_gets_its_own_and_they_are_one_revision() {
    let mut world = fleet(&[other("east", "v2-east"), other("west", "v2-west")]);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    assert_eq!(runs(&world), ["v2-east", "v2-east", "v2-west", "v2"]);
    assert_eq!(world.state.history.payloads.len(), 1, "stored once");
    let revision = world.state.header.accepted_revision.clone();
    assert!(world.assignments.values().all(|order| Some(&order.spec.revision) == revision.as_ref()));
}

#[test]
fn semantics_01_another_override_is_another_payload_and_returns_go_where_each_was() {
    let mut world = fleet(&[other("east", "v2-east")]);
    world.finish();
    world.edit(|spec| spec.overrides = Some(format!("[{}]", other("east", "bad"))));
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::RolledBack, 2));
    assert_eq!(runs(&world), ["v2-east", "v2-east", "v2", "v2"]);
    world.edit(|spec| spec.overrides = None);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, ["v2"; 4].map(str::to_owned).to_vec()));
    let outcomes: Vec<_> = world.state.history.runs.iter().map(|past| past.outcome.unwrap()).collect();
    assert_eq!(outcomes, [RunOutcome::Succeeded, RunOutcome::RolledBack, RunOutcome::Succeeded]);
}

#[test]
fn semantics_02_labels_count_when_a_member_is_told_and_for_who_joins_later() {
    let mut world = fleet(&[other("east", "v2-east")]);
    world.finish();
    label(&mut world, "m04", "east");
    assert_eq!(world.orders(), [""; 0], "what it was told stays");
    world.join("m05", "prod");
    label(&mut world, "m05", "east");
    world.finish();
    assert_eq!(world.agents["m05"].runs, Some(images("v2-east")));
    assert_eq!(world.agents["m04"].runs, Some(images("v2")));
}

#[test]
fn semantics_02_an_override_may_name_one_member_before_that_is_written_as_a_label() {
    let only = "{clusterSelector: {matchLabels: {rollout.example.com/member: m03}}, images: {app: 'shop:v2-own'}}";
    let mut world = fleet(&[other("west", "v2-west"), only.to_owned()]);
    world.finish();
    assert_eq!(runs(&world), ["v2", "v2", "v2-own", "v2"], "the last one counts");
}

#[test]
fn semantics_05_a_run_that_finds_what_each_is_to_have_has_nothing_to_do() {
    let mut world = fleet(&[other("east", "v2-east")]);
    for (member, tag) in [("m01", "v2-east"), ("m02", "v2-east"), ("m03", "v2"), ("m04", "v2")] {
        world.agents.get_mut(member).unwrap().runs = Some(images(tag));
    }
    world.finish();
    assert_eq!((world.phase(), world.state.header.run.as_ref().unwrap().changed_members), (Phase::Succeeded, false));
}

#[test]
fn semantics_42_who_joins_after_a_lost_store_gets_its_own_or_nothing() {
    let mut world = fleet(&[other("east", "v2-east")]);
    world.finish();
    world.lose_store();
    world.upload_all();
    world.rest();
    world.join("m05", "prod");
    label(&mut world, "m05", "east");
    world.finish();
    assert_eq!(world.agents["m05"].runs, Some(images("v2-east")), "the specification says what it is");
}

/// The members tell only what each of them got.
#[test]
fn semantics_42_nobody_gets_what_was_anothers_when_the_accepted_payload_is_no_longer_known() {
    let mut world = fleet(&[other("east", "v2-east")]);
    world.finish();
    world.edit(|spec| {
        spec.targets = vec!["nowhere".to_owned()];
        spec.image = Some("v3".to_owned());
    });
    world.finish();
    assert_eq!(world.reason(), "TargetMissing");
    world.lose_store();
    world.upload_all();
    world.rest();
    world.join("m05", "prod");
    world.finish();
    assert_eq!(world.agents["m05"].runs, Some(images("v1")));
}

/// The specification says something else while the store is lost, and is what it was again before anybody resumes.
#[test]
fn semantics_42_a_run_that_was_adopted_in_part_learns_its_payload_from_the_specification() {
    let mut world = fleet(&[other("east", "v2-east")]);
    world.edit(|spec| {
        spec.steps = "[{setWeight: 25, pause: 60}]".to_owned();
        spec.max_concurrency = Some("1".to_owned());
    });
    world.rest();
    assert_eq!((world.reason(), runs(&world)), ("Pause", ["v2-east", "v1", "v1", "v1"].map(str::to_owned).to_vec()));
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.lose_store();
    world.upload_all();
    world.rest();
    world.edit(|spec| spec.image = Some("v2".to_owned()));
    world.act(ActionKind::Resume);
    world.finish();
    assert_eq!(runs(&world), ["v2-east", "v2-east", "v2", "v2"]);
}

#[test]
fn the_plan_shows_what_each_member_gets_and_who_is_for_nobody() {
    let world = fleet(&[other("east", "v2-east"), other("north", "v2-north")]);
    let answer = preview(&world.state, world.rollout().unwrap(), &world.observations(), world.now);
    let delivers: Vec<_> = answer.delivers.iter().map(|one| (one.images["app"].as_str(), one.members.len())).collect();
    assert_eq!(delivers, [("shop:v2", 2), ("shop:v2-east", 2)]);
    assert_eq!(answer.delivers[1].members, ["m01", "m02"]);
    assert!(answer.notes.contains(&"spec.overrides[1] is for no member of the rollout".to_owned()), "{answer:?}");
}

#[test]
fn semantics_45_an_override_is_checked_field_by_field() {
    let problems = |overrides: &str| {
        let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| spec.overrides = Some(overrides.to_owned()));
        spec.validate().map(|_| ()).map_err(|all| all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(problems("[{clusterSelector: {matchLabels: {a: b}}, images: {app: x}}]"), Ok(()));
    let unknown = problems("[{clusterSelector: {matchLabels: {a: b}}, images: {proxy: x}}]").unwrap_err();
    let named = r#"spec.overrides[0].images: "proxy": must be a container that spec.workload.images names, too"#;
    assert_eq!(unknown, [named]);
    let everybody = problems("[{clusterSelector: {}, images: {app: x}}]").unwrap_err();
    assert!(everybody[0].starts_with(r#"spec.overrides[0].clusterSelector: "{}": an empty clusterSelector"#));
    let nothing = problems("[{clusterSelector: {matchLabels: {a: b}}, images: {}}]").unwrap_err();
    assert!(nothing[0].starts_with("spec.overrides[0].images"), "{nothing:?}");
    let long = "x".repeat(500);
    let one = format!("{{clusterSelector: {{matchLabels: {{a: b}}}}, images: {{app: {long}}}}}");
    let many = problems(&format!("[{}]", vec![one.clone(); 20].join(", "))).unwrap_err();
    assert!(many[0].contains("at most 8192 bytes as JSON"), "{many:?}");
    let more = problems(&format!("[{}]", vec![one; 33].join(", "))).unwrap_err();
    assert!(more[0].contains("at most 32 entries"), "{more:?}");
}
