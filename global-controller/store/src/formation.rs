//! Forming a new store: it starts only when every initial replica answers that it is empty.
//!
//! Each replica made an incarnation when its folder was new. The first that hears from all others that they are
//! empty writes down all incarnations; the others adopt what it wrote. A replica whose folder was lost comes back with
//! another incarnation than the one written down, and stays out: it no longer knows how it voted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::config::OpenError;
use crate::disk::identity::{Formation, Identity, Restored};
use crate::handle::Shared;
use crate::inbox::Command;
use crate::roster::Roster;
use crate::transport::hello::{self, Hello};

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
    start_with(shared, commands, move |shared| crate::open::form(shared, formation)).await;
}

/// Starts the replica once `prepare` has written the beginning of its folder.
pub(crate) async fn start_with(
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    prepare: impl FnOnce(&Shared) -> Result<(), OpenError> + Send + 'static,
) {
    let runtime = tokio::runtime::Handle::current();
    // Who closes the store waits for this: afterwards nothing touches the folder any more.
    let _starting = shared.starting.lock().await;
    if shared.closed.is_cancelled() {
        return;
    }
    let starting = Arc::clone(&shared);
    let started = tokio::task::spawn_blocking(move || {
        prepare(&starting)?;
        crate::open::start(&starting, commands, &runtime)
    });
    match started.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if shared.closed.is_cancelled() => tracing::info!(%error, "closed while it was starting"),
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
                None => match begin_with(restored.as_ref(), &hello) {
                    Ok(agreed) => {
                        restored = agreed;
                        members.insert(hello.id, hello.incarnation);
                    }
                    Err(reason) => missing.push(format!("{}: {reason}", peer.id)),
                },
                Some(formation) => return adopt(shared, &peer.id, formation, hello.roster.as_ref()),
            },
            Err(error) => missing.push(format!("{}: {}", peer.id, hello::describe(&error))),
        }
    }
    if missing.is_empty() { Round::Formed(Formation { members, restored }) } else { Round::Waiting(missing.join("; ")) }
}

/// What this replica and one that belongs to no store yet would begin from together, or why they can't.
fn begin_with(own: Option<&Restored>, hello: &Hello) -> Result<Option<Restored>, String> {
    if hello.joins {
        return Err("it is configured to join a store, and forms none".to_owned());
    }
    Restored::agree(own, hello.restored.as_ref())
}

fn adopt(shared: &Shared, from: &str, formation: Formation, roster: Option<&Roster>) -> Round {
    let identity = shared.identity();
    if let Some(own) = &identity.restored
        && formation.restored.as_ref().is_none_or(|theirs| theirs.checksum != own.checksum)
    {
        return Round::Waiting(format!(
            "this replica was restored from the backup {}, but {from} belongs to a store that was not: restore every \
             replica from the same file, or start this one with an empty folder as a new replica of that store",
            own.checksum
        ));
    }
    if let Some(lost) = lost_folder(&identity, from, Some(&formation), roster) {
        return Round::Waiting(lost);
    }
    let mut ids = shared.config.ids();
    ids.sort();
    if !formation.members.keys().eq(ids.iter()) {
        return Round::Waiting(format!(
            "{from} belongs to a store that was formed of {:?}, configured is {ids:?}; to join that store, configure \
             this replica to join and add it",
            formation.members
        ));
    }
    Round::Formed(formation)
}

/// What to say when `from` knows a replica of this name or number that remembers something else.
pub(crate) fn lost_folder(
    identity: &Identity,
    from: &str,
    formation: Option<&Formation>,
    roster: Option<&Roster>,
) -> Option<String> {
    let member = roster.and_then(|roster| roster.members.iter().find(|peer| peer.id == identity.id));
    let formed = formation.and_then(|formation| formation.members.get(&identity.id)).copied();
    let known = member.map(|peer| peer.incarnation).or(formed)?;
    if known == identity.incarnation {
        return None;
    }
    let id = &identity.id;
    Some(format!(
        "the folder is new (incarnation {}), but {from} knows '{id}' as incarnation {known}: its folder was lost, and it \
         may not vote under its old id. Restore the folder; or re-join under a new id: run 'global-controller store \
         members remove --id {id} --config FILE', then give this replica an id and number that were never used, an \
         empty folder and 'join: true', start it, and run 'global-controller store members add --number NUMBER --id ID \
         --url URL --config FILE' with them. FILE is the configuration of a member of the store in both: its \
         certificate is needed, this replica's is not let in",
        identity.incarnation
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use store_node::Role;

    use super::*;
    use crate::disk::Layout;
    use crate::roster::Peer;

    fn identity(folder: &tempfile::TempDir) -> Identity {
        Identity::open(&Layout::new(folder.path()).unwrap(), "test", "controller-2", 2).unwrap()
    }

    fn roster(incarnation: u64) -> Roster {
        let (id, url) = ("controller-2".to_owned(), "https://there".to_owned());
        let members = vec![Peer { number: 2, id, url, incarnation, role: Role::Voter }];
        Roster { index: 7, members, ..Roster::default() }
    }

    #[test]
    fn a_replica_whose_folder_was_lost_says_what_it_found_and_how_to_join_again() {
        let folder = tempfile::tempdir().unwrap();
        let identity = identity(&folder);
        let formation = Formation { members: [("controller-2".to_owned(), 5)].into(), restored: None };
        for (formation, roster) in [(Some(&formation), None), (None, Some(&roster(5)))] {
            let said = lost_folder(&identity, "controller-1", formation, roster).unwrap();
            for words in [
                "controller-1 knows 'controller-2' as incarnation 5",
                "may not vote under its old id",
                "store members remove --id controller-2",
                "'join: true'",
                "store members add --number NUMBER --id ID --url URL --config FILE",
                "configuration of a member",
            ] {
                assert!(said.contains(words), "no '{words}' in: {said}");
            }
        }
    }

    #[test]
    fn no_store_is_formed_with_a_replica_that_is_configured_to_join() {
        let hello = |joins| Hello {
            cluster: "test".to_owned(),
            id: "controller-2".to_owned(),
            incarnation: 5,
            formation: None,
            number: 2,
            joins,
            roster: None,
            restored: None,
        };
        assert_eq!(begin_with(None, &hello(false)), Ok(None));
        let reason = begin_with(None, &hello(true)).unwrap_err();
        assert!(reason.contains("is configured to join"), "{reason}");
    }

    #[test]
    fn a_replica_that_is_known_as_it_is_or_not_at_all_lost_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let identity = identity(&folder);
        let same = roster(identity.incarnation);
        assert_eq!(lost_folder(&identity, "controller-1", None, Some(&same)), None);
        assert_eq!(lost_folder(&identity, "controller-1", None, Some(&Roster::default())), None);
        // It was formed with another replica of this name, which has been replaced by this one since.
        let formation = Formation { members: [("controller-2".to_owned(), 5)].into(), restored: None };
        assert_eq!(lost_folder(&identity, "controller-1", Some(&formation), Some(&same)), None);
    }
}
