//! Damage to the logs of real replicas: repaired from the others where that is safe, and refused where it isn't.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::cluster::Cluster;
use common::*;
use federated_store::{LogKind, LogOptions, Tuning};

fn tuning() -> Tuning {
    let log = LogOptions { kind: LogKind::Wal, segment_bytes: 4 * 1024 * 1024 };
    Tuning { log, ..Tuning::default() }
}

async fn written(writes: usize) -> Cluster {
    let cluster = Cluster::new(tuning()).await;
    let store = cluster.store(cluster.leader().await);
    for n in 0..writes {
        write(&store, &format!("key-{n}"), &format!("value-{n:04}")).await;
    }
    cluster
}

/// Flips a byte of the value in a stopped replica's log; the file.
fn flip(folder: &Path, value: &str) -> PathBuf {
    for file in std::fs::read_dir(folder.join("log")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(place) = bytes.windows(value.len()).position(|window| window == value.as_bytes()) {
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return path;
        }
    }
    panic!("no '{value}' in {}", folder.display());
}

fn note(cluster: &Cluster, place: usize) -> Option<String> {
    std::fs::read_to_string(cluster.folder(place).join("repair.json")).ok()
}

async fn await_repair(cluster: &Cluster, place: usize) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while note(cluster, place).is_some() {
        assert!(tokio::time::Instant::now() < give_up, "not repaired in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_flipped_byte_in_its_log_repairs_itself_from_the_others() {
    let mut cluster = written(40).await;
    let damaged = (cluster.leader().await + 1) % 3;
    cluster.abort(damaged).await;
    let path = flip(&cluster.folder(damaged), "value-0017");
    cluster.start(damaged).await;
    await_repair(&cluster, damaged).await;
    let aside = cluster.folder(damaged).join("log-damaged").join(path.file_name().unwrap());
    assert!(aside.exists(), "the damaged file is kept to be looked at");
    // The repaired replica and one other are enough, also after a restart.
    cluster.abort(damaged).await;
    cluster.start(damaged).await;
    let leader = cluster.leader().await;
    let other = (0..3).find(|place| *place != damaged && *place != leader).unwrap_or((damaged + 1) % 3);
    cluster.abort(other).await;
    let leader = cluster.leader().await;
    let store = cluster.store(leader);
    for n in 0..40 {
        assert_eq!(read(&store, &format!("key-{n}")).await, Some(format!("value-{n:04}")));
    }
    write(&store, "after", "1").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_damaged_replicas_of_three_elect_nobody_and_say_what_they_found() {
    let mut cluster = written(40).await;
    for place in 0..3 {
        cluster.abort(place).await;
    }
    let damaged = [0, 1];
    for place in damaged {
        flip(&cluster.folder(place), "value-0017");
        cluster.start(place).await;
    }
    // Far longer than an election takes among replicas that vote.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for place in damaged {
        assert_eq!(cluster.store(place).leadership().borrow().fence, None, "a damaged replica helped to elect");
        let note = note(&cluster, place).expect("still to be repaired");
        assert!(note.contains(".wal' at byte") && note.contains("can't be read"), "{note}");
    }
    cluster.start(2).await;
    // Neither votes before a leader has repaired it, and the third alone is no majority: nothing is decided.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for place in 0..3 {
        assert_eq!(cluster.store(place).leadership().borrow().fence, None);
    }
    cluster.close_all().await;
}
