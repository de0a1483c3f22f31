//! All queries of a round, in as few questions as they take.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, stream};
use prometheus_asker::{Answer, Failure, Moments};
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
    /// The moments that it is about.
    pub about: Moments,
}

/// One that is wanted, by its index.
type Numbered<'a> = (usize, Wanted<'a>);

enum Question<'a> {
    One(Numbered<'a>),
    Many(Batch, Vec<Numbered<'a>>),
}

/// The answers, in the order of what is wanted, to each one for each of its moments. Queries that differ in nothing but the
/// member go into one question, where that yields the same.
pub async fn answers(sources: &Sources, wanted: &[Wanted<'_>]) -> Vec<Vec<Answer>> {
    // Made before the stream, of which the compiler can't tell otherwise that it may move between threads.
    let asked: Vec<_> = questions(wanted).into_iter().map(|question| put(sources, question).boxed()).collect();
    let asked = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut answers: Vec<(usize, Vec<Answer>)> = asked.map(stream::iter).flatten().collect().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn questions<'a>(wanted: &[Wanted<'a>]) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut alike: BTreeMap<(&str, Moments, &str), Vec<Numbered<'a>>> = BTreeMap::new();
    for (index, one) in wanted.iter().enumerate() {
        match &one.query.about {
            Some(about) => alike.entry((one.source, one.about, &about.marked)).or_default().push((index, *one)),
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

async fn put(sources: &Sources, question: Question<'_>) -> Vec<(usize, Vec<Answer>)> {
    let (batch, members) = match question {
        Question::One(one) => return vec![alone(sources, one).await],
        Question::Many(batch, members) => (batch, members),
    };
    let Some((_, Wanted { source, about, .. })) = members.first() else { return Vec::new() };
    let together = sources.ask_about(source, &batch.query, *about, deadline()).await;
    // One of them may have spoilt it for all; asked for itself, each gets its own answer.
    let spoilt = |answer: &Answer| {
        matches!(answer, Answer::Scalar(_) | Answer::Failed(Failure::BadQuery(_) | Failure::TooLarge { .. }))
    };
    if together.iter().any(spoilt) {
        let asked: Vec<_> = members.into_iter().map(|one| alone(sources, one).boxed()).collect();
        return stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    }
    let mut answers: Vec<Vec<Answer>> = members.iter().map(|_| Vec::with_capacity(together.len())).collect();
    for answer in together {
        match answer {
            Answer::Vector(series) => {
                let parts = batch.split(series);
                for ((_, one), answers) in members.iter().zip(&mut answers) {
                    let part = parts.get(value(one)).cloned().unwrap_or_else(|| batch.none());
                    answers.push(Answer::Vector(part));
                }
            }
            other => answers.iter_mut().for_each(|answers| answers.push(other.clone())),
        }
    }
    members.iter().map(|(index, _)| *index).zip(answers).collect()
}

async fn alone(sources: &Sources, (index, wanted): Numbered<'_>) -> (usize, Vec<Answer>) {
    let Wanted { source, query, about } = wanted;
    (index, sources.ask_about(source, &query.text, about, deadline()).await)
}

fn deadline() -> Instant {
    Instant::now() + DEADLINE
}
