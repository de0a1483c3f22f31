//! A full disk: writes are refused before they are appended, everything else goes on, and so do writes once there is
//! space again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use federated_store::{LogOptions, Store, Tuning, TxnOutcome, WriteError};

const SEGMENT: u64 = 1024 * 1024;
/// Half a segment is filled after some 500 of them.
const VALUE_BYTES: usize = 1000;
const MOST_WRITES: usize = 20_000;

/// What keeps the next log file from being made.
enum Obstacle {
    /// A small file system, filled up. It takes root to mount one.
    Mounted { filler: PathBuf, folder: PathBuf },
    /// Without root: something lies where the next files are made.
    InTheWay(Vec<PathBuf>),
}

impl Obstacle {
    /// To be called before the folder is used.
    fn prepare(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("log")).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Self::Mounted { filler: folder.join("filler"), folder: folder.to_owned() };
        }
        Self::InTheWay((3..6).map(|number| folder.join(format!("log/{number:020}.tmp"))).collect())
    }

    fn put_up(&self) {
        match self {
            Self::Mounted { filler, .. } => {
                // Ends with "no space left".
                let mut file = std::fs::File::create(filler).unwrap();
                while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
            }
            Self::InTheWay(paths) => paths.iter().for_each(|path| std::fs::create_dir(path).unwrap()),
        }
    }

    fn remove(&self) {
        match self {
            Self::Mounted { filler, .. } => std::fs::remove_file(filler).unwrap(),
            Self::InTheWay(paths) => paths.iter().for_each(|path| std::fs::remove_dir(path).unwrap()),
        }
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        if let Self::Mounted { folder, .. } = self {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

async fn put_one(store: &Store, n: usize) -> Result<(), WriteError> {
    let value = "v".repeat(VALUE_BYTES);
    match store.txn(None, vec![], vec![put(&format!("key-{n}"), &value)]).await? {
        TxnOutcome::Committed { .. } => Ok(()),
        other => panic!("not committed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_with_the_reason_and_the_store_goes_on_when_space_returns() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("replica");
    let obstacle = Obstacle::prepare(&folder);
    let tuning = Tuning { log: LogOptions { segment_bytes: SEGMENT, ..LogOptions::default() }, ..Tuning::default() };
    let store = open_single_with(&folder, tuning).await;
    put_one(&store, 0).await.unwrap();
    obstacle.put_up();

    let mut acknowledged = 1;
    let refused = loop {
        match put_one(&store, acknowledged).await {
            Ok(()) => acknowledged += 1,
            Err(refused) => break refused,
        }
        assert!(acknowledged < MOST_WRITES, "the disk never filled up");
    };
    let WriteError::NotApplied { reason } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("no log space on replica 'controller-1'") && reason.contains("free space"), "{reason}");
    assert_eq!(store.get(&format!("key-{acknowledged}")).await.unwrap(), None, "what was refused didn't happen");
    assert!(store.get("key-0").await.unwrap().is_some(), "reads go on");

    obstacle.remove();
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while let Err(refused) = put_one(&store, acknowledged).await {
        assert!(tokio::time::Instant::now() < give_up, "still refused: {refused:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    acknowledged += 1;

    store.abort().await;
    let store = open_single_with(&folder, tuning).await;
    for n in 0..acknowledged {
        assert!(store.get(&format!("key-{n}")).await.unwrap().is_some(), "acknowledged key-{n} is gone");
    }
    store.close().await;
}
