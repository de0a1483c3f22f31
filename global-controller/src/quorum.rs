//! Whether this replica is cut off from the others.
//!
//! One that is must send its agents away: its picture of the store stands still, and it can't bring their heartbeats
//! to the leader, which would call them silent although they speak.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::world::World;

/// An election takes less than half a second; several failed ones in a row fit.
const CUT_OFF_AFTER: Duration = Duration::from_secs(3);

/// Judges until told to stop or the store is closed.
pub(crate) async fn run(world: Arc<World>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch(&world) => {}
    }
}

async fn watch(world: &World) {
    let mut leadership = world.store.leadership();
    loop {
        if leadership.wait_for(|view| view.leader.is_none()).await.is_err() {
            return;
        }
        let found = leadership.wait_for(|view| view.leader.is_some());
        if tokio::time::timeout(CUT_OFF_AFTER, found).await.is_ok() {
            continue;
        }
        tracing::warn!("no leader for {} s: agents are sent to other replicas", CUT_OFF_AFTER.as_secs());
        world.cut_off.send_replace(true);
        if leadership.wait_for(|view| view.leader.is_some()).await.is_err() {
            return;
        }
        world.cut_off.send_replace(false);
    }
}
