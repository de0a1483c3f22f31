//! Kubernetes Events, for `kubectl describe`. They are a courtesy: the record is the decision in the store, so one
//! that the hub refuses again and again is dropped and logged. One that finds no hub waits: it may be the very one that
//! says that the hub was away.
//!
//! Each is an object of its own. The recorder of `kube` merges events of one reason into a series and keeps the first
//! message only, and here the message of each step is the story.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::notices::Notice;
use crate::records::RecordedEvent;
use crate::world::World;

/// Events of cluster-scoped objects lie in this namespace.
const NAMESPACE: &str = "default";
/// Deadline of one attempt.
const DEADLINE: Duration = Duration::from_secs(5);
/// Attempts at one event that the hub refuses.
const REFUSALS: u32 = 5;
/// How long an event waits for a hub that is away: the hub itself keeps one for an hour.
const WORTH_TELLING: Duration = Duration::from_hours(1);
/// Before the next attempt: first, and at most, so that the story appears soon after the hub is back.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Characters that the API allows a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Publishes what is queued until told to stop.
pub(crate) async fn run(
    world: Arc<World>,
    client: Client,
    mut notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) {
    let events: Api<Event> = Api::namespaced(client, NAMESPACE);
    loop {
        let notice = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            notice = notices.recv() => notice,
        };
        let Some(notice) = notice else { return };
        let event = object(&world.id, notice);
        // A hub that is away must not keep this replica from handing leadership over in time.
        tokio::select! {
            () = stop.cancelled() => return,
            () = publish(&events, &event) => {}
        }
    }
}

fn object(instance: &str, Notice { reference, event, at, number }: Notice) -> Event {
    let RecordedEvent { kind, reason, message } = event;
    let end = message.floor_char_boundary(MAX_NOTE_BYTES);
    let name = format!("{}.{:x}.{number:x}", reference.name.as_deref().unwrap_or_default(), at.as_microsecond());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() },
        action: Some(reason.clone()),
        event_time: Some(MicroTime(at)),
        note: message.get(..end).map(str::to_owned),
        reason: Some(reason),
        regarding: Some(reference),
        reporting_controller: Some(format!("{}/{}", crds::GROUP, crds::CONTROLLER_MANAGER)),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(kind),
        ..Event::default()
    }
}

async fn publish(events: &Api<Event>, event: &Event) {
    let parameters = PostParams::default();
    let (mut refusals, mut pause, began) = (0, PAUSES.0, Instant::now());
    loop {
        let create = events.create(&parameters, event);
        let (error, answered) = match tokio::time::timeout(DEADLINE, create).await {
            Ok(Ok(_)) => return,
            // An earlier attempt got through after all.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => return,
            Ok(Err(error)) => (error.to_string(), is_refusal(&error)),
            Err(_) => ("the hub did not answer in time".to_owned(), false),
        };
        refusals += u32::from(answered);
        if refusals >= REFUSALS || began.elapsed() > WORTH_TELLING {
            return tracing::warn!(reason = event.reason, error, "an event was not published");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether the hub is there and doesn't want it. One that is away, starting or busy takes it later.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_is_away_or_busy_refuses_nothing() {
        let answer = |code: u16| {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            kube::Error::Api(Box::new(status))
        };
        assert!([400, 403, 404, 422].into_iter().all(|code| is_refusal(&answer(code))));
        assert!([429, 500, 503].into_iter().all(|code| !is_refusal(&answer(code))));
    }
}
