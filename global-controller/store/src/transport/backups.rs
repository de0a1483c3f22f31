//! A backup for a tool: the state as of a confirmed read, streamed in bounded chunks.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::{self, Refusal};
use super::hello::describe;
use super::snapshots::CHUNK_BYTES;
use crate::disk::snapshot::{self, Origin};
use crate::handle::{READ_DEADLINE, Shared};

/// Chunks on their way: enough that writer and network work at the same time.
const CHUNKS: usize = 4;

/// Hands what is written to the body of an answer, and waits while that is full.
struct Chunks {
    waiting: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.waiting));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Answers [`crate::backup::fetch`].
pub(crate) async fn send(State(shared): State<Arc<Shared>>, request: Request) -> Result<Body, Refusal> {
    let (parts, _) = request.into_parts();
    admission::administrator(&shared, &parts)?;
    let unavailable = |reason: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    if shared.identity().formation.is_none() {
        return Err(unavailable("the store isn't formed yet".to_owned()));
    }
    shared.confirm(Instant::now() + READ_DEADLINE).await.map_err(|error| unavailable(error.to_string()))?;
    let (sender, mut receiver) = mpsc::channel(CHUNKS);
    // The copy of the table is of pointers, but old values live as long as it does: one at a time.
    let sending = Arc::clone(&shared);
    let Ok(permit) = Arc::clone(&shared.backups).try_acquire_owned() else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "another backup is being sent"));
    };
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let table = sending.table.read().clone();
        let origin = Origin {
            cluster: sending.config.config.cluster.clone(),
            replica: sending.config.own.id.clone(),
            taken_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        };
        let mut chunks = Chunks { waiting: Vec::with_capacity(CHUNK_BYTES), sender };
        let written = snapshot::write(&mut chunks, &table, Some(&origin)).and_then(|()| Ok(chunks.flush()?));
        if let Err(error) = written {
            tracing::warn!(error = describe(&error), "a backup was not sent to its end");
        }
    });
    Ok(Body::from_stream(futures::stream::poll_fn(move |context| receiver.poll_recv(context))))
}
