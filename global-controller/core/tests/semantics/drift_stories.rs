//! Rule 22, whatever people, members and time do: each order says about drift what it should.

use crds::{ActionKind, Intent, OnDrift, Outcome, Phase};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use rollout_core::{MemberStage, Reachability, Stage};

use crate::drift::meddle;
use crate::world::{Spec, World};

/// Something that has to do with drift; members by number.
#[derive(Clone, Copy, Debug)]
enum Happening {
    ObeyAll,
    Obey(usize),
    Say(usize, Outcome),
    Meddle(usize),
    Enforce(bool),
    Payload(&'static str),
    Rollback(Option<&'static str>),
    Reach(usize, Reachability),
    Relabel(usize, bool),
    Act(ActionKind),
    LoseStore,
    Pass(i64),
    Wake,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let member = 1..7_usize;
    let said = select(vec![Outcome::Drifted, Outcome::Contended, Outcome::Progressing, Outcome::Healthy]);
    let reach = select(vec![Reachability::Reachable, Reachability::Unreachable, Reachability::Unknown]);
    prop_oneof![
        12 => Just(ObeyAll),
        5 => member.clone().prop_map(Obey),
        2 => (member.clone(), said).prop_map(|(member, outcome)| Say(member, outcome)),
        5 => member.clone().prop_map(Meddle),
        3 => any::<bool>().prop_map(Enforce),
        2 => select(vec!["v2", "v3", "bad1", "bad2"]).prop_map(Payload),
        1 => select(vec![None, None, Some("{scope: Member}"), Some("{mode: Manual}")]).prop_map(Rollback),
        2 => (member.clone(), reach).prop_map(|(member, reach)| Reach(member, reach)),
        2 => (member, any::<bool>()).prop_map(|(member, prod)| Relabel(member, prod)),
        1 => select(vec![ActionKind::Abort, ActionKind::Retry, ActionKind::Resume]).prop_map(Act),
        1 => Just(LoseStore),
        4 => (1..100_i64).prop_map(Pass),
        6 => Just(Wake),
    ]
}

fn happen(world: &mut World, happening: Happening) {
    let name = |number: usize| format!("m{number:02}");
    match happening {
        Happening::ObeyAll => drop(world.obey_all()),
        Happening::Obey(member) => drop(world.obey(&name(member))),
        Happening::Say(member, outcome) => {
            if world.assignments.contains_key(&name(member)) {
                world.answer(&name(member), outcome);
            }
        }
        Happening::Meddle(member) => meddle(world, &name(member)),
        Happening::Enforce(yes) => world.edit(|spec| spec.enforce = yes),
        Happening::Payload(image) => world.edit(|spec| spec.image = Some(image.to_owned())),
        Happening::Rollback(rollback) => world.edit(|spec| spec.rollback = rollback.map(str::to_owned)),
        Happening::Reach(member, reach) => {
            world.set_reachability(&name(member), reach);
            world.upload_all();
        }
        Happening::Relabel(member, prod) => {
            let facts = world.members.get_mut(&name(member)).unwrap();
            facts.labels.insert("env".to_owned(), if prod { "prod" } else { "test" }.to_owned());
        }
        Happening::Act(action) => {
            if world.state.header.run.is_some() {
                world.publish_outcomes();
                world.act(action);
            }
        }
        Happening::LoseStore => {
            world.lose_store();
            world.upload_all();
        }
        Happening::Pass(seconds) => world.advance(seconds),
        Happening::Wake => world.now = world.wake_at.unwrap_or(world.now),
    }
}

/// Every order says about drift what it should.
fn check_orders(world: &World) {
    let Some(run) = world.state.header.run.as_ref().filter(|_| world.state.header.hold.is_none()) else { return };
    for (member, record) in &world.state.members {
        let Some(order) = world.assignments.get(member) else { continue };
        let arrived = match record.stage {
            MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. } => order.spec.intent == Intent::Apply,
            MemberStage::Returned { .. } => order.spec.intent == Intent::Return,
            _ => false,
        };
        let wanted = match run.stage {
            Stage::RolledBack | Stage::Failed | Stage::GivenUp => OnDrift::Report,
            _ if record.run != run.number => continue,
            Stage::Succeeded if !world.spec.enforce => OnDrift::Report,
            _ => OnDrift::Repair,
        };
        let wanted = if arrived { wanted } else { OnDrift::Repair };
        if arrived || record.run == run.number {
            assert_eq!(order.spec.on_drift, wanted, "{member} is {:?} in a run that is {:?}", record.stage, run.stage);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn semantics_22_whatever_happens_orders_say_what_is_to_be_done_about_drift_and_all_comes_to_an_end(
        story in proptest::collection::vec(happening(), 0..60),
    ) {
        let spec = Spec::selecting("[{setWeight: 40, pause: 30}]").with(|spec| {
            spec.deadline_seconds = Some(30);
            spec.max_concurrency = Some("2".to_owned());
        });
        let mut world = World::fleet(6, spec);
        for happening in story {
            happen(&mut world, happening);
            world.decide();
            while world.more {
                world.decide();
            }
            check_orders(&world);
        }
        for member in world.members.keys().cloned().collect::<Vec<_>>() {
            world.join(&member, "prod");
        }
        world.edit(|spec| (spec.image, spec.rollback) = (Some("v9".to_owned()), None));
        world.finish();
        world.publish_outcomes();
        world.act(ActionKind::Resume);
        world.finish();
        check_orders(&world);
        prop_assert_eq!(world.phase(), Phase::Succeeded, "waiting for {:?}", world.waiting_on());
    }
}
