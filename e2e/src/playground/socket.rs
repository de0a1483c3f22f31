//! How `playground stop` and `start` talk to the running playground: one line of JSON each way on a Unix socket.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::Fleet;

const SOCKET: &str = "playground.sock";
/// Longest wait for an answer: starting a part has a deadline of three minutes of its own.
const ANSWER_DEADLINE: Duration = Duration::from_mins(4);
/// A request is a verb and a name.
const MAX_REQUEST_BYTES: u64 = 4 * 1024;
/// Requests that are served at the same time; further ones wait in the socket's backlog.
const MAX_REQUESTS: usize = 32;

/// What can be done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// End it.
    Stop,
    /// Bring it back.
    Start,
}

#[derive(Serialize, Deserialize)]
struct Request {
    action: Action,
    part: String,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
}

/// Asks the playground that runs in `dir`.
pub async fn ask(dir: &Path, action: Action, part: &str) -> Result<()> {
    let nobody = || format!("no playground runs in \"{}\"", dir.display());
    let (_open, path) = short_path(dir).with_context(nobody)?;
    let stream = UnixStream::connect(path).await.with_context(nobody)?;
    let mut stream = BufReader::new(stream);
    let request = Request { action, part: part.to_owned() };
    stream.write_all((serde_json::to_string(&request)? + "\n").as_bytes()).await?;
    let mut line = String::new();
    let read = tokio::time::timeout(ANSWER_DEADLINE, stream.read_line(&mut line)).await;
    read.context("the playground did not answer in time")??;
    match serde_json::from_str::<Answer>(&line).context("the playground ended without an answer")?.error {
        Some(error) => bail!("{error}"),
        None => Ok(()),
    }
}

/// Listens in the playground's folder until the task is aborted.
pub(super) fn serve(fleet: &Arc<Fleet>) -> Result<JoinHandle<()>> {
    let (_open, path) = short_path(fleet.folder.path())?;
    let listener = UnixListener::bind(path).context("failed to listen on the playground's socket")?;
    let fleet = Arc::downgrade(fleet);
    Ok(tokio::spawn(async move {
        let mut requests = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            while requests.len() >= MAX_REQUESTS {
                requests.join_next().await;
            }
            requests.spawn(answer(stream, Weak::clone(&fleet)));
        }
    }))
}

async fn answer(stream: UnixStream, fleet: Weak<Fleet>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST_BYTES));
    // Who hangs up needs no answer, before and after.
    let _ = reader.read_line(&mut line).await;
    let error = match (serde_json::from_str::<Request>(&line), fleet.upgrade()) {
        (Ok(Request { action, part }), Some(fleet)) => {
            fleet.act(action, &part).await.err().map(|error| format!("{error:#}"))
        }
        (Err(error), _) => Some(format!("not a request: {error}")),
        (_, None) => Some("the playground is stopping".to_owned()),
    };
    let text = serde_json::to_string(&Answer { error }).unwrap_or_default() + "\n";
    let _ = writer.write_all(text.as_bytes()).await;
}

/// A name of the socket that fits a socket address (108 bytes) however deep the folder lies: it goes through
/// the open folder, which the caller keeps open while using it.
fn short_path(dir: &Path) -> Result<(File, PathBuf)> {
    let open = File::open(dir).with_context(|| format!("failed to open \"{}\"", dir.display()))?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
    Ok((open, path.into()))
}
