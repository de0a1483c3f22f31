//! Reads, all linearizable: that is etcd's default, and nothing here asks for less.

use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, KvClient, ResponseHeader};
use store_node::{KeyValue, Versioned};

use super::failure::Failure;
use super::keys::Keys;
use crate::handle::{MAX_PAGE, Page};

/// Etcd counts in signed numbers and never below zero.
pub(super) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// The revision of the whole etcd in an answer's header.
pub(super) fn revision(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| unsigned(header.revision()))
}

/// A key's value and the revision of the answer.
pub(super) async fn get(mut client: KvClient, keys: &Keys, key: &str) -> Result<(Option<Versioned>, u64), Failure> {
    let mut answer = client.get(keys.outer(key), None).await?;
    let found = answer.take_kvs().into_iter().next().map(|found| {
        let revision = unsigned(found.mod_revision());
        Versioned { value: Bytes::from(found.into_key_value().1), revision }
    });
    Ok((found, revision(answer.header())))
}

/// A page, shorter than asked for when it would be too large for one answer.
pub(super) async fn page(
    mut client: KvClient,
    keys: &Keys,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Page, u64), Failure> {
    // To etcd no key means all keys: one is asked for, and isn't shown.
    let mut asked = limit.clamp(1, MAX_PAGE);
    let mut answer = loop {
        match range(&mut client, keys.bounds(prefix, after), asked).await {
            Err(Failure::TooLarge) if asked > 1 => asked /= 2,
            answer => break answer?,
        }
    };
    let revision = revision(answer.header());
    let mut more = answer.more();
    let mut items = Vec::with_capacity(answer.kvs().len());
    for found in answer.take_kvs() {
        let changed = unsigned(found.mod_revision());
        let (key, value) = found.into_key_value();
        let Some(key) = keys.inner(&key) else {
            tracing::warn!(key = %key.escape_ascii(), "a key that isn't ours under our prefix is passed over");
            continue;
        };
        items.push(KeyValue { key, value: value.into(), revision: changed });
    }
    if limit == 0 {
        more = !items.is_empty();
        items.clear();
    }
    Ok((Page { items, revision, more }, revision))
}

async fn range(client: &mut KvClient, bounds: (Vec<u8>, Vec<u8>), limit: usize) -> Result<GetResponse, Failure> {
    let (start, end) = bounds;
    // MAX_PAGE fits by far.
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(client.get(start, Some(GetOptions::new().with_range(end).with_limit(limit))).await?)
}

/// The revision of the whole etcd, now.
pub(super) async fn latest(mut client: KvClient, keys: &Keys) -> Result<u64, Failure> {
    let answer = client.get(keys.leader(), Some(GetOptions::new().with_count_only())).await?;
    Ok(revision(answer.header()))
}
