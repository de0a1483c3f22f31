//! Fills the mirror from the store and keeps it up to date.

use std::sync::Arc;
use std::time::Duration;

use federated_store::{Change as StoreChange, ReadError, Store, WatchEvent};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Mirror;
use crate::bus::Change;
use crate::keys;
use crate::world::World;

/// Keys of one page.
const PAGE: usize = 1_000;
/// Before reading again when no leader confirmed a read.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Follows the store until told to stop or the store is closed.
pub(crate) async fn run(world: Arc<World>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow(&world) => {}
    }
}

async fn follow(world: &World) {
    loop {
        let mut loaded = match load(&world.store).await {
            Ok(loaded) => loaded,
            Err(ReadError::Closed) => return,
            Err(ReadError::Unavailable) => {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        world.replace_mirror(std::mem::take(&mut loaded.mirror));
        world.bus.send(Change::Everything);
        if !watch(world, &loaded).await {
            return;
        }
        tracing::warn!("the mirror fell behind the store's history; reading everything again");
    }
}

/// What was read, page by page. Pages together are no snapshot: each key is as of its own page's revision.
struct Loaded {
    mirror: Mirror,
    first_revision: u64,
    /// (last key, revision) of each page; the last page's reaches to the end.
    pages: Vec<(Option<String>, u64)>,
}

impl Loaded {
    /// Whether the page that this key is on shows the revision already.
    fn covers(&self, key: &str, revision: u64) -> bool {
        let page = self.pages.iter().find(|(last, _)| last.as_deref().is_none_or(|last| key <= last));
        page.is_some_and(|(_, read_at)| revision <= *read_at)
    }
}

/// Everything but the decisions: nobody needs them here, and they are large. What is on the page where they begin is read
/// and let go.
async fn load(store: &Store) -> Result<Loaded, ReadError> {
    let mut loaded = Loaded { mirror: Mirror::default(), first_revision: 0, pages: Vec::new() };
    let mut after: Option<String> = None;
    loop {
        let page = store.range("", after.as_deref(), PAGE).await?;
        if loaded.pages.is_empty() {
            loaded.first_revision = page.revision;
        }
        after = page.items.last().map(|item| keys::past_decisions(item.key.clone()));
        loaded.pages.push((after.clone().filter(|_| page.more), page.revision));
        for item in page.items {
            let change = StoreChange { key: item.key, value: Some(item.value) };
            loaded.mirror.apply(&change, item.revision);
        }
        loaded.mirror.whole_from = page.revision;
        if !page.more {
            loaded.mirror.revision = loaded.first_revision;
            return Ok(loaded);
        }
    }
}

/// Applies what happens. True: history was missed; false: the store was closed.
async fn watch(world: &World, loaded: &Loaded) -> bool {
    let mut events = world.store.watch("", loaded.first_revision);
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Changes { revision, changes } => {
                let fresh: Vec<_> = changes.into_iter().filter(|one| !loaded.covers(&one.key, revision)).collect();
                world.apply_to_mirror(&fresh, revision);
            }
            WatchEvent::Progress { revision } => world.apply_to_mirror(&[], revision),
            WatchEvent::Resync { .. } => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use federated_store::Op;
    use rollout_core::HeardAlert;
    use serde_json::json;

    use super::*;
    use crate::mirror;
    use crate::store::fixtures::leading;

    /// One that starts late sees what was written before: an order that a member uploaded, and an alert, as well as what
    /// decisions, of which there is more than a page, come between.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_there_before_is_read_whole_but_for_decisions() {
        let folder = tempfile::tempdir().unwrap();
        let store = leading(folder.path()).await;
        let alert = HeardAlert {
            labels: [("alertname".to_owned(), "a".to_owned())].into(),
            starts_at: 1,
            ended_at: None,
            heard_at: 1,
        };
        let fence = json!({"epoch": 6, "generation": 1});
        let order = mirror::assignment(
            "r",
            serde_json::from_value(json!({
                "member": "m",
                "rollout": {"name": "r", "uid": "u", "run": 1},
                "intent": "Observe",
                "fence": fence,
                "revision": "abc",
                "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {}},
                "deadlineSeconds": 600,
            }))
            .unwrap(),
        );
        let mut puts = vec![
            (keys::alert("7a"), json!(alert)),
            (keys::EPOCH.to_owned(), json!(7)),
            (keys::uploaded("m"), json!(7)),
            (keys::upload("m", "r"), json!(order)),
        ];
        puts.extend((0..2_500).map(|number| (keys::decision("u", number), json!({}))));
        for some in puts.chunks(100) {
            let put = |(key, value): &(String, serde_json::Value)| Op::Put {
                key: key.clone(),
                value: value.to_string().into(),
            };
            store.txn(None, Vec::new(), some.iter().map(put).collect()).await.unwrap();
        }
        let loaded = load(&store).await.unwrap();
        assert_eq!(loaded.pages.len(), 2, "the decisions are skipped, not only left out");
        let mirror = loaded.mirror;
        assert_eq!(mirror.alerts().keys().collect::<Vec<_>>(), ["7a"]);
        assert!(mirror.uploads("u").is_some_and(|orders| orders.contains_key("m")));
        store.close().await;
    }
}
