//! Joining a store that exists: waiting until its members say that this replica belongs to it.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::disk::identity::Formation;
use crate::formation::{lost_folder, start_with};
use crate::handle::Shared;
use crate::inbox::Command;
use crate::roster::Roster;
use crate::transport::hello;

/// Between two rounds of questions: each is refused, and noted in the members' logs, until someone adds this replica.
const ROUND_PAUSE: Duration = Duration::from_secs(1);
/// Rounds between two lines in the log about what is missing: every ten seconds.
const ROUNDS_PER_LINE: u32 = 10;

enum Round {
    Member(Formation, Roster),
    Waiting(String),
}

/// Asks until a member knows this replica, and starts it then, from nothing.
pub(crate) async fn run(shared: Arc<Shared>, commands: Receiver<Command>) {
    let mut rounds: u32 = 0;
    let (formation, roster) = loop {
        match ask_all(&shared).await {
            Round::Member(formation, roster) => break (formation, roster),
            Round::Waiting(reason) => {
                if rounds.is_multiple_of(ROUNDS_PER_LINE) {
                    let own = &shared.config.own;
                    tracing::warn!(
                        reason,
                        "waiting to be added to the store; to add this replica run, with the configuration of a member \
                         of the store as FILE (its certificate is needed, this replica's is not let in): \
                         global-controller store members add --number {} --id {} --url {} --config FILE",
                        own.number,
                        own.id,
                        own.url
                    );
                }
            }
        }
        rounds = rounds.wrapping_add(1);
        tokio::select! {
            () = shared.closed.cancelled() => return,
            () = tokio::time::sleep(ROUND_PAUSE) => {}
        }
    };
    tracing::info!(members = ?roster.members, "this replica was added to the store");
    shared.learn(roster);
    start_with(shared, commands, move |shared| crate::open::join(shared, formation)).await;
}

async fn ask_all(shared: &Shared) -> Round {
    let identity = shared.identity();
    let mut reasons = Vec::new();
    for peer in shared.config.others() {
        match hello::ask(shared, peer).await {
            Ok(hello) => match (hello.formation, hello.roster) {
                (Some(formation), Some(roster)) if roster.has(&identity) => return Round::Member(formation, roster),
                (Some(formation), roster) => {
                    let lost = lost_folder(&identity, &peer.id, Some(&formation), roster.as_ref());
                    reasons.push(lost.unwrap_or_else(|| format!("{} doesn't know this replica yet", peer.id)));
                }
                (None, _) => reasons.push(format!("{} belongs to no store yet", peer.id)),
            },
            Err(error) => reasons.push(format!("{}: {}", peer.id, hello::describe(&error))),
        }
    }
    Round::Waiting(reasons.join("; "))
}
