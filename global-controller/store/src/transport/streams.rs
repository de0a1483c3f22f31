//! The long-lived request that carries one replica's messages to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use store_node::{MAX_MESSAGE_BYTES, Message, PeerMessage, encode_message};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::admission::{self, Refusal};
use super::frames::{self, Frames};
use super::hello;
use super::links::weight;
use crate::config::ReplicaConfig;
use crate::handle::Shared;
use crate::inbox::Command;

/// Messages put into one chunk: they waited together, so they travel together.
const MESSAGES_PER_CHUNK: usize = 256;

/// Connects and sends until the connection ends; gives the queue back, and says why it ended.
pub(crate) async fn connect(
    shared: &Shared,
    peer: &ReplicaConfig,
    queue: Receiver<Message>,
    bytes: &Arc<AtomicUsize>,
) -> (Receiver<Message>, String) {
    if let Err(reason) = greet(shared, peer).await {
        return (queue, reason);
    }
    let Some(client) = &shared.config.config.client else { return (queue, "no client is configured".to_owned()) };
    // The body owns the queue while the request lives, and the lock comes free when the client drops the body.
    let queue = Arc::new(Mutex::new(queue));
    let Ok(guard) = Arc::clone(&queue).try_lock_owned() else { return unlock(queue, "locked".to_owned()).await };
    let body = reqwest::Body::wrap_stream(chunks(guard, Arc::clone(bytes)));
    let url = format!("{}/raft/stream", peer.url.trim_end_matches('/'));
    let request = admission::introduce(shared, client.post(url)).body(body);
    let reason = match request.send().await {
        Ok(answer) => {
            let status = answer.status();
            format!("it answered {status}: {}", answer.text().await.unwrap_or_default())
        }
        Err(error) => hello::describe(&error),
    };
    unlock(queue, reason).await
}

async fn unlock(queue: Arc<Mutex<Receiver<Message>>>, reason: String) -> (Receiver<Message>, String) {
    drop(queue.lock().await);
    match Arc::try_unwrap(queue) {
        Ok(queue) => (queue.into_inner(), reason),
        // The guard's own reference goes with its last use; a closed queue ends the link, which can't happen here.
        Err(_) => (tokio::sync::mpsc::channel(1).1, reason),
    }
}

/// Before any Raft byte: is it the replica we think, of the same store and the same incarnation?
async fn greet(shared: &Shared, peer: &ReplicaConfig) -> Result<(), String> {
    let hello = hello::ask(shared, peer).await.map_err(|error| {
        if matches!(error, hello::Error::Refused { status, .. } if status == StatusCode::GONE.as_u16()) {
            shared.note_removal(&peer.id);
        }
        hello::describe(&error)
    })?;
    let own = shared.identity().formation;
    if hello.formation.is_none() || hello.formation != own {
        return Err(format!("it belongs to another formation: {:?}, not {own:?}", hello.formation));
    }
    let known = shared.peer_by_id(&hello.id).map(|peer| peer.incarnation);
    if known != Some(hello.incarnation) {
        return Err(format!("it is incarnation {}, not {known:?}", hello.incarnation));
    }
    Ok(())
}

fn chunks(
    queue: OwnedMutexGuard<Receiver<Message>>,
    bytes: Arc<AtomicUsize>,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    futures::stream::unfold((queue, bytes), |(mut queue, bytes)| async move {
        let mut messages = Vec::new();
        if queue.recv_many(&mut messages, MESSAGES_PER_CHUNK).await == 0 {
            return None;
        }
        let mut chunk = Vec::new();
        for message in &messages {
            bytes.fetch_sub(weight(message), Ordering::Relaxed);
            match encode_message(message) {
                Ok(frame) => frames::push(&mut chunk, &frame),
                Err(error) => tracing::error!(%error, "a message can't be sent"),
            }
        }
        Some((Ok(Bytes::from(chunk)), (queue, bytes)))
    })
}

/// Takes a peer's messages until it ends the request.
pub(crate) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Result<StatusCode, Refusal> {
    let (parts, body) = request.into_parts();
    let from = admission::member(&shared, &parts)?;
    let to = shared.config.own.number;
    let mut roster = shared.roster.subscribe();
    let mut frames = Frames::new(MAX_MESSAGE_BYTES);
    let mut stream = body.into_data_stream();
    loop {
        let chunk = tokio::select! {
            () = shared.closed.cancelled() => return Ok(StatusCode::SERVICE_UNAVAILABLE),
            // One that was removed is no longer listened to; when it connects again it hears why.
            _ = roster.wait_for(|roster| roster.by_number(from).is_none()) => return Ok(StatusCode::GONE),
            chunk = stream.next() => chunk,
        };
        let Some(Ok(chunk)) = chunk else { return Ok(StatusCode::OK) };
        frames.feed(&chunk);
        let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
        while let Some(frame) = frames.next().map_err(|error| unfit(error.to_string()))? {
            let message = PeerMessage::decode(frame, from, to);
            let message = message.map_err(|error| unfit(hello::describe(&error)))?;
            // Without space for its entries a message is as good as lost: it would wait in memory for the log.
            if message.carries_entries() && shared.log_space.get().is_some_and(|space| space.exhausted()) {
                continue;
            }
            // A full inbox loses the message, which raft bears; the peer's retry is as good as a queue here.
            let _ = shared.inbox.try_send(Command::Message(message));
        }
    }
}
