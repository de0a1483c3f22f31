//! One interface over the three ways to a store: the in-process handle, a network client of ours, and etcd's client.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use etcd_client::{GetOptions, TxnOp, WatchOptions};
use federated_store::{Op, Store, TxnOutcome, WatchEvent};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::remote::Remote;

/// A way to a store; clones share a connection.
#[derive(Clone)]
pub enum Handle {
    /// This process's own replica.
    Store(Store),
    /// Over the network to a replica of ours.
    Remote(Remote),
    /// Over the network to etcd.
    Etcd(Arc<etcd_client::Client>),
}

impl Handle {
    /// Puts one key; the answer is in the log of a majority.
    pub async fn put(&self, key: String, value: Bytes) -> Result<()> {
        self.put_all(vec![(key, value)]).await
    }

    /// Puts several keys in one transaction.
    pub async fn put_all(&self, items: Vec<(String, Bytes)>) -> Result<()> {
        match self {
            Self::Store(store) => committed(&store.txn(None, Vec::new(), ours(items)).await?),
            Self::Remote(remote) => committed(&remote.txn(ours(items)).await?),
            Self::Etcd(client) => {
                let mut client = client.kv_client();
                if let [(key, value)] = items.as_slice() {
                    // As its users would: a put is cheaper there than a transaction.
                    client.put(key.as_str(), value.as_ref(), None).await?;
                    return Ok(());
                }
                let puts: Vec<_> =
                    items.iter().map(|(key, value)| TxnOp::put(key.as_str(), value.as_ref(), None)).collect();
                client.txn(etcd_client::Txn::new().and_then(puts)).await?;
                Ok(())
            }
        }
    }

    /// A linearizable read; whether the key exists.
    pub async fn get(&self, key: &str) -> Result<bool> {
        match self {
            Self::Store(store) => Ok(store.get(key).await?.is_some()),
            Self::Remote(remote) => Ok(remote.get(key).await?.is_some()),
            Self::Etcd(client) => Ok(!client.kv_client().get(key, None).await?.kvs().is_empty()),
        }
    }

    /// A linearizable page of a range: how many keys, and the last of them if more follow.
    pub async fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<(usize, Option<String>)> {
        match self {
            Self::Store(store) => {
                let page = store.range(prefix, after, limit).await?;
                let last = page.items.last().filter(|_| page.more).map(|item| item.key.clone());
                Ok((page.items.len(), last))
            }
            Self::Remote(remote) => remote.page(prefix, after, limit).await,
            Self::Etcd(client) => {
                let first = after.map_or_else(|| prefix.to_owned(), |after| format!("{after}\0"));
                let options = GetOptions::new().with_range(end_of(prefix)).with_limit(i64::try_from(limit)?);
                let answer = client.kv_client().get(first, Some(options)).await?;
                let last = answer.kvs().last().filter(|_| answer.more());
                let last = last.map(|item| item.key_str().map(str::to_owned)).transpose()?;
                Ok((answer.kvs().len(), last))
            }
        }
    }

    /// The values put under a prefix from now on. The watch is in place when this returns.
    pub async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Bytes>> {
        match self {
            Self::Store(store) => {
                let from = store.range(prefix, None, 1).await?.revision;
                Ok(values(store.watch(prefix, from)).boxed())
            }
            Self::Remote(remote) => remote.watch(prefix).await,
            Self::Etcd(client) => {
                let options = WatchOptions::new().with_prefix();
                let mut stream = client.watch_client().watch(prefix, Some(options)).await?;
                let first = stream.message().await?.context("the watch ended at once")?;
                if !first.created() {
                    bail!("the watch wasn't created first");
                }
                let values = stream.flat_map(|answer| {
                    let events = answer.map(|answer| answer.events().to_vec()).unwrap_or_default();
                    let values = events.into_iter().filter_map(|event| Some(event.kv()?.value().to_vec().into()));
                    futures::stream::iter(values.collect::<Vec<Bytes>>())
                });
                Ok(values.boxed())
            }
        }
    }
}

/// The values in a watch of ours.
pub fn values(watch: federated_store::Watch) -> impl futures::Stream<Item = Bytes> + Send {
    watch.flat_map(|event| {
        let changes = match event {
            WatchEvent::Changes { changes, .. } => changes,
            WatchEvent::Progress { .. } | WatchEvent::Resync { .. } => Vec::new(),
        };
        futures::stream::iter(changes.into_iter().filter_map(|change| change.value))
    })
}

fn ours(items: Vec<(String, Bytes)>) -> Vec<Op> {
    items.into_iter().map(|(key, value)| Op::Put { key, value }).collect()
}

fn committed(outcome: &TxnOutcome) -> Result<()> {
    match outcome {
        TxnOutcome::Committed { .. } => Ok(()),
        other => bail!("not committed: {other:?}"),
    }
}

/// The first key after all keys with a prefix that ends in ASCII.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
