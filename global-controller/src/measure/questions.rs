//! All queries of a round, in as few questions as they take.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, stream};
use prometheus_asker::{Answer, Failure};
use rollout_core::Query;
use tokio::time::{Duration, Instant};

use super::batch::Batch;
use super::sources::Sources;

/// Questions of one round that are under way at once; each server has a limit of its own.
const AT_ONCE: usize = 64;
/// Longest time for one question, waiting for a place at the server included: the default interval.
const DEADLINE: Duration = Duration::from_secs(30);
/// Members that one question is about. More make the question long and gain little.
const MEMBERS_AT_ONCE: usize = 100;

/// A query to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name of the source, or its address.
    pub source: &'a str,
    /// What is asked.
    pub query: &'a Query,
    /// The moment that it is about, in milliseconds since the Unix epoch.
    pub at: i64,
}

/// One that is wanted, by its index.
type Numbered<'a> = (usize, Wanted<'a>);

enum Question<'a> {
    One(Numbered<'a>),
    Many(Batch, Vec<Numbered<'a>>),
}

/// The answers, in the order of what is wanted. Queries that differ in nothing but the member go into one question, where
/// that yields the same.
pub async fn answers(sources: &Sources, wanted: &[Wanted<'_>]) -> Vec<Answer> {
    // Made before the stream, of which the compiler can't tell otherwise that it may move between threads.
    let asked: Vec<_> = questions(wanted).into_iter().map(|question| put(sources, question).boxed()).collect();
    let asked = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut answers: Vec<(usize, Answer)> = asked.map(stream::iter).flatten().collect().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn questions<'a>(wanted: &[Wanted<'a>]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut alike: BTreeMap<(&str, i64, &str), Vec<Numbered<'a>>> = BTreeMap::new();
    for (index, one) in wanted.iter().enumerate() {
        match &one.query.about {
            Some(about) => alike.entry((one.source, one.at, &about.marked)).or_default().push((index, *one)),
            None => questions.push(Question::One((index, *one))),
        }
    }
    for ((_, _, marked), group) in alike {
        for some in group.chunks(MEMBERS_AT_ONCE) {
            let values: Vec<&str> = some.iter().map(|(_, one)| value(one)).collect();
            match Batch::of(marked, &values).filter(|_| some.len() > 1) {
                Some(batch) => questions.push(Question::Many(batch, some.to_vec())),
                None => questions.extend(some.iter().copied().map(Question::One)),
            }
        }
    }
    questions
}

/// What names the member.
fn value<'a>(wanted: &Wanted<'a>) -> &'a str {
    wanted.query.about.as_ref().map_or("", |about| &about.value)
}

async fn put(sources: &Sources, question: Question<'_>) -> Vec<(usize, Answer)> {
    let (batch, members) = match question {
        Question::One(one) => return vec![alone(sources, one).await],
        Question::Many(batch, members) => (batch, members),
    };
    let Some((_, Wanted { source, at, .. })) = members.first() else { return Vec::new() };
    match sources.ask(source, &batch.query, *at, deadline()).await {
        Answer::Vector(series) => {
            let parts = batch.split(series);
            let answer = |one: &Wanted<'_>| parts.get(value(one)).cloned().unwrap_or_else(|| batch.none());
            members.iter().map(|(index, one)| (*index, Answer::Vector(answer(one)))).collect()
        }
        // One of them may have spoilt it for all; asked for itself, each gets its own answer.
        Answer::Scalar(_) | Answer::Failed(Failure::BadQuery(_) | Failure::TooLarge { .. }) => {
            let asked: Vec<_> = members.into_iter().map(|one| alone(sources, one).boxed()).collect();
            stream::iter(asked).buffer_unordered(AT_ONCE).collect().await
        }
        failed @ Answer::Failed(_) => members.iter().map(|(index, _)| (*index, failed.clone())).collect(),
    }
}

async fn alone(sources: &Sources, (index, wanted): Numbered<'_>) -> (usize, Answer) {
    (index, sources.ask(wanted.source, &wanted.query.text, wanted.at, deadline()).await)
}

fn deadline() -> Instant {
    Instant::now() + DEADLINE
}
