//! Whether this machine's clock agrees with those of the other replicas. One that is off must not lead: pauses and deadlines
//! are decided by the leader's clock (SEMANTICS 39).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rollout_core::Millis;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::world::World;
use crate::{clock, fault};

/// Short against all that is decided by the clock, long against the cost of a request.
const EVERY: Duration = Duration::from_secs(2);
/// An answer that took longer says too little: it was made at an unknown moment in between.
const DEADLINE: Duration = Duration::from_millis(500);
/// How far this clock may be off.
const MOST_MILLIS: Millis = 1_000;

/// Answer of `GET /v1/time`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Time {
    /// Milliseconds since the Unix epoch.
    pub unix_millis: Millis,
}

/// Compares until told to stop.
pub(crate) async fn run(world: Arc<World>, client: reqwest::Client, stop: CancellationToken) {
    loop {
        clock::set_skew(fault::clock_skew(&world.id));
        compare(&world, &client).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn compare(world: &World, client: &reqwest::Client) {
    let Some(store) = world.store.embedded() else { return };
    let others = store.others();
    let answers = join_all(others.iter().map(|url| offset(client, url))).await;
    let offsets: Vec<Millis> = answers.into_iter().flatten().collect();
    // Of too few answers nothing is concluded.
    let Some(off) = median(&offsets, others.len()) else { return };
    world.metrics.clock_offset_millis.set(off);
    let is_off = off.abs() > MOST_MILLIS;
    let changed = world.clock_off.send_if_modified(|known| std::mem::replace(known, is_off) != is_off);
    if !changed {
        return;
    }
    if is_off {
        tracing::error!(
            off_millis = off,
            "the clock is off those of the other replicas: this one doesn't lead until it is right"
        );
    } else {
        tracing::info!(off_millis = off, "the clock agrees with those of the other replicas again");
    }
    store.stand(!is_off).await;
}

/// By how much another replica's clock is ahead of this one.
async fn offset(client: &reqwest::Client, url: &str) -> Option<Millis> {
    let asked_at = clock::now_millis();
    let answer = client.get(format!("{}/v1/time", url.trim_end_matches('/'))).timeout(DEADLINE).send().await.ok()?;
    let Time { unix_millis } = answer.error_for_status().ok()?.json().await.ok()?;
    let answered_at = clock::now_millis();
    // Half of the way each; a clock that was set in between gives another result in 2 s.
    Some(unix_millis - i64::midpoint(asked_at, answered_at))
}

/// The median of all clocks as seen from this one, itself included; none when less than a majority of the replicas is seen. Of
/// two in the middle the nearer: with two replicas nobody can tell which one is off.
fn median(offsets: &[Millis], others: usize) -> Option<Millis> {
    let mut seen: Vec<Millis> = offsets.iter().copied().chain([0]).collect();
    if 2 * seen.len() <= others + 1 {
        return None;
    }
    seen.sort_unstable();
    let upper = seen.len() / 2;
    let lower = (seen.len() - 1) / 2;
    [seen[lower], seen[upper]].into_iter().min_by_key(|off| off.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_39_a_clock_is_off_when_it_is_off_the_median_of_all() {
        assert_eq!(median(&[], 0), Some(0), "alone it is right");
        assert_eq!(median(&[5_000, 4_900], 2), Some(4_900), "this one is late");
        assert_eq!(median(&[-5_000, 20], 2), Some(0), "another one is off");
        assert_eq!(median(&[-5_000, 5_000], 2), Some(0));
        assert_eq!(median(&[3_000, 3_100, 2_900, 10], 4), Some(2_900));
    }

    #[test]
    fn of_less_than_a_majority_nothing_is_concluded_and_two_are_never_off() {
        assert_eq!(median(&[], 2), None);
        assert_eq!(median(&[5_000], 4), None);
        assert_eq!(median(&[5_000], 2), Some(0));
        assert_eq!(median(&[5_000], 1), Some(0));
    }
}
