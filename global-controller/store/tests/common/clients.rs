//! Clients that write through every replica for as long as they may, and enter each answer into the account.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Fate, Written};
use super::fleet::{Fleet, Replica};
use super::protocol::{Answer, Ask, Expected};

/// Between two writes of a client that doesn't hurry: the keys of a run of minutes still make small snapshots.
const PACE: Duration = Duration::from_millis(40);
/// Counters that all counting clients share: few, so that they often meet.
const COUNTERS: usize = 2;

pub struct Clients {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    hurry: watch::Sender<bool>,
}

impl Clients {
    /// Lets clients write without pause, so that much is under way: a kill then hits writes at every stage.
    pub fn hurry(&self, hurry: bool) {
        self.hurry.send_replace(hurry);
    }

    /// Lets every client finish what it asked.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Starts so many clients of either kind at each replica.
pub fn start(fleet: &Fleet, account: &Arc<Account>, writers: usize, counters: usize) -> Clients {
    let (mut tasks, stop, hurry) = (JoinSet::new(), CancellationToken::new(), watch::Sender::new(false));
    for (place, replica) in fleet.replicas.iter().enumerate() {
        for number in 0..writers + counters {
            let (replica, account, stop) = (Arc::clone(replica), Arc::clone(account), stop.clone());
            let mut hurry = hurry.subscribe();
            let name = format!("{place}-{number}");
            tasks.spawn(async move {
                for n in 0_u64.. {
                    let _ = tokio::time::timeout(PACE, hurry.wait_for(|hurry| *hurry)).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    if number < writers {
                        put(&replica, &account, format!("own/{name}/{n:09}")).await;
                    } else {
                        count(&replica, &account, number % COUNTERS, format!("{name}-{n}")).await;
                    }
                }
            });
        }
    }
    Clients { tasks, stop, hurry }
}

async fn put(replica: &Replica, account: &Account, key: String) {
    let value = format!("value of {key}");
    // Were it applied twice, the second time would be a conflict, and the account has a denied write that is there.
    let when = vec![Expected { key: key.clone(), revision: None }];
    let ask = Ask::Txn { fence: None, when, then: vec![(key.clone(), value.clone())] };
    if let Some(fate) = fate(replica, &ask).await {
        account.enter(Written { key, value, fate });
    }
}

/// Counts one up if nobody else did since it was read, and leaves a link.
async fn count(replica: &Replica, account: &Account, counter: usize, token: String) {
    let key = format!("counter/{counter}");
    let Answer::Item(found) = replica.ask(Ask::Get { key: key.clone() }).await else { return };
    let revision = found.as_ref().map(|item| item.revision);
    let value = found.map_or_else(|| "0 ".to_owned(), |item| item.value);
    let (before, predecessor) = value.split_once(' ').unwrap();
    let count = before.parse::<u64>().unwrap() + 1;
    let link = format!("link/{counter}/{count:012}/{token}");
    let then = vec![(key.clone(), format!("{count} {token}")), (link.clone(), predecessor.to_owned())];
    let ask = Ask::Txn { fence: None, when: vec![Expected { key, revision }], then };
    if let Some(fate) = fate(replica, &ask).await {
        account.enter(Written { key: link, value: predecessor.to_owned(), fate });
    }
}

/// What became of a write; `None` when nobody was asked.
async fn fate(replica: &Replica, ask: &Ask) -> Option<Fate> {
    let answered = replica.send(ask)?;
    // A process that ends without an answer may have done it.
    let fate = match answered.await.unwrap_or(Answer::Unknown { reason: "the replica ended".to_owned() }) {
        Answer::Committed { revision } => Fate::Acknowledged { revision },
        Answer::Conflict | Answer::NotApplied { .. } => Fate::Denied,
        Answer::Unknown { .. } => Fate::Unknown,
        other => panic!("an odd answer: {other:?}"),
    };
    Some(fate)
}
