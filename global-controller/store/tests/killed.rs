//! All replicas killed at once with SIGKILL, by killing the process that holds them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::cluster::Cluster;
use common::*;
use federated_store::{SnapshotPolicy, Tuning};

/// Set in the process that is killed: the folder of the replicas.
const FOLDER: &str = "FEDERATED_STORE_TEST_FOLDER";
const ACKNOWLEDGED: &str = "acknowledged ";
/// Writes acknowledged before each kill; with the policy below some fall into a snapshot and some don't.
const WRITES: usize = 300;

fn tuning() -> Tuning {
    Tuning { snapshots: SnapshotPolicy { entries: 100, bytes: u64::MAX }, ..Tuning::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_acknowledged_before_a_kill_of_all_replicas_are_there_afterwards() {
    if let Ok(folder) = std::env::var(FOLDER) {
        write_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        acknowledged.extend(run_and_kill(folder.path()));
    }
    let mut cluster = Cluster::in_folder(folder.path(), tuning());
    for place in 0..3 {
        cluster.start(place).await;
    }
    let leader = cluster.leader().await;
    let store = cluster.store(leader);
    for key in acknowledged {
        assert_eq!(read(&store, &key).await.as_deref(), Some("v"), "acknowledged {key} is gone");
    }
    cluster.close_all().await;
}

/// Starts this test in a process of its own, which becomes the replicas, and kills it in the middle of its writes.
fn run_and_kill(folder: &Path) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--nocapture").env(FOLDER, folder).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let keys = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED).map(str::to_owned));
    let acknowledged: Vec<_> = keys.take(WRITES).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(acknowledged.len(), WRITES, "the replicas ended by themselves");
    acknowledged
}

async fn write_until_killed(folder: &Path) {
    let mut cluster = Cluster::in_folder(folder, tuning());
    for place in 0..3 {
        cluster.start(place).await;
    }
    println!();
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(write_for_ever(cluster.store(n % 3)))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write_for_ever(store: federated_store::Store) {
    let process = std::process::id();
    for n in 0_u64.. {
        let key = format!("{process}-{:?}-{n}", tokio::task::id());
        write(&store, &key, "v").await;
        println!("{ACKNOWLEDGED}{key}");
    }
}
