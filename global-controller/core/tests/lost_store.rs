//! The store is lost, or an older backup restored, at any point of a rollout: nobody is told anything that they were not
//! told before until a person decides, nobody ever gets a revision that was rolled back, and all comes to an end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::collections::BTreeSet;

use crds::{ActionKind, Intent, Phase, Revision};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use rollout_core::{Command, Decision, Reachability};

use world::{Backup, Spec, World, images};

const MEMBERS: usize = 5;

/// Something that happens to the world; members by number.
#[derive(Clone, Debug)]
enum Happening {
    ObeyAll,
    Obey(usize),
    OwnDeadline(usize),
    Reach(usize, bool),
    /// v2 to v4, and two of which no pod ever becomes ready.
    Payload(u8),
    Pass(i64),
    Wake,
    Backup,
    Restore,
    Lose,
    Act(ActionKind),
}

fn name(number: usize) -> String {
    format!("m{number:02}")
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let member = 0..MEMBERS;
    prop_oneof![
        10 => Just(ObeyAll),
        6 => member.clone().prop_map(Obey),
        2 => member.clone().prop_map(OwnDeadline),
        4 => (member, proptest::bool::weighted(0.6)).prop_map(|(member, heard)| Reach(member, heard)),
        3 => (2..7_u8).prop_map(Payload),
        4 => (1..200_i64).prop_map(Pass),
        6 => Just(Wake),
        1 => Just(Backup),
        1 => Just(Restore),
        3 => Just(Lose),
        3 => select(vec![ActionKind::Resume, ActionKind::Abort]).prop_map(Act),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let limit = || select(vec![None, None, Some("1"), Some("'40%'")]);
    let rollback =
        select(vec![None, None, Some("{maxConcurrency: 1}"), Some("{scope: Member}"), Some("{mode: Manual}")]);
    let steps =
        select(vec!["[{setWeight: 20, pause: 30}, {setWeight: 60}]", "[{setWeight: 100}]", "[{setWeight: 40}]"]);
    (steps, limit(), limit(), rollback).prop_map(|(steps, max_failures, max_unreachable, rollback)| {
        Spec::selecting(steps).with(|spec| {
            spec.max_concurrency = Some("'50%'".to_owned());
            spec.deadline_seconds = Some(60);
            spec.max_failures = max_failures.map(str::to_owned);
            spec.max_unreachable = max_unreachable.map(str::to_owned);
            spec.rollback = rollback.map(str::to_owned);
        })
    })
}

struct Story {
    world: World,
    backup: Option<Backup>,
    /// Everything that was ever rolled back.
    refused: BTreeSet<Revision>,
}

impl Story {
    fn happen(&mut self, happening: &Happening) {
        let world = &mut self.world;
        match happening {
            Happening::ObeyAll => drop(world.obey_all()),
            Happening::Obey(member) => drop(world.obey(&name(*member))),
            Happening::OwnDeadline(member) => world.pass_own_deadline(&name(*member)),
            Happening::Reach(member, heard) => {
                let reach = if *heard { Reachability::Reachable } else { Reachability::Unreachable };
                world.set_reachability(&name(*member), reach);
                // Whoever is heard is asked.
                world.upload_all();
            }
            Happening::Payload(tag) => {
                let image = if *tag > 4 { format!("bad{tag}") } else { format!("v{tag}") };
                world.edit(|spec| spec.image = Some(image));
            }
            Happening::Pass(seconds) => world.advance(*seconds),
            Happening::Wake => world.now = world.wake_at.unwrap_or(world.now),
            Happening::Backup => self.backup = Some(world.backup()),
            Happening::Restore => {
                if let Some(backup) = self.backup.clone() {
                    world.restore(backup);
                    world.upload_all();
                }
            }
            Happening::Lose => {
                world.lose_store();
                world.upload_all();
            }
            Happening::Act(action) => {
                if world.state.header.run.is_some() {
                    world.publish_outcomes();
                    world.act(*action);
                }
            }
        }
    }

    fn decide(&mut self) {
        let decision = self.world.propose();
        self.check(&decision);
        self.refused.extend(decision.state.header.quarantine.iter().cloned());
        self.world.commit(decision);
    }

    /// Until nothing is left to be learnt anew, as the driver does before anything else.
    fn decide_all(&mut self) {
        self.decide();
        while self.world.more {
            self.decide();
        }
    }

    fn check(&self, decision: &Decision) {
        for command in &decision.commands {
            let Command::Assign { member, spec } = command else { continue };
            let had = self.world.agents[member].order.as_ref().map(|order| &order.spec);
            let again = had.is_some_and(|had| {
                had.intent == spec.intent && had.revision == spec.revision && had.workload == spec.workload
            });
            let forward = matches!(spec.intent, Intent::Apply | Intent::Observe);
            let refused = self.refused.contains(&spec.revision);
            assert!(!forward || !refused || again, "{member} gets {}, which was rolled back", spec.revision);
            let known = self.world.members[member].uploaded;
            assert!(!forward || known, "{member} is told without having told what it was told");
            if decision.state.header.hold.is_some() && forward {
                assert!(again, "{member} is told something new while everything holds");
            }
        }
    }

    /// All are there and heard, and a person has everything go on.
    fn heal(&mut self) {
        for member in (0..MEMBERS).map(name) {
            self.world.set_reachability(&member, Reachability::Reachable);
        }
        self.world.upload_all();
        self.decide_all();
        self.happen(&Happening::Act(ActionKind::Resume));
        self.decide_all();
    }
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = if default.cases == 256 { RngSeed::Fixed(0x5eed) } else { default.rng_seed };
    ProptestConfig { cases: 2 * default.cases, failure_persistence: None, rng_seed, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn semantics_42_whenever_the_store_is_lost_nobody_is_sent_back_and_nobody_gets_what_was_rolled_back(
        spec in spec(),
        story in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut told = Story { world: World::fleet(0, spec), backup: None, refused: BTreeSet::new() };
        for number in 0..MEMBERS {
            told.world.join(&name(number), "prod");
            told.world.agents.get_mut(&name(number)).unwrap().runs = Some(images(&format!("v1-{number}")));
        }
        for happening in &story {
            told.happen(happening);
            told.decide_all();
        }
        told.heal();
        told.world.finish();
        let status = told.world.summary().status;
        if status.phase == Some(Phase::RolledBack) {
            for (member, agent) in &told.world.agents {
                let runs = &agent.runs.as_ref().unwrap()["app"];
                prop_assert!(!runs.contains("bad"), "{member} still runs {runs}");
            }
        }
        told.world.edit(|spec| {
            spec.image = Some("v9".to_owned());
            spec.rollback = None;
        });
        told.world.finish();
        prop_assert_eq!(told.world.phase(), Phase::Succeeded, "waiting for {:?}", told.world.waiting_on());
        for (member, agent) in &told.world.agents {
            prop_assert_eq!(agent.runs.as_ref(), Some(&images("v9")), "{}", member);
        }
    }
}
