//! Forming a new store: it starts only when every initial replica answers that it is empty.
//!
//! Each replica made an incarnation when its folder was new. The first that hears from all others that they are
//! empty writes down all incarnations; the others adopt what it wrote. A replica whose folder was lost comes back with
//! another incarnation than the one written down, and stays out: it no longer knows how it voted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::disk::identity::{Formation, Restored};
use crate::handle::Shared;
use crate::inbox::Command;
use crate::transport::hello;

/// Between two rounds of questions: short, as a store that starts should lead soon, and cheap.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Rounds between two lines in the log about what is missing: every five seconds.
const ROUNDS_PER_LINE: u32 = 50;

enum Round {
    Formed(Formation),
    Waiting(String),
}

/// Asks until the store is formed, and starts the replica then.
pub(crate) async fn run(shared: Arc<Shared>, commands: Receiver<Command>) {
    let mut rounds: u32 = 0;
    let formation = loop {
        match ask_all(&shared).await {
            Round::Formed(formation) => break formation,
            Round::Waiting(reason) => {
                if rounds.is_multiple_of(ROUNDS_PER_LINE) {
                    tracing::warn!(reason, "the store isn't formed yet");
                }
            }
        }
        rounds = rounds.wrapping_add(1);
        tokio::select! {
            () = shared.closed.cancelled() => return,
            () = tokio::time::sleep(ROUND_PAUSE) => {}
        }
    };
    tracing::info!(members = ?formation.members, "the store is formed");
    let runtime = tokio::runtime::Handle::current();
    let started = tokio::task::spawn_blocking(move || {
        crate::open::form(&shared, formation)?;
        crate::open::start(&shared, commands, &runtime)
    });
    match started.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => crate::fatal::end("the replica can't start", &error),
        Err(error) => crate::fatal::end("the replica can't start", &error),
    }
}

async fn ask_all(shared: &Shared) -> Round {
    let identity = shared.identity();
    let mut members: BTreeMap<String, u64> = [(identity.id.clone(), identity.incarnation)].into();
    let mut restored = identity.restored.clone();
    let mut missing = Vec::new();
    for peer in shared.config.others() {
        match hello::ask(shared, peer).await {
            Ok(hello) => match hello.formation {
                None => match Restored::agree(restored.as_ref(), hello.restored.as_ref()) {
                    Ok(agreed) => {
                        restored = agreed;
                        members.insert(hello.id, hello.incarnation);
                    }
                    Err(reason) => missing.push(format!("{}: {reason}", peer.id)),
                },
                Some(formation) => return adopt(shared, &peer.id, formation),
            },
            Err(error) => missing.push(format!("{}: {}", peer.id, hello::describe(&error))),
        }
    }
    if missing.is_empty() { Round::Formed(Formation { members, restored }) } else { Round::Waiting(missing.join("; ")) }
}

fn adopt(shared: &Shared, from: &str, formation: Formation) -> Round {
    let identity = shared.identity();
    if let Some(own) = &identity.restored
        && formation.restored.as_ref().is_none_or(|theirs| theirs.checksum != own.checksum)
    {
        return Round::Waiting(format!(
            "this replica was restored from the backup {}, but {from} belongs to a store that was not: restore every \
             replica from the same file, or start this one as a new replica of that store",
            own.checksum
        ));
    }
    let mut ids = shared.config.ids();
    ids.sort();
    if !formation.members.keys().eq(ids.iter()) {
        return Round::Waiting(format!("{from} belongs to a store of {:?}, configured is {ids:?}", formation.members));
    }
    match formation.members.get(&identity.id) {
        Some(known) if *known == identity.incarnation => Round::Formed(formation),
        known => Round::Waiting(format!(
            "the folder is new (incarnation {}), but {from} knows this replica as incarnation {known:?}: its folder was \
             lost, and it may not vote under its old id; restore the folder or replace the replica under a new id",
            identity.incarnation
        )),
    }
}
