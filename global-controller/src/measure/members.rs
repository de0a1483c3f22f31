//! Measurements that each member's own Prometheus is asked for, through its agent (`analysis.from: Member`).

use std::collections::BTreeMap;

use crds::Found;
use rollout_core::{Answer, Ask};
use tokio::time::Instant;

use super::inquiries::{Silence, WITHIN};
use crate::world::World;

/// In the place of a source's name in figures. No source is called so.
const FIGURE: &str = "(members)";

/// The answers to these, in their order: one inquiry for all that a member is asked.
pub(super) async fn answers(world: &World, asks: &[(&str, &Ask)]) -> Vec<Vec<Answer>> {
    let mut of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, (member, _)) in asks.iter().enumerate() {
        of.entry(member).or_default().push(index);
    }
    let asked = of.into_iter().map(|(member, indices)| async move {
        let its: Vec<&Ask> = indices.iter().filter_map(|index| asks.get(*index)).map(|(_, ask)| *ask).collect();
        let answers = one(world, member, &its).await;
        indices.into_iter().zip(answers).collect::<Vec<_>>()
    });
    let mut answers: Vec<(usize, Vec<Answer>)> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answers)| answers).collect()
}

/// What one member is asked: all of one moment.
async fn one(world: &World, member: &str, asks: &[&Ask]) -> Vec<Vec<Answer>> {
    let started = std::time::Instant::now();
    let queries: Vec<String> = asks.iter().flat_map(|ask| &ask.queries).map(|query| query.text.clone()).collect();
    let at_millis = asks.first().map_or(0, |ask| ask.at);
    let count = queries.len();
    let answers = match inquire(world, member, (queries, at_millis)).await {
        Ok(found) if found.len() == count => found.iter().map(plain).collect(),
        Ok(found) => failed(&format!("its agent gave {} answers to {count} queries", found.len()), count),
        Err(silence) => failed(&silence.to_string(), count),
    };
    let is_answered = |answer: &Answer| matches!(answer, Answer::Values(_));
    let result = if answers.iter().any(is_answered) { "ok" } else { "failed" };
    world.metrics.questions.asked(FIGURE, result, started.elapsed());
    let mut answers = answers.into_iter();
    asks.iter().map(|ask| answers.by_ref().take(ask.queries.len()).collect()).collect()
}

async fn inquire(world: &World, member: &str, about: (Vec<String>, i64)) -> Result<Vec<Found>, Silence> {
    // Bound first: a guard in the scrutinee would be held through the arms.
    let asks = world.mirror().member(member).and_then(|known| known.info.as_ref()?.asks_prometheus);
    match asks {
        // An agent that doesn't know the question would drop its stream.
        None => return Err(Silence::Unknown),
        Some(false) => return Err(Silence::Unconfigured),
        Some(true) => {}
    }
    let waiting = world.inquiries.open(&world.unique, member, about, Instant::now())?;
    world.wake(member);
    waiting.answers(WITHIN).await
}

fn plain(found: &Found) -> Answer {
    match found.read() {
        Ok(values) => Answer::Values(values),
        Err(why) => Answer::Failed(why),
    }
}

fn failed(why: &str, count: usize) -> Vec<Answer> {
    vec![Answer::Failed(why.to_owned()); count]
}
