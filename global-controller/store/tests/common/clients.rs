//! Clients that write through every replica for as long as they may, and enter each answer into the account.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Fate, Written};
use super::fleet::{Fleet, Replica};
use super::protocol::{Answer, Ask, Expected};

/// Between two writes of a client: with some twenty clients that is more than kills leave time for, and the keys of a
/// run of minutes still fit into memory.
const PACE: Duration = Duration::from_millis(15);
/// Counters that all counting clients share: few, so that they often meet.
const COUNTERS: usize = 2;

pub struct Clients {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Clients {
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
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    for (place, replica) in fleet.replicas.iter().enumerate() {
        for number in 0..writers + counters {
            let (replica, account, stop) = (Arc::clone(replica), Arc::clone(account), stop.clone());
            let name = format!("{place}-{number}");
            tasks.spawn(async move {
                for n in 0_u64.. {
                    tokio::time::sleep(PACE).await;
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
    Clients { tasks, stop }
}

async fn put(replica: &Replica, account: &Account, key: String) {
    let value = format!("value of {key}");
    let ask = Ask::Txn { fence: None, when: vec![], then: vec![(key.clone(), value.clone())] };
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
