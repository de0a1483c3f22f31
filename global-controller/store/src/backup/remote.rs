//! A backup from a running store, by whichever replica answers.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::file::Unnamed;
use super::{Error, Summary};
use crate::transport::admission::CLUSTER;
use crate::transport::hello::{bounded, describe};
use crate::transport::snapshots::MAX_SNAPSHOT_BYTES;

/// Between two chunks, and before the first: a read is confirmed, and a disk may stall.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);
/// Of a refusal.
const MAX_REASON_BYTES: usize = 4 * 1024;

/// Asks the replicas at `urls` one after the other and writes what the first sends to the new file `to`. Everything
/// that was acknowledged before the call is in it. `client` presents the certificate of a replica.
pub async fn fetch(client: &reqwest::Client, cluster: &str, urls: &[String], to: &Path) -> Result<Summary, Error> {
    let mut reasons = Vec::new();
    for url in urls {
        let (unnamed, file) = Unnamed::create(to)?;
        let mut file = tokio::fs::File::from_std(file);
        match receive(client, cluster, url, &mut file).await {
            Ok(()) => {
                let file = file.into_std().await;
                let finished = tokio::task::spawn_blocking(move || unnamed.finish(&file)).await?;
                match finished {
                    // A file cut short by a replica that ended; another may do better.
                    Err(error @ Error::Snapshot { .. }) => reasons.push(format!("{url}: {}", describe(&error))),
                    other => return other,
                }
            }
            Err(reason) => reasons.push(format!("{url}: {reason}")),
        }
    }
    Err(Error::Unreachable { reasons: reasons.join("; ") })
}

async fn receive(client: &reqwest::Client, cluster: &str, url: &str, file: &mut tokio::fs::File) -> Result<(), String> {
    let request = client.post(format!("{}/raft/backup", url.trim_end_matches('/'))).header(CLUSTER, cluster);
    let answer = in_time(request.send()).await?;
    let status = answer.status();
    if !status.is_success() {
        let reason = in_time(bounded(answer, MAX_REASON_BYTES)).await?.unwrap_or_default();
        return Err(format!("it answered {status}: {}", String::from_utf8_lossy(&reason)));
    }
    let mut answer = answer;
    let mut length: u64 = 0;
    while let Some(chunk) = in_time(answer.chunk()).await? {
        length += chunk.len() as u64;
        if length > MAX_SNAPSHOT_BYTES {
            return Err(format!("the backup is longer than {MAX_SNAPSHOT_BYTES} bytes"));
        }
        file.write_all(&chunk).await.map_err(|error| describe(&error))?;
    }
    file.flush().await.map_err(|error| describe(&error))
}

async fn in_time<T>(work: impl Future<Output = reqwest::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(CHUNK_DEADLINE, work).await {
        Ok(result) => result.map_err(|error| describe(&error)),
        Err(_) => Err(format!("nothing came for {} s", CHUNK_DEADLINE.as_secs())),
    }
}
