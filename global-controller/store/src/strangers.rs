//! Looking for a newer membership when someone turns up who isn't in the one known here.
//!
//! A replica that lags doesn't know who joined after its last entry, and can't catch up without letting them in. It
//! asks the members that it knows, and those that its configuration names; it never takes a stranger's own word.

use std::sync::Arc;
use std::time::Duration;

use crate::handle::Shared;
use crate::transport::hello;

/// Between two rounds, so that a stranger who keeps knocking costs one round a second.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// Asks whenever a stranger was refused, until the store is closed.
pub(crate) async fn look_for_newer_membership(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.closed.cancelled() => return,
            () = shared.strangers.notified() => {}
        }
        ask_all(&shared).await;
        tokio::select! {
            () = shared.closed.cancelled() => return,
            () = tokio::time::sleep(ROUND_PAUSE) => {}
        }
    }
}

async fn ask_all(shared: &Shared) {
    let identity = shared.identity();
    for peer in shared.peers_to_ask() {
        let Ok(hello) = hello::ask(shared, &peer).await else { continue };
        let Some(roster) = hello.roster.filter(|_| hello.formation == identity.formation) else { continue };
        let known = shared.roster.borrow().by_id(&hello.id).map(|peer| peer.incarnation);
        // One that knows exactly this replica tells the truth as well as one that is known here.
        if known == Some(hello.incarnation) || roster.has(&identity) {
            shared.learn(roster);
        }
    }
}
