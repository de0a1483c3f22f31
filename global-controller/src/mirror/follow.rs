//! Fills the mirror from the store and keeps it up to date.

use std::sync::Arc;
use std::time::Duration;

use federated_store::{Change as StoreChange, ReadError, WatchEvent};
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
        let mut loaded = match load(world).await {
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
    /// (last key, prefix, revision) of each page; that of a prefix's last page reaches to its end.
    pages: Vec<(Option<String>, &'static str, u64)>,
}

impl Loaded {
    /// Whether the page that this key is on shows the revision already.
    fn covers(&self, key: &str, revision: u64) -> bool {
        let page = self
            .pages
            .iter()
            .find(|(last, prefix, _)| key.starts_with(prefix) && last.as_deref().is_none_or(|last| key <= last));
        page.is_some_and(|(.., read_at)| revision <= *read_at)
    }
}

/// Decisions are left out: nobody needs them here, and they are large.
async fn load(world: &World) -> Result<Loaded, ReadError> {
    let mut loaded = Loaded { mirror: Mirror::default(), first_revision: 0, pages: Vec::new() };
    for prefix in keys::MIRRORED {
        let mut after: Option<String> = None;
        loop {
            let page = world.store.range(prefix, after.as_deref(), PAGE).await?;
            if loaded.pages.is_empty() {
                loaded.first_revision = page.revision;
            }
            after = page.items.last().map(|item| item.key.clone());
            loaded.pages.push((after.clone().filter(|_| page.more), prefix, page.revision));
            for item in page.items {
                let change = StoreChange { key: item.key, value: Some(item.value) };
                loaded.mirror.apply(&change, item.revision);
            }
            loaded.mirror.whole_from = page.revision;
            if !page.more {
                break;
            }
        }
    }
    loaded.mirror.revision = loaded.first_revision;
    Ok(loaded)
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
