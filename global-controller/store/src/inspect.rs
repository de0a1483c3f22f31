//! Looking at a replica: what its folder holds, and what is damaged there, by name.
//!
//! [`folder`] reads the folder of a replica that doesn't run, and changes nothing in it. [`live`] asks running
//! replicas; those don't open their own log a second time, so term, vote and log are only shown of a stopped one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store_node::{HardState, Position, Table};

use crate::backup::{self, Backup, Entries};
use crate::disk::identity::Identity;
use crate::disk::recover::{self, Start};
use crate::disk::repair::Note;
use crate::disk::scratch::Scratch;
use crate::disk::{Layout, snapshot};
use crate::transport::admission::CLUSTER;
use crate::transport::hello::{bounded, describe};

/// A running replica reads its snapshot files before it answers.
const DEADLINE: Duration = Duration::from_mins(1);
/// Names, numbers and two snapshots.
const MAX_BYTES: usize = 1024 * 1024;

/// What is known of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Name of the store.
    pub cluster: String,
    /// The replica's id.
    pub id: String,
    /// Its Raft id.
    pub number: u64,
    /// The number that its folder got when it was new.
    pub incarnation: u64,
    /// Incarnations by id with which the store was formed; absent before.
    pub formation: Option<BTreeMap<String, u64>>,
    /// Checksum of the backup from which this replica waits to begin.
    pub restored_from: Option<String>,
    /// Id of the leader; only of a running replica.
    pub leader: Option<String>,
    /// What its log promises; only of a stopped replica.
    pub hard_state: Option<Promises>,
    /// The log's entries after the newest snapshot; only of a stopped replica.
    pub log: Option<Span>,
    /// The state: of a stopped replica up to its commit index, of a running one what it has applied.
    pub state: Option<Contents>,
    /// Its snapshot files, newest first.
    pub snapshots: Vec<SnapshotReport>,
    /// What is damaged or missing.
    pub problems: Vec<String>,
}

/// Term, vote and commit index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promises {
    /// The term.
    pub term: u64,
    /// Raft id of the replica that got the vote, 0 for none.
    pub vote: u64,
    /// Entries up to this one are known to be committed.
    pub commit: u64,
}

/// A run of entries. Where it ends decides who may lead, and which of several folders holds the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Index of the first; one above `last` when there is none.
    pub first: u64,
    /// Index of the last; the snapshot's when there is none.
    pub last: u64,
    /// Term of the last; the snapshot's when there is none.
    pub last_term: u64,
    /// Bytes of their data.
    pub bytes: u64,
}

/// A state, without its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Term of the last entry that it covers.
    pub term: u64,
    /// Index of the last entry that it covers.
    pub index: u64,
    /// Revision of the last change.
    pub revision: u64,
    /// The store's epoch.
    pub epoch: u64,
    /// How many keys exist.
    pub keys: usize,
}

impl Contents {
    fn of(table: &Table) -> Self {
        let Position { term, index } = table.meta().position;
        Self { term, index, revision: table.revision(), epoch: table.epoch(), keys: table.len() }
    }
}

/// A snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// Its name.
    pub file: String,
    /// What it holds; absent when it is damaged.
    pub contents: Option<Contents>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be read at all.
    #[error("failed to read the folder")]
    Backup(#[from] backup::Error),
    /// No replica answered.
    #[error("no replica answered: {reasons}")]
    Unreachable {
        /// What happened with each url.
        reasons: String,
    },
}

/// Looks at the folder of a stopped replica; its log is copied to `place` meanwhile.
pub fn folder(folder: &Path, place: &Path) -> Result<Inspection, Error> {
    let layout = Layout::at(folder);
    let identity = Identity::peek(&layout);
    let identity = identity.map_err(|source| backup::Error::Identity { path: folder.to_owned(), source })?;
    let mut found = of_identity(identity);
    (found.snapshots, found.problems) = snapshots(&layout);
    found.problems.extend(loss(&layout));
    if found.formation.is_none() {
        if found.restored_from.is_some()
            && let Err(error) = Backup::read(&layout.restored())
        {
            found.problems.push(describe(&error));
        }
        return Ok(found);
    }
    let recovered = Scratch::of(folder, place).map_err(|error| describe(&error)).and_then(|scratch| {
        recover::recover(scratch.layout(), &recover::Options::of_copy()).map_err(|error| describe(&error))
    });
    match recovered {
        Ok(start) => of_start(start, &mut found),
        Err(problem) => found.problems.push(problem),
    }
    Ok(found)
}

fn of_start(start: Start, found: &mut Inspection) {
    let HardState { term, vote, commit, .. } = start.hard_state;
    found.hard_state = Some(Promises { term, vote, commit });
    let before = start.snapshot.position;
    let last = start.entries.last().map_or(before, |entry| Position { term: entry.term, index: entry.index });
    found.log = Some(Span {
        first: before.index + 1,
        last: last.index,
        last_term: last.term,
        bytes: start.entries.iter().map(|entry| entry.data.len() as u64).sum(),
    });
    match backup::replayed(start, Entries::Committed) {
        Ok(table) => found.state = of_table(&table),
        Err(error) => found.problems.push(describe(&error)),
    }
}

/// What an identity says.
pub(crate) fn of_identity(identity: Identity) -> Inspection {
    Inspection {
        cluster: identity.cluster,
        id: identity.id,
        number: identity.number,
        incarnation: identity.incarnation,
        formation: identity.formation.map(|formation| formation.members),
        restored_from: identity.restored.map(|restored| restored.checksum),
        ..Inspection::default()
    }
}

/// Reads every snapshot file, and says what is wrong.
pub(crate) fn snapshots(layout: &Layout) -> (Vec<SnapshotReport>, Vec<String>) {
    let files = match snapshot::list(&layout.snapshots()) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![format!("the snapshots can't be listed: {error}")]),
    };
    let (mut reports, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.path.file_name().unwrap_or_default().display().to_string();
        let (contents, problem) = match snapshot::load(&file.path) {
            Ok(table) if table.meta().position == file.position => (Some(Contents::of(&table)), None),
            Ok(table) => (Some(Contents::of(&table)), Some("its name and its header differ".to_owned())),
            Err(error) => (None, Some(describe(&error))),
        };
        problems.extend(problem.as_ref().map(|problem| format!("snapshot '{name}': {problem}")));
        reports.push(SnapshotReport { file: name, contents, problem });
    }
    (reports, problems)
}

/// What a replica in repair lost, as a problem.
pub(crate) fn loss(layout: &Layout) -> Option<String> {
    match Note::read(layout) {
        Ok(note) => note.map(|note| {
            let Position { term, index } = note.last();
            format!("in repair: {}; lost up to index {index} of term {term}", note.problem)
        }),
        Err(error) => Some(format!("the note of a repair can't be read: {error}")),
    }
}

/// What a replica holds; nothing when it joined and got no snapshot yet.
pub(crate) fn of_table(table: &Table) -> Option<Contents> {
    (table.meta().position.index > 0).then(|| Contents::of(table))
}

/// The state of a stopped replica up to its commit index, as a backup that lies nowhere.
pub fn contents(folder: &Path, place: &Path) -> Result<Backup, Error> {
    let (identity, table) = backup::state_of(folder, Entries::Committed, place)?;
    Ok(Backup::of_state(folder, identity.cluster, identity.id, table))
}

/// Asks the replica at each of `urls`; those that don't answer are named. `client` presents the certificate of a
/// replica.
pub async fn live(
    client: &reqwest::Client,
    cluster: &str,
    urls: &[String],
) -> Result<(Vec<Inspection>, Vec<String>), Error> {
    let asked = futures::future::join_all(
        urls.iter()
            .map(|url| async move { ask(client, cluster, url).await.map_err(|reason| format!("{url}: {reason}")) }),
    );
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for answer in asked.await {
        match answer {
            Ok(inspection) => found.push(inspection),
            Err(reason) => silent.push(reason),
        }
    }
    if found.is_empty() { Err(Error::Unreachable { reasons: silent.join("; ") }) } else { Ok((found, silent)) }
}

async fn ask(client: &reqwest::Client, cluster: &str, url: &str) -> Result<Inspection, String> {
    let request = client.post(format!("{}/raft/inspect", url.trim_end_matches('/'))).header(CLUSTER, cluster);
    let answer = request.timeout(DEADLINE).send().await.map_err(|error| describe(&error))?;
    let status = answer.status();
    let bytes = bounded(answer, MAX_BYTES).await.map_err(|error| describe(&error))?;
    let bytes = bytes.ok_or_else(|| format!("the answer is longer than {MAX_BYTES} bytes"))?;
    if !status.is_success() {
        return Err(format!("it answered {status}: {}", String::from_utf8_lossy(&bytes)));
    }
    serde_json::from_slice(&bytes).map_err(|error| describe(&error))
}

#[cfg(test)]
#[path = "inspect_test.rs"]
mod tests;
