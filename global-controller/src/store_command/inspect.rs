//! `store inspect`: a stopped replica's folder, or the replicas of a running store.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ArgGroup;
use federated_store::KeyValue;
use federated_store::backup::{self, Backup};
use federated_store::inspect::{self, Contents, Inspection, Span};
use serde::Serialize;

use super::output::{self, Output};
use super::{Connection, read_config};

/// Keys read at once.
const PAGE: usize = 10_000;

/// Arguments of `store inspect`.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("source").required(true).args(["folder", "config"])))]
#[command(group(ArgGroup::new("what").args(["keys", "get"])))]
pub struct Arguments {
    /// Folder of a replica that doesn't run. Nothing in it is changed.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Configuration of a running controller: all replicas that answer are shown.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Id of the replica whose certificate is used; wins over the file's.
    #[arg(long, conflicts_with = "folder")]
    id: Option<String>,
    /// Lists keys, all or those with a prefix, with revision and length of the value. Of a running store, the whole
    /// state is fetched for it.
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "")]
    keys: Option<String>,
    /// Prints the value of a key, byte for byte.
    #[arg(long, value_name = "KEY")]
    get: Option<String>,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { folder, config, id, keys, get, output } = arguments;
    let source = match (folder, config) {
        (Some(folder), _) => Source::Folder(folder),
        (None, Some(config)) => Source::Running(Connection::new(&read_config(&config, id.as_deref())?)?),
        (None, None) => bail!("either --folder or --config is needed"),
    };
    match (keys, get) {
        (None, None) => show(&source, output).await,
        (_, Some(key)) => {
            let contents = source.contents().await?;
            let found = contents.get(&key).with_context(|| format!("there is no key '{key}'"))?;
            output::write(&found.value)
        }
        (Some(prefix), None) => list(&source.contents().await?, &prefix, output),
    }
}

enum Source {
    Folder(PathBuf),
    Running(Connection),
}

impl Source {
    async fn contents(&self) -> Result<Backup> {
        let place = std::env::temp_dir();
        match self {
            Self::Folder(folder) => Ok(inspect::contents(folder, &place)?),
            Self::Running(connection) => fetch(connection, &place).await,
        }
    }
}

async fn fetch(connection: &Connection, place: &Path) -> Result<Backup> {
    let file = place.join(format!("store-contents-{}", std::process::id()));
    let Connection { client, cluster, urls } = connection;
    let fetched = backup::fetch(client, cluster, urls, &file).await;
    let contents = fetched.and_then(|_| Backup::read(&file));
    let _ = std::fs::remove_file(&file);
    Ok(contents?)
}

#[derive(Serialize)]
struct Shown {
    replicas: Vec<Inspection>,
    unreachable: Vec<String>,
}

async fn show(source: &Source, output: Output) -> Result<()> {
    let shown = match source {
        Source::Folder(folder) => {
            let found = inspect::folder(folder, &std::env::temp_dir())?;
            Shown { replicas: vec![found], unreachable: Vec::new() }
        }
        Source::Running(Connection { client, cluster, urls }) => {
            let (replicas, unreachable) = inspect::live(client, cluster, urls).await?;
            Shown { replicas, unreachable }
        }
    };
    output.print(&shown, |Shown { replicas, unreachable }| {
        let mut text = replicas.iter().map(describe).collect::<Vec<_>>().join("\n");
        for reason in unreachable {
            let _ = write!(text, "\nno answer   {reason}");
        }
        text
    })
}

fn describe(found: &Inspection) -> String {
    let Inspection { cluster, id, number, incarnation, formation, restored_from, .. } = found;
    let mut lines = vec![format!("replica     {id}, number {number}, incarnation {incarnation}, of cluster {cluster}")];
    lines.push(match (formation, restored_from) {
        (Some(members), _) => {
            let members: Vec<_> = members.iter().map(|(id, incarnation)| format!("{id} ({incarnation})")).collect();
            format!("formed      with {}", members.join(", "))
        }
        (None, Some(backup)) => format!("not formed  waits to begin from the backup {backup}"),
        (None, None) => "not formed  waits for the other replicas".to_owned(),
    });
    lines.extend(found.leader.as_ref().map(|leader| format!("leader      {leader}")));
    lines.extend(found.hard_state.map(|promises| {
        format!("promises    term {}, vote {}, commit index {}", promises.term, promises.vote, promises.commit)
    }));
    lines.extend(found.log.map(|log| format!("log         {}", span(&log))));
    lines.extend(found.state.as_ref().map(|state| format!("state       {}", contents(state))));
    for snapshot in &found.snapshots {
        let valid =
            snapshot.problem.as_ref().map_or_else(|| "valid".to_owned(), |problem| format!("DAMAGED: {problem}"));
        let held = snapshot.contents.as_ref().map(|held| format!(", {}", contents(held))).unwrap_or_default();
        lines.push(format!("snapshot    {}: {valid}{held}", snapshot.file));
    }
    lines.extend(found.problems.iter().map(|problem| format!("PROBLEM     {problem}")));
    lines.join("\n") + "\n"
}

fn span(Span { first, last, last_term, bytes }: &Span) -> String {
    let entries = if first > last { "empty".to_owned() } else { format!("{first} to {last}, {bytes} bytes") };
    format!("{entries}, ends at index {last} of term {last_term}")
}

fn contents(state: &Contents) -> String {
    let Contents { term, index, revision, epoch, keys } = state;
    format!("index {index} of term {term}, revision {revision}, epoch {epoch}, {keys} keys")
}

#[derive(Serialize)]
struct Listed {
    key: String,
    revision: u64,
    bytes: usize,
}

fn list(contents: &Backup, prefix: &str, output: Output) -> Result<()> {
    let mut keys: Vec<Listed> = Vec::new();
    loop {
        let (items, more) = contents.page(prefix, keys.last().map(|last| last.key.as_str()), PAGE);
        let listed =
            items.into_iter().map(|KeyValue { key, value, revision }| Listed { key, revision, bytes: value.len() });
        keys.extend(listed);
        if !more {
            break;
        }
    }
    output.print(&keys, |keys| {
        let lines = keys.iter().map(|Listed { key, revision, bytes }| format!("{revision:>12} {bytes:>9} {key}"));
        format!("    revision     bytes key\n{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_where_it_ends_also_when_it_is_empty() {
        let text = |first| span(&Span { first, last: 9, last_term: 4, bytes: 70 });
        assert_eq!(text(7), "7 to 9, 70 bytes, ends at index 9 of term 4");
        assert_eq!(text(10), "empty, ends at index 9 of term 4");
    }
}
