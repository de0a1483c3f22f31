//! What is explored: a fleet and a rollout, how often what may go wrong, and which promise is broken on purpose.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crds::{RolloutAssignmentSpec, images_hash};
use rollout_core::{Millis, Rollout};

use super::leader::Decided;
use super::spec::Spec;
use super::state::{Committed, Kept, Tag};

/// Time of every state: what lies before or after it moves instead.
pub const NOW: Millis = 1_767_225_600_000;
/// One step of time: as long as a report may take to arrive after the first sign of life.
pub const UNIT: Millis = 15_000;
/// `progressDeadlineSeconds` in steps of time, of leader and agents alike. The longest duration here.
pub const DEADLINE_UNITS: u8 = 2;
/// Pause of the explicit step.
pub const PAUSE_UNITS: u8 = 1;

/// How often what can go wrong may go wrong on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Leaders that die or are cut off, at any time.
    pub crashes: u8,
    /// Decisions that are not committed at once: anything may happen in between, and the leader may lose its place.
    pub stalls: u8,
    /// Steps of time that pass while somebody has something to do, and is slow.
    pub delays: u8,
    /// Links between members and leader that go down.
    pub cuts: u8,
    /// Agents that die, perhaps half way through taking an order.
    pub restarts: u8,
}

/// A fleet and a rollout. There is one explicit step, with a pause, and the implicit last one without a soak.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub name: &'static str,
    /// 1 to 3.
    pub members: usize,
    /// Images that people ask for, one after the other: 2 is good, 9 never becomes ready.
    pub images: &'static [Tag],
    /// Weight of the explicit step, in percent.
    pub weight: u8,
    pub max_concurrency: u8,
    pub max_failures: u8,
    pub max_unreachable: u8,
    pub strict: bool,
    pub faults: Faults,
}

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Orders are sent when they are decided, before they are committed.
    ActsBeforeCommit,
    /// An agent takes whatever order comes, and carries it out without a look at its mark. (One of the two alone breaks
    /// nothing.)
    AgentTakesLowerFence,
    /// What an agent has taken is only in its memory.
    MarksLostAtRestart,
    /// An agent that has given up forgets that when it starts again.
    GivenUpForgotten,
    /// The store commits what a leader of an earlier term has decided, whatever was committed since.
    DeposedCommits,
    /// Agents call a workload healthy as soon as its images are set.
    AgentSaysHealthyEarly,
    /// The clock of a leader's successor is an hour ahead.
    ClockRunsAhead,
    /// Durable timers are moved on with the time.
    ClockStandsStill,
    /// Commits lose the count of failures.
    FailuresForgotten,
    /// Commits lose what was refused.
    QuarantineForgotten,
}

/// The model.
pub struct Fleet {
    pub setup: Setup,
    pub bug: Option<Bug>,
    pub names: Vec<String>,
    /// What people ask for, parsed.
    pub rollouts: Vec<Rollout>,
    hashes: BTreeMap<String, Tag>,
    /// States from which a fair future is known to come to an end.
    pub ending: Mutex<HashSet<u64>>,
    /// Decisions by what they are taken on, and stores by what they were one step of time ago: computed once, for many
    /// states differ only in what neither depends on.
    pub decided: Mutex<HashMap<u64, Arc<Decided>>>,
    pub later: Mutex<HashMap<u64, Kept<Committed>>>,
}

impl Fleet {
    pub fn new(setup: Setup, bug: Option<Bug>) -> Self {
        let names: Vec<String> = (1..=setup.members).map(|number| format!("m{number}")).collect();
        let rollouts = (0..setup.images.len()).map(|index| rollout(&setup, &names, index)).collect();
        let own = (0..setup.members).map(own_tag);
        let tags = own.chain(setup.images.iter().copied());
        let hashes = tags.map(|tag| (images_hash(&images(tag)), tag)).collect();
        Self {
            setup,
            bug,
            names,
            rollouts,
            hashes,
            ending: Mutex::default(),
            decided: Mutex::default(),
            later: Mutex::default(),
        }
    }

    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The image that has this hash.
    pub fn tag_of_hash(&self, hash: &str) -> Tag {
        self.hashes[hash]
    }
}

/// What a member runs before anything happens: each something of its own.
pub fn own_tag(member: usize) -> Tag {
    Tag::try_from(101 + member).unwrap()
}

/// Whether pods of this image never become ready.
pub fn is_bad(tag: Tag) -> bool {
    tag == 9
}

/// Container `app` with this image.
pub fn images(tag: Tag) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), image(tag))])
}

fn image(tag: Tag) -> String {
    format!("shop:{tag}")
}

/// The image of container `app`.
pub fn tag_of(images: &BTreeMap<String, String>) -> Tag {
    images["app"].rsplit(':').next().unwrap().parse().unwrap()
}

/// The image that an order to apply means.
pub fn tag_of_order(spec: &RolloutAssignmentSpec) -> Tag {
    tag_of(spec.images())
}

fn rollout(setup: &Setup, names: &[String], index: usize) -> Rollout {
    let targets: Vec<&str> = names.iter().map(String::as_str).collect();
    let pause = i64::from(PAUSE_UNITS) * UNIT / 1000;
    let mut spec = Spec::new(&targets, &format!("[{{setWeight: {}, pause: {pause}}}]", setup.weight));
    spec.image = Some(setup.images[index].to_string());
    spec.soak_seconds = Some(0);
    spec.max_concurrency = Some(setup.max_concurrency.to_string());
    spec.max_failures = Some(setup.max_failures.to_string());
    spec.max_unreachable = Some(setup.max_unreachable.to_string());
    spec.tolerance = setup.strict.then(|| "Strict".to_owned());
    spec.deadline_seconds = Some(i64::from(DEADLINE_UNITS) * UNIT / 1000);
    spec.generation = i64::try_from(index).unwrap() + 1;
    spec.validate().unwrap()
}
