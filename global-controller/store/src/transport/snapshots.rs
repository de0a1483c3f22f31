//! Snapshots for followers that are too far behind: the newest file, in bounded chunks, on a request of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use store_node::{SnapshotMessage, SnapshotOrder, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::admission::{self, Refusal};
use super::frames::{self, Frames};
use crate::disk::snapshot;
use crate::handle::Shared;
use crate::inbox::Command;

/// Read, sent and written at once.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// A snapshot of the largest store this design is for (50,000 members) stays far below.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// At 10 MB a second this is 3 GB; a follower that takes longer gets a newer snapshot.
const DEADLINE: Duration = Duration::from_mins(5);
/// Names and urls of all members, and a thousand names of replicas that were removed.
const MAX_ANNOUNCEMENT_BYTES: usize = 512 * 1024;

/// Why a snapshot didn't arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("replica {number} is not a known member")]
    Unknown { number: u64 },
    #[error("no snapshot at or after index {index}")]
    Missing { index: u64 },
    #[error("failed to read the snapshot")]
    Io(#[from] std::io::Error),
    #[error("failed to check the snapshot")]
    Snapshot(#[from] snapshot::Error),
    #[error("failed to check the snapshot")]
    Stopped(#[from] tokio::task::JoinError),
    #[error("failed to send the snapshot")]
    Http(#[from] reqwest::Error),
    #[error("the follower answered {status}: {reason}")]
    Refused { status: u16, reason: String },
}

/// Sends the newest snapshot.
pub(crate) async fn send(shared: &Shared, order: SnapshotOrder) -> Result<(), Error> {
    let number = order.to;
    let peer = shared.peer_by_number(number).zip(shared.config.config.client.as_ref());
    let (peer, client) = peer.ok_or(Error::Unknown { number })?;
    let index = order.meta.position.index;
    let newest = snapshot::list(&shared.layout.snapshots())?.into_iter().next();
    let newest = newest.filter(|file| file.position.index >= index).ok_or(Error::Missing { index })?;
    let path = newest.path.clone();
    // Damage is found here and not by the follower.
    let meta = tokio::task::spawn_blocking(move || snapshot::load(&path).map(|table| table.meta())).await??;
    let file = tokio::fs::File::open(&newest.path).await?;
    let mut announcement = Vec::new();
    frames::push(&mut announcement, &SnapshotMessage::encode(order.term, &meta));
    let contents = futures::stream::unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let first = futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(announcement)) });
    let url = format!("{}/raft/snapshot", peer.url.trim_end_matches('/'));
    let request = admission::introduce(shared, client.post(url)).timeout(DEADLINE);
    let answer = request.body(reqwest::Body::wrap_stream(first.chain(contents))).send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = answer.text().await.unwrap_or_default();
    Err(Error::Refused { status: status.as_u16(), reason })
}

/// Takes a snapshot from the leader, checks all of it, and hands it to the node.
pub(crate) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Result<StatusCode, Refusal> {
    let (parts, body) = request.into_parts();
    let from = admission::member(&shared, &parts)?;
    let Ok(_one_at_a_time) = shared.snapshot_reception.try_acquire() else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "another snapshot is being received"));
    };
    let file = shared.layout.snapshots().join(format!("received-{}.tmp", crate::unique::number()));
    let received = take(&shared, from, body, &file).await;
    let (message, table) = match received {
        Ok(received) => received,
        Err(refusal) => {
            let _ = tokio::fs::remove_file(&file).await;
            return Err(refusal);
        }
    };
    let (answer, settled) = oneshot::channel();
    let (message, table) = (Box::new(message), Box::new(table));
    let command = Command::SnapshotReceived { message, table, file: file.clone(), answer };
    if shared.inbox.try_send(command).is_err() {
        let _ = tokio::fs::remove_file(&file).await;
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the replica is overloaded or closed"));
    }
    settled.await.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the replica is closed"))?;
    Ok(StatusCode::OK)
}

async fn take(shared: &Shared, from: u64, body: Body, path: &Path) -> Result<(SnapshotMessage, Table), Refusal> {
    let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let failed = |error: std::io::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let mut frames = Frames::new(MAX_ANNOUNCEMENT_BYTES);
    let mut stream = body.into_data_stream();
    let announcement = loop {
        if let Some(frame) = frames.next().map_err(|error| unfit(error.to_string()))? {
            break frame;
        }
        match stream.next().await {
            Some(Ok(chunk)) => frames.feed(&chunk),
            _ => return Err(unfit("the snapshot ends before its announcement".to_owned())),
        }
    };
    let message = SnapshotMessage::decode(announcement, from, shared.config.own.number);
    let message = message.map_err(|error| unfit(super::hello::describe(&error)))?;
    let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
    let mut length: u64 = 0;
    let mut chunk = frames.rest();
    loop {
        length += chunk.len() as u64;
        if length > MAX_SNAPSHOT_BYTES {
            return Err(unfit(format!("the snapshot is longer than {MAX_SNAPSHOT_BYTES} bytes")));
        }
        file.write_all(&chunk).await.map_err(failed)?;
        match stream.next().await {
            Some(Ok(next)) => chunk = next,
            Some(Err(error)) => return Err(unfit(error.to_string())),
            None => break,
        }
    }
    file.sync_all().await.map_err(failed)?;
    let table = check(path.to_owned()).await?;
    if table.meta() != *message.meta() {
        return Err(unfit("the snapshot isn't the announced one".to_owned()));
    }
    Ok((message, table))
}

async fn check(path: PathBuf) -> Result<Table, Refusal> {
    let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let loaded = tokio::task::spawn_blocking(move || snapshot::load(&path)).await;
    let loaded = loaded.map_err(|error| unfit(error.to_string()))?;
    loaded.map_err(|error| unfit(error.to_string()))
}
