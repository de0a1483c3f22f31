//! Whatever people, members and time do, in any order: every decision is sound (see `world/check.rs`), what a
//! member ran first is never lost, and once all is well again every rollout comes to its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use crds::{ActionKind, GateMode, Intent, Outcome};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use rollout_core::{Answer, MemberStage, Reachability, Stage, Touched, WaitingOn};

use world::measures::{configured, of_thousand, one, silence};
use world::{Spec, World, images};

/// Something that happens to the world; members by number.
#[derive(Clone, Debug)]
enum Happening {
    /// The agent does as it is told and its report arrives.
    Obey(usize),
    /// The agent does as it is told, and the report is lost.
    ObeyUnheard(usize),
    /// The agent says this, whatever it was told.
    Say(usize, Outcome),
    /// The report that the agent gave before this one arrives again.
    Repeat(usize),
    /// All agents do as they are told.
    ObeyAll,
    /// The deadline of its order passes by the agent's own clock.
    OwnDeadline(usize),
    /// Somebody else changes what runs in the member.
    Meddle(usize),
    /// Somebody deletes the workload in the member, before it was told to change it.
    Lose(usize),
    IfMissing(Option<String>),
    Join(usize),
    Leave(usize),
    Relabel(usize, bool),
    Reach(usize, Reachability),
    Hub(bool),
    Pause(bool),
    Payload(Option<u8>),
    Steps(String),
    Soak(Option<i64>),
    Concurrency(Option<String>),
    Deadline(Option<i64>),
    MaxFailures(Option<String>),
    Rollback(Option<String>),
    Enforce(bool),
    Tolerance(Option<String>),
    MaxUnreachable(Option<String>),
    MinReady(Option<i64>),
    Targets(Vec<usize>),
    Gates(GateMode),
    /// Whether the configuration has a Prometheus.
    Configured(bool),
    Analysis(Option<String>),
    /// What Prometheus says from now on of a member, or with none of what is measured once for all.
    Prometheus(Option<usize>, Vec<Answer>),
    /// All measurements that are due are taken.
    Measure,
    /// Another rollout takes the claim on a member, if it is free.
    Claimed(usize),
    /// An older rollout is about to take it; that holds for nobody who has started.
    Wanted(usize),
    /// The other rollouts are gone.
    Released,
    /// Somebody approves, aborts or retries; the run and the step that they saw are so many before the present ones.
    Act(ActionKind, i64, i32),
    /// The hub is told what became of actions.
    Told,
    /// The clock, in seconds; back, too.
    Pass(i64),
    /// To where the last decision wants to be woken.
    Wake,
}

fn name(number: usize) -> String {
    format!("m{number:02}")
}

/// Non-decreasing weights with pauses, as YAML.
fn steps() -> impl Strategy<Value = String> {
    let approval = select(vec!["", "", "", ", approval: Required"]);
    proptest::collection::vec((1..=100, select(vec![0, 0, 30, 300]), approval), 1..5).prop_map(|mut steps| {
        steps.sort_by_key(|(weight, ..)| *weight);
        let step =
            |(weight, pause, approval): &(i32, i64, &str)| format!("{{setWeight: {weight}, pause: {pause}{approval}}}");
        format!("[{}]", steps.iter().map(step).collect::<Vec<_>>().join(", "))
    })
}

fn concurrency() -> impl Strategy<Value = Option<String>> {
    select(vec![None, Some("1"), Some("2"), Some("7"), Some("'30%'"), Some("'100%'")])
        .prop_map(|limit| limit.map(str::to_owned))
}

fn max_failures() -> impl Strategy<Value = Option<String>> {
    select(vec![None, None, Some("1"), Some("3"), Some("'40%'"), Some("'100%'")])
        .prop_map(|limit| limit.map(str::to_owned))
}

fn rollback() -> impl Strategy<Value = Option<String>> {
    select(vec![
        None,
        None,
        None,
        Some("{mode: Manual}"),
        Some("{maxConcurrency: 1}"),
        Some("{maxConcurrency: '50%'}"),
        Some("{scope: Member}"),
    ])
    .prop_map(|rollback| rollback.map(str::to_owned))
}

fn tolerance() -> impl Strategy<Value = Option<String>> {
    select(vec![None, None, Some("Strict")]).prop_map(|tolerance| tolerance.map(str::to_owned))
}

/// v2 to v4, and two of which no pod ever becomes ready.
fn image(number: u8) -> String {
    if number > 4 { format!("bad{number}") } else { format!("v{number}") }
}

/// What is measured: the default gate, other paces, a further metric once for all, and sources that are not there.
fn analysis() -> impl Strategy<Value = Option<String>> {
    select(vec![
        None,
        None,
        Some("{interval: 10}"),
        Some("{interval: 10, failureLimit: 1, onNoData: Rollback}"),
        Some("{interval: 20, maxPause: 120, successRate: {confidence: '95%'}}"),
        Some("{interval: 15, metrics: [{name: errors, query: 'sum(errors)', condition: 'value < 1'}]}"),
        Some("{interval: 10, failureLimit: 2, background: true}"),
        Some("{from: Member, interval: 10, successRate: {good: good, total: total}, background: true}"),
        Some("{prometheus: {source: absent}}"),
    ])
    .prop_map(|analysis| analysis.map(str::to_owned))
}

/// Well, bad, nothing, no answer. Each fits a success rate; to a single query it is the wrong number of answers.
fn said_by_prometheus() -> impl Strategy<Value = Vec<Answer>> {
    select(vec![
        of_thousand(1000.0),
        of_thousand(1000.0),
        of_thousand(1000.0),
        of_thousand(500.0),
        silence(),
        vec![Answer::Failed("timeout".to_owned()); 2],
        one(0.0),
        one(2.0),
    ])
}

fn soak() -> impl Strategy<Value = Option<i64>> {
    select(vec![None, Some(0), Some(60)])
}

/// A valid rollout over some of `count` members, by name, by label or both.
fn spec(count: usize) -> impl Strategy<Value = Spec> {
    let targets = proptest::collection::btree_set(0..count, 0..=count.min(4))
        .prop_flat_map(|some| Just(some.into_iter().map(name).collect::<Vec<_>>()).prop_shuffle());
    (
        targets,
        any::<bool>(),
        steps(),
        soak(),
        concurrency(),
        select(vec![None, Some(45)]),
        (max_failures(), rollback(), tolerance(), max_failures(), select(vec![None, None, Some(3)])),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(targets, selects, steps, soak_seconds, max_concurrency, deadline_seconds, failures, paused)| {
                let (max_failures, rollback, tolerance, max_unreachable, min_ready_seconds) = failures;
                let selects = selects || targets.is_empty();
                let selector = selects.then(|| "{matchLabels: {env: prod}}".to_owned());
                Spec {
                    targets,
                    selector,
                    soak_seconds,
                    max_concurrency,
                    deadline_seconds,
                    max_failures,
                    tolerance,
                    max_unreachable,
                    min_ready_seconds,
                    rollback,
                    paused,
                    ..Spec::new(&[], &steps)
                }
            },
        )
}

fn happening(count: usize) -> impl Strategy<Value = Happening> {
    use Happening::*;
    let member = 0..count;
    let said = select(vec![
        Outcome::Accepted,
        Outcome::Observed,
        Outcome::Progressing,
        Outcome::PodDeletionByOwner,
        Outcome::Healthy,
        Outcome::PreviousChanged,
        Outcome::WorkloadMissing,
        Outcome::Refused,
        Outcome::Withdrawn,
        Outcome::Reverted,
        Outcome::Drifted,
        Outcome::Contended,
    ]);
    let reach = select(vec![Reachability::Reachable, Reachability::Unreachable, Reachability::Unknown]);
    prop_oneof![
        12 => member.clone().prop_map(Obey),
        3 => member.clone().prop_map(ObeyUnheard),
        5 => (member.clone(), said).prop_map(|(member, outcome)| Say(member, outcome)),
        2 => member.clone().prop_map(Repeat),
        20 => Just(ObeyAll),
        2 => member.clone().prop_map(OwnDeadline),
        2 => member.clone().prop_map(Meddle),
        1 => member.clone().prop_map(Lose),
        2 => select(vec![None, Some("Skip")]).prop_map(|what| IfMissing(what.map(str::to_owned))),
        2 => member.clone().prop_map(Join),
        2 => member.clone().prop_map(Leave),
        3 => (member.clone(), any::<bool>()).prop_map(|(member, prod)| Relabel(member, prod)),
        3 => (member.clone(), reach).prop_map(|(member, reach)| Reach(member, reach)),
        1 => any::<bool>().prop_map(Hub),
        2 => any::<bool>().prop_map(Pause),
        2 => proptest::option::weighted(0.9, 2..7_u8).prop_map(Payload),
        2 => prop_oneof![4 => steps(), 1 => Just("[{setWeight: 101}]".to_owned())].prop_map(Steps),
        1 => soak().prop_map(Soak),
        1 => concurrency().prop_map(Concurrency),
        1 => select(vec![None, Some(45), Some(5)]).prop_map(Deadline),
        1 => max_failures().prop_map(MaxFailures),
        1 => rollback().prop_map(Rollback),
        1 => any::<bool>().prop_map(Enforce),
        1 => tolerance().prop_map(Tolerance),
        1 => max_failures().prop_map(MaxUnreachable),
        1 => select(vec![None, Some(3)]).prop_map(MinReady),
        1 => proptest::collection::btree_set(member, 0..4).prop_map(|some| Targets(some.into_iter().collect())),
        1 => select(vec![GateMode::Hold, GateMode::TimerOnly]).prop_map(Gates),
        1 => proptest::bool::weighted(0.8).prop_map(Configured),
        1 => analysis().prop_map(Analysis),
        2 => (proptest::option::weighted(0.8, 0..count), said_by_prometheus()).prop_map(|(of, answers)| Prometheus(of, answers)),
        8 => Just(Measure),
        2 => (0..count).prop_map(Claimed),
        1 => (0..count).prop_map(Wanted),
        2 => Just(Released),
        3 => act(),
        2 => Just(Told),
        6 => (-20..200_i64).prop_map(Pass),
        6 => Just(Wake),
    ]
}

fn act() -> impl Strategy<Value = Happening> {
    let kind = select(vec![
        ActionKind::Approve,
        ActionKind::Approve,
        ActionKind::Approve,
        ActionKind::Abort,
        ActionKind::Retry,
    ]);
    (kind, select(vec![0, 0, 0, 0, 1]), select(vec![0, 0, 0, 0, 1]))
        .prop_map(|(kind, runs, steps)| Happening::Act(kind, runs, steps))
}

/// A world with what must be remembered about it.
struct Story {
    world: World,
    /// What each member ran before this rollout first touched it, since it last succeeded or was rolled back.
    first: BTreeMap<String, BTreeMap<String, String>>,
    /// Members about which nothing is claimed: they were withdrawn from, or their agents lied.
    exempt: BTreeSet<String>,
    /// Reports before the newest.
    older: BTreeMap<String, crds::RolloutAssignmentStatus>,
    /// When each action was taken up.
    taken_up: BTreeMap<String, i64>,
}

impl Story {
    fn new(world: World) -> Self {
        Self {
            world,
            first: BTreeMap::new(),
            exempt: BTreeSet::new(),
            older: BTreeMap::new(),
            taken_up: BTreeMap::new(),
        }
    }

    fn happen(&mut self, happening: Happening) {
        let world = &mut self.world;
        match happening {
            Happening::Obey(member) => self.obey(&name(member)),
            Happening::ObeyUnheard(member) => {
                let member = name(member);
                let before = self.world.reports.get(&member).cloned();
                self.obey(&member);
                match before {
                    Some(report) => self.world.reports.insert(member, report),
                    None => self.world.reports.remove(&member),
                };
            }
            Happening::Say(member, outcome) => {
                let member = name(member);
                if world.assignments.contains_key(&member) {
                    self.exempt.insert(member.clone());
                    world.answer(&member, outcome);
                }
            }
            Happening::Repeat(member) => {
                if let Some(report) =
                    self.older.get(&name(member)).filter(|_| world.reports.contains_key(&name(member)))
                {
                    world.reports.insert(name(member), report.clone());
                }
            }
            Happening::ObeyAll => {
                for member in world.assignments.keys().cloned().collect::<Vec<_>>() {
                    self.obey(&member);
                }
            }
            Happening::OwnDeadline(member) => world.pass_own_deadline(&name(member)),
            Happening::Meddle(member) => {
                if let Some(agent) = world.agents.get_mut(&name(member)) {
                    agent.runs = Some(images(&format!("manual-{}", world.now)));
                }
            }
            Happening::Lose(member) => {
                let member = name(member);
                let told = world.assignments.get(&member).is_some_and(|order| order.spec.intent != Intent::Observe);
                if let Some(agent) = world.agents.get_mut(&member).filter(|_| !told) {
                    agent.runs = None;
                    self.exempt.insert(member);
                }
            }
            Happening::IfMissing(what) => world.edit(|spec| spec.if_missing = what),
            Happening::Join(member) => world.join(&name(member), "prod"),
            Happening::Leave(member) => world.delete_member(&name(member)),
            Happening::Relabel(member, prod) => {
                if let Some(facts) = world.members.get_mut(&name(member)) {
                    facts.labels.insert("env".to_owned(), if prod { "prod" } else { "test" }.to_owned());
                }
            }
            Happening::Reach(member, reachable) => world.set_reachability(&name(member), reachable),
            Happening::Hub(fresh) => world.hub_fresh = fresh,
            Happening::Pause(paused) => world.edit(|spec| spec.paused = paused),
            Happening::Payload(tag) => world.edit(|spec| spec.image = tag.map(image)),
            Happening::Steps(steps) => world.edit(|spec| spec.steps = steps),
            Happening::Soak(seconds) => world.edit(|spec| spec.soak_seconds = seconds),
            Happening::Concurrency(limit) => world.edit(|spec| spec.max_concurrency = limit),
            Happening::Deadline(seconds) => world.edit(|spec| spec.deadline_seconds = seconds),
            Happening::MaxFailures(limit) => world.edit(|spec| spec.max_failures = limit),
            Happening::Rollback(rollback) => world.edit(|spec| spec.rollback = rollback),
            Happening::Enforce(yes) => world.edit(|spec| spec.enforce = yes),
            Happening::Tolerance(tolerance) => world.edit(|spec| spec.tolerance = tolerance),
            Happening::MaxUnreachable(limit) => world.edit(|spec| spec.max_unreachable = limit),
            Happening::MinReady(seconds) => world.edit(|spec| spec.min_ready_seconds = seconds),
            Happening::Targets(targets) => world.edit(|spec| spec.targets = targets.into_iter().map(name).collect()),
            Happening::Gates(mode) => world.gates.when_unconfigured = mode,
            Happening::Configured(yes) => world.gates.sources = if yes { configured().sources } else { Vec::new() },
            Happening::Analysis(analysis) => world.edit(|spec| spec.analysis = analysis),
            Happening::Prometheus(member, answers) => {
                let member = member.map(name);
                for metric in ["success-rate", "errors"] {
                    world.says(metric, member.as_deref(), answers.clone());
                }
            }
            Happening::Measure => drop(world.measure()),
            Happening::Claimed(member) => world.claim_for("other", &name(member)),
            Happening::Wanted(member) if world.state.header.runs_started == 0 => {
                world.wanted_by("other", &name(member));
            }
            Happening::Released => world.release_of("other"),
            Happening::Act(kind, runs, steps) if world.state.header.run.is_some() => {
                // A retry may also be of those who fail to catch up with what was accepted before.
                let accepted = world.state.header.accepted_revision.clone();
                let accepted = accepted.filter(|_| kind == ActionKind::Retry && steps > 0);
                world.act_with(kind, |spec| {
                    spec.run -= runs;
                    spec.step -= steps;
                    spec.revision = accepted.unwrap_or(spec.revision.clone());
                });
            }
            Happening::Act(..) | Happening::Wanted(_) => {}
            Happening::Told => world.publish_outcomes(),
            Happening::Pass(seconds) => world.advance(seconds),
            Happening::Wake => {
                let next = world.wake_at.into_iter().chain(world.due().next_at).min();
                world.now = world.now.max(next.unwrap_or(world.now));
            }
        }
    }

    fn obey(&mut self, member: &str) {
        let world = &mut self.world;
        let before = world.agents.get(member).and_then(|agent| agent.runs.clone());
        let report = world.reports.get(member).cloned();
        if !world.obey(member) {
            return;
        }
        self.older.extend(report.map(|report| (member.to_owned(), report)));
        let applied = world.assignments[member].spec.intent == Intent::Apply
            && matches!(
                world.reports[member].outcome,
                Outcome::Healthy | Outcome::Progressing | Outcome::PodDeletionByOwner
            );
        if let (true, Some(before)) = (applied, before) {
            self.first.entry(member.to_owned()).or_insert(before);
        }
    }

    fn decide(&mut self) {
        let (settled, accepted) =
            (self.world.state.header.settled_run, self.world.state.header.accepted_revision.clone());
        for line in self.world.decide() {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            if matches!(word, "Forget" | "Withdraw") {
                self.exempt.insert(rest.split(':').next().unwrap().to_owned());
            }
        }
        self.check_returns();
        self.check_actions();
        let header = &self.world.state.header;
        if header.settled_run == settled {
            assert_eq!(header.accepted_revision, accepted, "accepted without a success");
        } else {
            // Who has not gone back yet, or was never healthy since it was told, still goes where it was to.
            let records = &self.world.state.members;
            let owed = |member: &String| {
                records.get(member).is_some_and(|record| {
                    record.stage.owes_return() || matches!(record.stage, MemberStage::Applying { .. })
                })
            };
            self.first.retain(|member, _| owed(member));
            self.exempt.retain(owed);
        }
        self.settle_those_who_caught_up();
        self.check_previous();
    }

    /// Who has caught up after a success is where the success brought the others; who failed at it is back.
    fn settle_those_who_caught_up(&mut self) {
        let header = &self.world.state.header;
        let records = &self.world.state.members;
        self.first.retain(|member, _| {
            let arrived = records.get(member).is_some_and(|record| {
                record.run <= header.settled_run
                    && matches!(
                        record.stage,
                        MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. } | MemberStage::Returned { .. }
                    )
            });
            !arrived
        });
    }

    /// Decides until there is no more to decide.
    fn decide_all(&mut self) {
        self.decide();
        while self.world.more {
            self.decide();
        }
    }

    /// Lets as many deadlines pass as there are members, and decides at each.
    fn pass_deadlines(&mut self) {
        for _ in 0..self.world.members.len() {
            self.world.now = self.world.wake_at.unwrap_or(self.world.now);
            self.decide_all();
        }
    }

    /// A return goes to what the member ran first; when a rollback has ended well, each that it touched was told to.
    fn check_returns(&self) {
        let rolled_back = self.world.state.header.run.as_ref().is_some_and(|run| run.stage == Stage::RolledBack);
        for (member, first) in self.first.iter().filter(|(member, _)| !self.exempt.contains(*member)) {
            let Some(assignment) = self.world.assignments.get(member) else { continue };
            let spec = &assignment.spec;
            let late = self.world.state.plan.late.as_ref().is_some_and(|late| late.run.revision == spec.revision);
            assert!(!rolled_back || late || spec.intent == Intent::Return, "{member} was touched and left as it is");
            if spec.intent == Intent::Return {
                let previous = spec.previous.as_ref().map(|previous| &previous.images);
                assert_eq!(previous, Some(first), "{member} is sent elsewhere than where it was");
            }
        }
    }

    /// Each action is taken up once, and is remembered for as long as the hub has no outcome of it.
    fn check_actions(&mut self) {
        let handled = &self.world.state.header.handled;
        for action in &self.world.actions {
            let at = handled.get(&action.uid).map(|handled| handled.at);
            if let Some(at) = at {
                let first = *self.taken_up.entry(action.uid.clone()).or_insert(at);
                assert_eq!(first, at, "{action:?} was taken up twice");
            } else {
                assert!(!self.taken_up.contains_key(&action.uid), "what became of {action:?} is forgotten");
            }
        }
    }

    /// What is recorded as previous state is what the member ran when it was first touched. An agent that finds
    /// the images already there touches nothing, whoever put them there.
    fn check_previous(&mut self) {
        // An unanswered Apply that was superseded counts as touched. Where it was not carried out, nobody can tell
        // any more whether something else that runs there now came before it or after.
        let touched = self.world.state.members.iter().filter(|(_, record)| record.touched == Touched::Yes);
        self.exempt.extend(touched.map(|(member, _)| member.clone()).filter(|member| !self.first.contains_key(member)));
        for (member, first) in &self.first {
            let Some(record) = self.world.state.members.get(member) else { continue };
            let told = record.run > self.world.state.header.settled_run && record.touched == Touched::Yes;
            if told && !self.exempt.contains(member) {
                let previous = record.previous.as_ref().map(|previous| &previous.images);
                assert_eq!(previous, Some(first), "{member} lost what it ran before");
            }
        }
    }

    /// All that can be repaired is: everybody is there, heard, selected and honest, and the clock runs on.
    fn heal(&mut self, count: usize) {
        let world = &mut self.world;
        for member in (0..count).map(name) {
            world.join(&member, "prod");
            let agent = world.agents.get_mut(&member).unwrap();
            agent.healthy = true;
            agent.runs.get_or_insert_with(|| images("v1"));
        }
        world.release_of("other");
        world.approves = true;
        world.publish_outcomes();
        world.hub_fresh = true;
        world.gates.when_unconfigured = GateMode::TimerOnly;
        world.gates.sources = configured().sources;
        world.said.clear();
        world.edit(|spec| {
            spec.analysis = spec.analysis.take().filter(|analysis| !analysis.contains("absent"));
            spec.paused = false;
            spec.enforce = true;
            spec.image.get_or_insert_with(|| "v2".to_owned());
            if spec.steps.contains("101") {
                "[{setWeight: 50, pause: 30}]".clone_into(&mut spec.steps);
            }
            if spec.targets.is_empty() {
                spec.selector = Some("{matchLabels: {env: prod}}".to_owned());
            }
        });
    }
}

/// So many cases, the same in every run, so that a change is judged by what it changes. With `PROPTEST_CASES` above its
/// default of 256 there are more in proportion, and new ones each time: that is how to look for the next bug.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = if default.cases == 256 { RngSeed::Fixed(0x5eed) } else { default.rng_seed };
    ProptestConfig { cases: cases * default.cases / 256, failure_persistence: None, rng_seed, ..default }
}

/// The run has an end, or waits with a reason that people can do something about.
fn assert_ended(world: &World) {
    use crds::Phase::{Failed, Holding, Pending, RolledBack, Succeeded};

    let status = world.summary().status;
    let ended = matches!(status.phase, Some(Succeeded | RolledBack | Failed));
    let told = matches!(status.phase, Some(Holding | Pending)) && world.waiting_on().is_some_and(|wait| wait.holds());
    assert!(ended || told, "{:?}, waiting for {:?}", status.phase, world.waiting_on());
}

fn assert_succeeded(world: &World) {
    assert_eq!(world.reason(), "done", "waiting for {:?}", world.waiting_on());
    let wanted = images(world.spec.image.as_ref().unwrap());
    for member in &world.state.plan.members {
        assert_eq!(world.agents[member].runs.as_ref(), Some(&wanted), "{member} runs something else");
    }
    let status = world.summary().status;
    assert_eq!(status.phase, Some(crds::Phase::Succeeded));
    assert_eq!((status.counts.healthy, status.counts.in_flux), (status.counts.total, 0));
    assert_eq!(status.accepted_revision, status.revision);
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_run_with_good_answers_ends_succeeded(spec in spec(9)) {
        let mut world = World::fleet(0, spec.with(|spec| spec.paused = false));
        world.approves = true;
        for member in (0..9).map(name) {
            world.join(&member, "prod");
        }
        world.finish();
        assert_succeeded(&world);
    }

    #[test]
    fn bad_members_are_within_budget_or_everybody_goes_back_and_never_are_more_touched_than_soft_tolerance_allows(
        spec in spec(12),
        bad in proptest::collection::btree_set(0..12_usize, 0..6),
        all_bad in proptest::bool::weighted(0.2),
    ) {
        let mut world = World::fleet(0, spec.with(|spec| {
            spec.paused = false;
            if spec.rollback.as_ref().is_some_and(|rollback| rollback.contains("Manual") || rollback.contains("scope")) {
                spec.rollback = None;
            }
        }));
        world.approves = true;
        for member in 0..12 {
            world.join(&name(member), "prod");
            world.agents.get_mut(&name(member)).unwrap().cursed = all_bad || bad.contains(&member);
            world.agents.get_mut(&name(member)).unwrap().runs = Some(images(&format!("v1-{member}")));
        }
        let lines = world.finish();
        let told = |intent: &str, member: &str| lines.iter().any(|line| line.starts_with(&format!("{intent} {member}:")));
        let run = world.state.header.run.clone().unwrap();
        let cursed = |member: &String| world.agents[member].cursed;
        let touched: Vec<String> = world.agents.keys().filter(|member| told("Apply", member)).cloned().collect();
        let failed = touched.iter().filter(|member| cursed(member)).count();
        prop_assert!(failed <= run.failure_limit + run.flux_limit, "{failed} touched by {run:?}");
        prop_assert!(matches!(run.stage, Stage::Succeeded | Stage::RolledBack), "{:?}", world.waiting_on());
        prop_assert!(run.stage == Stage::RolledBack || failed <= run.failure_limit);
        for member in world.agents.keys() {
            let back = touched.contains(member) && (run.stage == Stage::RolledBack || cursed(member));
            prop_assert_eq!(told("Return", member), back, "{}", member);
            let before = images(&format!("v1-{}", member[1..].parse::<usize>().unwrap()));
            let kept = back || !touched.contains(member);
            let wanted = if kept { before } else { images("v2") };
            prop_assert_eq!(world.agents[member].runs.as_ref(), Some(&wanted), "{}", member);
        }
    }

    #[test]
    fn guarantee_6_with_strict_tolerance_failures_never_exceed_the_budget_by_more_than_the_one_that_tripped_it(
        spec in spec(12),
        bad in proptest::collection::btree_set(0..12_usize, 0..9),
        silences in proptest::collection::vec((0..12_usize, any::<bool>(), 0..60_i64), 0..30),
        member_scope in any::<bool>(),
    ) {
        let mut world = World::fleet(0, spec.with(|spec| {
            spec.paused = false;
            spec.tolerance = Some("Strict".to_owned());
            spec.rollback = member_scope.then(|| "{scope: Member}".to_owned());
        }));
        world.approves = true;
        for member in 0..12 {
            world.join(&name(member), "prod");
            world.agents.get_mut(&name(member)).unwrap().cursed = bad.contains(&member);
        }
        let within = |world: &World| {
            let run = world.state.header.run.as_ref().unwrap();
            run.failures <= run.failure_limit + 1
        };
        let told = |world: &World| world.agents.iter().filter(|(_, agent)| agent.cursed && agent.has_applied()).count();
        for (member, silent, seconds) in silences {
            let reach = if silent { Reachability::Unreachable } else { Reachability::Reachable };
            world.set_reachability(&name(member), reach);
            world.rest();
            world.advance(seconds);
            world.rest();
            prop_assert!(within(&world), "{:?}", world.state.header.run);
        }
        for member in 0..12 {
            world.set_reachability(&name(member), Reachability::Reachable);
        }
        world.finish();
        prop_assert!(within(&world), "{:?}", world.state.header.run);
        let limit = world.state.header.run.as_ref().unwrap().failure_limit;
        prop_assert!(told(&world) <= limit + 1, "{} bad members were touched, {limit} may fail", told(&world));
    }

    #[test]
    fn with_scope_member_only_those_that_fail_return_and_the_run_ends_failed_or_within_budget(
        spec in spec(12),
        bad in proptest::collection::btree_set(0..12_usize, 0..6),
    ) {
        let mut world = World::fleet(0, spec.with(|spec| {
            spec.paused = false;
            spec.rollback = Some("{scope: Member}".to_owned());
        }));
        world.approves = true;
        for member in 0..12 {
            world.join(&name(member), "prod");
            world.agents.get_mut(&name(member)).unwrap().cursed = bad.contains(&member);
        }
        let lines = world.finish();
        let told = |intent: &str, member: &str| lines.iter().any(|line| line.starts_with(&format!("{intent} {member}:")));
        let run = world.state.header.run.clone().unwrap();
        prop_assert!(matches!(run.stage, Stage::Succeeded | Stage::GivenUp), "{:?}", world.waiting_on());
        for (member, agent) in &world.agents {
            prop_assert_eq!(told("Return", member), told("Apply", member) && agent.cursed, "{}", member);
        }
    }

    #[test]
    fn a_new_leader_that_knows_only_the_store_decides_the_same(
        spec in spec(6),
        story in proptest::collection::vec(happening(6), 0..40),
    ) {
        let mut story_of = Story::new(World::new(spec, &["m00", "m01", "m02", "m03", "m04", "m05"]));
        for happening in story {
            story_of.happen(happening);
            let world = &story_of.world;
            let restored = serde_json::from_slice(&serde_json::to_vec(&world.state).unwrap()).unwrap();
            let mut other = world.clone();
            other.state = restored;
            prop_assert_eq!(other.propose(), world.propose());
            story_of.decide();
        }
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn every_decision_is_sound_and_all_comes_to_an_end_when_all_is_well_again(
        spec in spec(8),
        story in proptest::collection::vec((happening(8), proptest::bool::weighted(0.8)), 0..80),
    ) {
        let mut told = Story::new(World::new(spec, &["m00", "m01", "m02", "m03", "m04"]));
        for (happening, decides) in story {
            told.happen(happening);
            if decides {
                told.decide();
            }
        }
        told.heal(8);
        told.decide();
        told.world.finish();
        assert_ended(&told.world);
        // A run that was over keeps those out who joined since; the next payload means everybody.
        told.world.edit(|spec| spec.image = Some("v9".to_owned()));
        told.world.finish();
        assert_succeeded(&told.world);
    }

    #[test]
    fn whatever_is_waited_for_has_a_name(
        spec in spec(5),
        story in proptest::collection::vec(happening(6), 0..60),
    ) {
        let mut told = Story::new(World::new(spec, &["m00", "m01", "m02", "m03", "m04"]));
        for happening in story {
            told.happen(happening);
            told.decide_all();
            // The committed assignments are part of what is observed now.
            let again = told.world.propose();
            prop_assert_eq!(&again.state, &told.world.state, "the commit of a decision caused another");
            prop_assert_ne!(told.world.waiting_on(), Some(WaitingOn::Decision));
        }
    }

    #[test]
    fn a_deletion_at_any_time_ends_when_all_agents_have_acknowledged(
        spec in spec(6),
        story in proptest::collection::vec(happening(6), 0..40),
        after in proptest::collection::vec(happening(6), 0..20),
    ) {
        let mut told = Story::new(World::new(spec, &["m00", "m01", "m02", "m03", "m04"]));
        for happening in story {
            told.happen(happening);
            told.decide();
        }
        let rolling_back = |world: &World| {
            world.state.header.run.as_ref().is_some_and(|run| run.stage == Stage::RollingBack)
        };
        told.world.deleted = true;
        if rolling_back(&told.world) {
            // Bounded by the deadlines, whoever does not come back.
            told.decide();
            told.pass_deadlines();
            // A new leader's grace ends too; who waited for a place behind the unheard has a deadline of their own.
            for member in told.world.members.keys().cloned().collect::<Vec<_>>() {
                if told.world.members[&member].reachable == Reachability::Unknown {
                    told.world.silence(&member);
                }
            }
            told.decide_all();
            told.pass_deadlines();
            prop_assert!(!rolling_back(&told.world), "waiting for {:?}", told.world.waiting_on());
        }
        let ran: Vec<_> = told.world.agents.values().map(|agent| agent.runs.clone()).collect();
        told.decide();
        told.decide();
        prop_assert!(told.world.state.header.finalizer_released, "somebody delayed it");
        let runs: Vec<_> = told.world.agents.values().map(|agent| agent.runs.clone()).collect();
        prop_assert_eq!(ran, runs);
        for happening in after {
            told.happen(happening);
            told.decide();
        }
        for member in told.world.members.keys().cloned().collect::<Vec<_>>() {
            told.world.set_reachability(&member, Reachability::Reachable);
        }
        told.world.rest();
        prop_assert!(told.world.state.is_spent());
        prop_assert!(told.world.assignments.is_empty());
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn fleets_of_more_members_than_one_decision_may_change_are_no_different(
        spec in spec(90),
        story in proptest::collection::vec((mass_happening(90), 0..4_usize), 0..14),
    ) {
        let mut told = Story::new(World::fleet(0, spec.with(|spec| {
            spec.selector = Some("{matchLabels: {env: prod}}".to_owned());
            // One member after the other is told by the smaller fleets; here it would only take long.
            (spec.tolerance, spec.min_ready_seconds) = (None, None);
        })));
        for member in (0..90).map(name) {
            told.world.join(&member, "prod");
        }
        for (happenings, decisions) in story {
            for happening in happenings {
                told.happen(happening);
            }
            for _ in 0..decisions {
                told.decide();
            }
        }
        told.heal(90);
        told.world.finish();
        assert_ended(&told.world);
        told.world.edit(|spec| spec.image = Some("v9".to_owned()));
        told.world.finish();
        assert_succeeded(&told.world);
    }
}

/// The same thing to a range of members, or one thing to all.
fn mass_happening(count: usize) -> impl Strategy<Value = Vec<Happening>> {
    let some = (0..count, 0..count).prop_map(|(one, other)| one.min(other)..one.max(other));
    prop_oneof![
        1 => some.clone().prop_map(|some| some.map(|member| Happening::Relabel(member, false)).collect()),
        1 => some.clone().prop_map(|some| some.map(|member| Happening::Relabel(member, true)).collect()),
        1 => some.clone().prop_map(|some| some.map(Happening::Leave).collect()),
        1 => some.clone().prop_map(|some| some.map(Happening::Join).collect()),
        1 => some.clone().prop_map(|some| some.map(|member| Happening::Say(member, Outcome::Progressing)).collect()),
        1 => some.prop_map(|some| some.map(Happening::Meddle).collect()),
        4 => Just(vec![Happening::ObeyAll]),
        2 => Just(vec![Happening::Wake]),
        2 => happening(count).prop_map(|happening| vec![happening]),
    ]
}
