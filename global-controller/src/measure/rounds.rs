//! Takes the measurements that open gates ask for, and writes down what they show. The leader's job.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use federated_store::{Fence, Op, TxnOutcome, When};
use rollout_core::{Answer, Ask, Asked, Measurement, Millis, Sample, SampleKey, Whom, measurements_due};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::questions::{self, Wanted};
use super::{Moments, members, promql};
use crate::bus::Dirty;
use crate::world::World;
use crate::{clock, keys, records};

/// Samples in one transaction, which bears 100 operations.
const WRITTEN_AT_ONCE: usize = 50;
/// Before a round is tried again whose samples could not be written.
const RETRY_PAUSE_MILLIS: Millis = 1000;

/// Measures while this replica leads.
pub(crate) async fn run(world: Arc<World>, fence: Fence, stop: CancellationToken) {
    let rounds = Rounds { world, fence, due: BTreeMap::new(), under_way: HashMap::new(), tasks: JoinSet::new() };
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds.run() => {}
    }
}

struct Rounds {
    world: Arc<World>,
    fence: Fence,
    /// Rollout's uid to when its next measurement is due; those with an open gate alone.
    due: BTreeMap<String, Millis>,
    /// Rollouts that are being measured, by their tasks: a series must not be measured twice at a time, or one would not
    /// count.
    under_way: HashMap<Id, String>,
    tasks: JoinSet<Written>,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    No,
    Fenced,
}

impl Rounds {
    async fn run(mut self) {
        let mut changes = self.world.bus.subscribe();
        loop {
            let next = self.due.iter().filter(|(uid, _)| !self.is_under_way(uid)).map(|(_, at)| *at).min();
            let until = next.map(|at| Instant::now() + millis(at - clock::now_millis()));
            let uids = tokio::select! {
                dirty = changes.next(Duration::ZERO, until) => self.changed(dirty),
                Some(ended) = self.tasks.join_next_with_id() => match self.settle(ended) {
                    Some(uids) => uids,
                    None => return,
                },
            };
            self.start(uids);
        }
    }

    fn is_under_way(&self, uid: &String) -> bool {
        self.under_way.values().any(|other| other == uid)
    }

    /// Who is to be looked at after a round; none when another leader has taken over. A round that panicked counts as one
    /// that could not be written: the rollout is measured again, and the others don't notice.
    fn settle(&mut self, ended: Result<(Id, Written), JoinError>) -> Option<BTreeSet<String>> {
        let (id, written) = ended.unwrap_or_else(|error| {
            tracing::error!(rollout = self.under_way.get(&error.id()), %error, "a measurement panicked");
            self.world.metrics.invariant_violations.inc();
            (error.id(), Written::No)
        });
        let uid = self.under_way.remove(&id);
        match written {
            Written::Fenced => None,
            Written::Yes => Some(uid.into_iter().collect()),
            Written::No => {
                let at = clock::now_millis() + RETRY_PAUSE_MILLIS;
                self.due.extend(uid.map(|uid| (uid, at)));
                Some(BTreeSet::new())
            }
        }
    }

    /// Rollouts whose gate may have opened, changed or closed, and those whose time has come.
    fn changed(&self, dirty: Dirty) -> BTreeSet<String> {
        let mut uids = dirty.rollouts;
        if dirty.everything {
            uids.extend(self.world.mirror().rollouts().cloned());
        }
        let now = clock::now_millis();
        uids.extend(self.due.iter().filter(|(_, at)| **at <= now).map(|(uid, _)| uid.clone()));
        uids
    }

    fn start(&mut self, uids: BTreeSet<String>) {
        let measured = |uid: &String| self.world.mirror().rollout(uid).is_some_and(|stored| stored.state.is_measured());
        let (open, closed): (Vec<String>, Vec<String>) = uids.into_iter().partition(measured);
        for uid in closed {
            self.due.remove(&uid);
        }
        let open: Vec<String> = open.into_iter().filter(|uid| !self.is_under_way(uid)).collect();
        if open.is_empty() {
            return;
        }
        let members = self.world.member_facts();
        for uid in open {
            let now = clock::now_millis();
            let asked = self
                .world
                .look(&uid, &members, |known, _, observations| measurements_due(&known.state, observations, now));
            match asked.next_at {
                Some(at) => drop(self.due.insert(uid.clone(), at)),
                None => drop(self.due.remove(&uid)),
            }
            if !(asked.asks.is_empty() && asked.obsolete.is_empty()) {
                let task = self.tasks.spawn(round(Arc::clone(&self.world), self.fence, uid.clone(), asked));
                self.under_way.insert(task.id(), uid);
            }
        }
    }
}

/// One round over all series of a rollout that are due.
async fn round(world: Arc<World>, fence: Fence, uid: String, asked: Asked) -> Written {
    let started = std::time::Instant::now();
    let Asked { asks, obsolete, next_at: _ } = asked;
    let samples = measure(&world, &uid, asks).await;
    let written = write(&world, fence, &uid, operations(&uid, &samples, &obsolete)).await;
    let word = if written == Written::Yes { "ok" } else { "error" };
    world.metrics.observe("measure", word, started);
    written
}

async fn measure(world: &World, uid: &str, asks: Vec<Ask>) -> Vec<(SampleKey, Sample)> {
    let before = world.mirror().samples(uid).cloned().unwrap_or_default();
    let (mut measured, mut asked) = (Vec::new(), Vec::new());
    for ask in asks {
        match too_far_back(&ask) {
            Some(why) => {
                measured.extend(ask.measured(&before, &Measurement::inconclusive(&why)));
            }
            None => asked.push(ask),
        }
    }
    for (ask, its) in asked.iter().zip(answers(world, &asked).await) {
        measured.extend(ask.answered(&before, &its));
    }
    for (key, sample) in &measured {
        tracing::debug!(uid, series = %key, verdict = sample.verdict.as_str(), found = sample.found, "measured");
    }
    measured
}

/// The answers to each. All of one gate are asked of sources, or all of members.
async fn answers(world: &World, asked: &[Ask]) -> Vec<Vec<Answer>> {
    let of_members: Option<Vec<(&str, &Ask)>> = asked.iter().map(of_member).collect();
    if let Some(asks) = of_members {
        return members::answers(world, &asks).await;
    }
    let wanted: Vec<Wanted<'_>> = asked.iter().flat_map(|ask| wanted(ask, Moments::At(ask.at))).collect();
    let answers = questions::answers(&world.sources, &wanted).await;
    let mut answers = answers.into_iter().flatten().map(plain);
    asked.iter().map(|ask| answers.by_ref().take(ask.queries.len()).collect()).collect()
}

fn of_member(ask: &Ask) -> Option<(&str, &Ask)> {
    match &ask.asked {
        Whom::Member(member) => Some((member, ask)),
        Whom::Source(_) => None,
    }
}

/// All queries of a measurement that a source is asked for.
pub(crate) fn wanted(ask: &Ask, about: Moments) -> impl Iterator<Item = Wanted<'_>> {
    let source = match &ask.asked {
        Whom::Source(source) => source,
        // No gate has both: there is no source of this name.
        Whom::Member(_) => "",
    };
    ask.queries.iter().map(move |query| Wanted { source, query, about })
}

/// As core takes it: which labels a series has plays no part.
pub(crate) fn plain(answer: prometheus_asker::Answer) -> Answer {
    match answer {
        prometheus_asker::Answer::Vector(series) => {
            Answer::Values(series.into_iter().map(|(_, value)| value).collect())
        }
        prometheus_asker::Answer::Scalar(value) => Answer::Values(vec![value]),
        prometheus_asker::Answer::Failed(failure) => Answer::Failed(failure.to_string()),
    }
}

/// Why a query would see what was before the member became healthy, if it would (SEMANTICS 25).
pub(crate) fn too_far_back(ask: &Ask) -> Option<String> {
    let window = Duration::from_secs(u64::try_from(ask.window_seconds).unwrap_or_default());
    let back = ask.queries.iter().filter_map(|query| promql::lookback(&query.text).ok()).max()?;
    // {{window}} is at least a second.
    (back > window.max(Duration::from_secs(1))).then(|| {
        format!(
            "the query looks back {} s, and the revision has been healthy for {} s only: use {{{{window}}}}, or wait",
            back.as_secs(),
            window.as_secs()
        )
    })
}

/// A value that can't be written as JSON is a fault of the program: it is told and left out.
fn operations(uid: &str, samples: &[(SampleKey, Sample)], obsolete: &[SampleKey]) -> Vec<Op> {
    let put = |(key, sample): &(SampleKey, Sample)| {
        let put = records::put(keys::sample(uid, key), sample);
        put.inspect_err(|error| tracing::error!(uid, %error, "a sample can't be written as JSON")).ok()
    };
    let delete = |key| Op::Delete { key: keys::sample(uid, key) };
    samples.iter().filter_map(put).chain(obsolete.iter().map(delete)).collect()
}

/// On condition that the rollout is as it was seen: of one whose records were removed meanwhile nothing would ever remove
/// the samples.
async fn write(world: &World, fence: Fence, uid: &str, operations: Vec<Op>) -> Written {
    for some in operations.chunks(WRITTEN_AT_ONCE) {
        let Some(revision) = world.mirror().rollout(uid).map(|stored| stored.header_revision) else {
            return Written::Yes;
        };
        let unchanged = When::At { key: keys::header(uid), revision };
        match world.store.txn(Some(fence), vec![unchanged], some.to_vec()).await {
            Ok(TxnOutcome::Committed { revision }) => world.await_mirror(revision).await,
            Ok(TxnOutcome::Fenced) => return Written::Fenced,
            Ok(TxnOutcome::Conflict { .. }) => return Written::No,
            Err(error) => {
                tracing::warn!(uid, error = crate::logging::with_causes(&error), "samples were not written");
                return Written::No;
            }
        }
    }
    Written::Yes
}

fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
