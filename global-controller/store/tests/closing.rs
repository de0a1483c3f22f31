//! A store that is closed is closed, wherever it was. In a program of its own: it forms many stores at once with nothing beside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::cluster::Cluster;
use federated_store::Tuning;

/// Else a folder that is moved or removed after the close would end the process, which an embedding program outlives.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_closed_while_it_forms_touches_its_folder_no_more() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..60 {
        let folder = folder.path().join(round.to_string());
        let mut cluster = Cluster::in_folder(&folder, Tuning::default());
        for place in 0..3 {
            cluster.start(place).await;
        }
        // From before the replicas have found each other until after they have started.
        tokio::time::sleep(Duration::from_millis(round / 2)).await;
        cluster.close_all().await;
        let before = files(&folder);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(files(&folder), before, "closed after {} ms", round / 2);
    }
}

/// Every file below the folder, with its length and when it was written.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), (metadata.len(), metadata.modified().unwrap()));
            }
        }
    }
    found
}
