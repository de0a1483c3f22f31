//! Backups of a running store, and stores that begin from one, over real sockets with mutual TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::cluster::Cluster;
use common::secure::Role;
use common::*;
use federated_store::backup::{self, Backup, Entries};
use federated_store::{OpenError, SnapshotPolicy, Store, Tuning, WatchEvent, inspect, restore};

const TAKEN: u64 = 1_700_000_000;
const RESTORED: u64 = 1_700_000_500;

fn tuning() -> Tuning {
    Tuning { snapshots: SnapshotPolicy { entries: 50, bytes: u64::MAX }, ..Tuning::default() }
}

fn urls(cluster: &Cluster) -> Vec<String> {
    cluster.replicas.iter().map(|replica| replica.url.clone()).collect()
}

fn request(cluster: &Cluster, place: usize) -> restore::Request {
    let replica = &cluster.replicas[place];
    restore::Request {
        cluster: "test".to_owned(),
        renamed_from: None,
        id: replica.id.clone(),
        number: replica.number,
        data_dir: cluster.folder(place),
        // Clocks differ: the highest has to win on all.
        epoch: restore::next_epoch(RESTORED + place as u64, 0),
    }
}

async fn lose_everything(cluster: &mut Cluster) {
    for place in 0..3 {
        if cluster.running[place].is_some() {
            cluster.abort(place).await;
        }
        std::fs::remove_dir_all(cluster.folder(place)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_folders_are_all_lost_comes_back_as_of_the_backup_with_a_higher_epoch() {
    let (mut cluster, target) = (Cluster::new(tuning()).await, tempfile::tempdir().unwrap());
    let leader = cluster.leader().await;
    for n in 0..120 {
        write(&cluster.store(leader), &format!("k{n:03}"), &format!("v{n}")).await;
    }
    let revision = write(&cluster.store(leader), "last", "acknowledged").await;
    let old_epoch = cluster.store(leader).embedded().unwrap().epoch();
    let client = cluster.authority.client(Role::Replica, "controller-2");
    let file = target.path().join("backup");
    let summary = backup::fetch(&client, "test", &urls(&cluster), &file).await.unwrap();
    assert_eq!((summary.revision, summary.keys, summary.epoch), (revision, 121, old_epoch));
    let repeated = backup::fetch(&client, "test", &urls(&cluster), &file).await;
    assert!(matches!(repeated, Err(backup::Error::Exists { .. })), "{repeated:?}");
    write(&cluster.store(leader), "k000", "after the backup").await;
    lose_everything(&mut cluster).await;

    let backup = Backup::read(&file).unwrap();
    for place in 0..3 {
        restore::prepare(&backup, &request(&cluster, place)).unwrap();
        cluster.start(place).await;
    }
    let leader = cluster.leader().await;
    for place in 0..3 {
        let store = cluster.store(place);
        let page = store.range("", None, 1000).await.unwrap();
        assert_eq!((page.items.len(), page.revision), (121, revision), "replica {place}");
        assert_eq!(read(&store, "k000").await.as_deref(), Some("v0"));
        assert_eq!(store.embedded().unwrap().epoch(), RESTORED + 2, "replica {place}");
    }
    let mut watch = cluster.store(0).watch("", revision);
    let next = write(&cluster.store(leader), "next", "v").await;
    assert_eq!(next, revision + 1, "revisions go on from the backup's");
    assert!(matches!(next_event(&mut watch).await, WatchEvent::Changes { revision: seen, .. } if seen == next));
    for n in 0..60 {
        write(&cluster.store(leader), &format!("k{n:03}"), "again").await;
    }
    for place in 0..3 {
        cluster.abort(place).await;
    }
    for place in 0..3 {
        cluster.start(place).await;
    }
    let leader = cluster.leader().await;
    assert_eq!(read(&cluster.store(leader), "next").await.as_deref(), Some("v"));
    assert_eq!(
        cluster.store(leader).embedded().unwrap().epoch(),
        RESTORED + 2,
        "the epoch stays through snapshots and restarts"
    );
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_and_empty_replicas_form_no_store_together() {
    let (mut cluster, target) = (Cluster::new(tuning()).await, tempfile::tempdir().unwrap());
    cluster.leader().await;
    write(&cluster.store(0), "a", "1").await;
    let file = target.path().join("backup");
    cluster.store(0).embedded().unwrap().backup(file.clone(), TAKEN).await.unwrap();
    let later = target.path().join("later");
    write(&cluster.store(0), "a", "2").await;
    cluster.store(0).embedded().unwrap().backup(later.clone(), TAKEN).await.unwrap();
    lose_everything(&mut cluster).await;
    let (backup, later) = (Backup::read(&file).unwrap(), Backup::read(&later).unwrap());

    restore::prepare(&backup, &request(&cluster, 0)).unwrap();
    for place in 0..3 {
        cluster.start(place).await;
    }
    stays_unformed(&cluster).await;
    lose_everything(&mut cluster).await;
    for (place, from) in [&backup, &backup, &later].into_iter().enumerate() {
        restore::prepare(from, &request(&cluster, place)).unwrap();
        cluster.start(place).await;
    }
    stays_unformed(&cluster).await;
    cluster.abort(2).await;
    std::fs::remove_dir_all(cluster.folder(2)).unwrap();
    restore::prepare(&backup, &request(&cluster, 2)).unwrap();
    cluster.start(2).await;
    let leader = cluster.leader().await;
    assert_eq!(read(&cluster.store(leader), "a").await.as_deref(), Some("1"));
    cluster.close_all().await;
}

async fn stays_unformed(cluster: &Cluster) {
    // A write is refused after its deadline of 5 s: fifty rounds of questions.
    let refused = cluster.store(0).txn(None, vec![], vec![put("b", "1")]).await;
    assert!(refused.is_err(), "{refused:?}");
    let client = cluster.authority.client(Role::Replica, "controller-1");
    let (found, silent) = inspect::live(&client, "test", &urls(cluster)).await.unwrap();
    assert!(silent.is_empty(), "{silent:?}");
    assert!(found.iter().all(|replica| replica.formation.is_none() && replica.state.is_none()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_damaged_or_of_another_store_is_refused_and_a_folder_in_use_too() {
    let (cluster, target) = (Cluster::new(tuning()).await, tempfile::tempdir().unwrap());
    cluster.leader().await;
    write(&cluster.store(1), "a", "1").await;
    let file = target.path().join("backup");
    cluster.store(1).embedded().unwrap().backup(file.clone(), TAKEN).await.unwrap();
    let backup = Backup::read(&file).unwrap();
    let mut other = request(&cluster, 0);
    other.data_dir = target.path().join("new");
    other.cluster = "elsewhere".to_owned();
    let refused = restore::prepare(&backup, &other).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the backup is of cluster 'test', not of 'elsewhere'; if the cluster was renamed, say so"
    );
    assert!(!other.data_dir.exists(), "a refusal leaves nothing behind");
    other.renamed_from = Some("test".to_owned());
    restore::prepare(&backup, &other).unwrap();
    let refused = restore::prepare(&backup, &request(&cluster, 0)).unwrap_err().to_string();
    assert!(refused.contains("is not empty, it holds 'identity.json', 'log', 'snapshots'"), "{refused}");

    let bytes = std::fs::read(&file).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 16;
        let path = target.path().join("damaged");
        std::fs::write(&path, &damaged).unwrap();
        assert!(Backup::read(&path).is_err(), "byte {place}");
    }
    std::fs::write(target.path().join("longer"), [&bytes[..], b"x"].concat()).unwrap();
    assert!(matches!(Backup::read(&target.path().join("longer")), Err(backup::Error::Trailing { .. })));
    let snapshot = newest_snapshot(&cluster.folder(0));
    assert!(matches!(Backup::read(&snapshot), Err(backup::Error::NoOrigin { .. })));
    cluster.close_all().await;
}

fn newest_snapshot(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "snapshot")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_backup_is_gone_or_changed_before_its_store_is_formed_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(&folder.path().join("old")).await;
    write(&store, "a", "1").await;
    let file = folder.path().join("backup");
    store.embedded().unwrap().backup(file.clone(), TAKEN).await.unwrap();
    store.close().await;
    let data_dir = folder.path().join("new");
    let request = restore::Request {
        cluster: "test".to_owned(),
        renamed_from: None,
        id: "controller-1".to_owned(),
        number: 1,
        data_dir: data_dir.clone(),
        epoch: RESTORED,
    };
    restore::prepare(&Backup::read(&file).unwrap(), &request).unwrap();
    let held = data_dir.join("restored.snapshot");
    std::fs::rename(&held, folder.path().join("aside")).unwrap();
    assert!(matches!(Store::open(single(&data_dir)).await, Err(OpenError::Restore { .. })));
    std::fs::write(&held, b"FSTSNAP1 but no more").unwrap();
    assert!(matches!(Store::open(single(&data_dir)).await, Err(OpenError::Restore { .. })));
    std::fs::rename(folder.path().join("aside"), &held).unwrap();
    let store = open_single(&data_dir).await;
    assert_eq!((read(&store, "a").await.as_deref(), store.embedded().unwrap().epoch()), (Some("1"), RESTORED));
    assert!(!held.exists(), "the backup is kept although the store begins with a snapshot of its own");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_replicas_folder_gives_a_backup_and_an_inspection_and_stays_as_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("replica");
    let store = open_single_with(&folder, tuning()).await;
    for n in 0..130 {
        write(&store, &format!("k{n:03}"), "v").await;
    }
    store.close().await;
    let before = listing(&folder);
    let file = temporary.path().join("backup");
    let summary = backup::from_folder(&folder, Entries::All, &file, temporary.path(), TAKEN).unwrap();
    assert_eq!((summary.keys, summary.revision, summary.taken_seconds), (130, 130, TAKEN));
    let found = inspect::folder(&folder, temporary.path()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.cluster.as_str(), found.id.as_str(), found.number), ("test", "controller-1", 1));
    let (promises, log, state) = (found.hard_state.unwrap(), found.log.unwrap(), found.state.unwrap());
    assert!(promises.commit <= log.last && state.index == promises.commit, "{promises:?} {log:?} {state:?}");
    assert_eq!(found.snapshots.len(), 2);
    let contents = inspect::contents(&folder, temporary.path()).unwrap();
    assert_eq!(contents.get("k000").unwrap().revision, 1);
    assert_eq!(listing(&folder), before, "reading changed the folder");

    let newest = newest_snapshot(&folder);
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let found = inspect::folder(&folder, temporary.path()).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(name)), "{:?}", found.problems);
    assert!(found.snapshots[0].problem.is_some() && found.snapshots[1].problem.is_none());
}

/// Names, lengths and times of change of all files.
fn listing(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for part in ["", "log", "snapshots"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let (path, metadata) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
            found.push((path, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn only_holders_of_a_replicas_certificate_who_know_the_store_get_a_backup() {
    let cluster = Cluster::new(tuning()).await;
    cluster.leader().await;
    write(&cluster.store(0), "secret", "value").await;
    let strangers = [(Role::Member, "controller-1"), (Role::Replica, "controller-9")];
    for (role, name) in strangers {
        let client = cluster.authority.client(role, name);
        for route in ["backup", "inspect"] {
            let answer = client.post(format!("{}/raft/{route}", cluster.replicas[0].url)).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{role:?} '{name}' at {route}");
        }
    }
    let target = tempfile::tempdir().unwrap();
    let client = cluster.authority.client(Role::Replica, "controller-1");
    let refused = backup::fetch(&client, "elsewhere", &urls(&cluster), &target.path().join("b")).await.unwrap_err();
    assert!(refused.to_string().contains("this is cluster 'test'"), "{refused}");
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0, "a refusal leaves files behind");
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_that_can_be_reached_gives_the_backup_and_without_a_majority_none_does() {
    let (mut cluster, target) = (Cluster::new(tuning()).await, tempfile::tempdir().unwrap());
    let leader = cluster.leader().await;
    write(&cluster.store(leader), "a", "1").await;
    let client = cluster.authority.client(Role::Replica, "controller-1");
    cluster.close(0).await;
    let survivor = cluster.leader().await;
    write(&cluster.store(survivor), "b", "2").await;
    let summary = backup::fetch(&client, "test", &urls(&cluster), &target.path().join("one")).await.unwrap();
    assert_eq!((summary.keys, summary.replica.as_str()), (2, "controller-2"));
    cluster.abort(1).await;
    let mut leadership = cluster.store(2).leadership();
    let gone = tokio::time::timeout(Duration::from_secs(30), leadership.wait_for(|view| view.fence.is_none())).await;
    gone.expect("still leads").unwrap();
    let refused = backup::fetch(&client, "test", &urls(&cluster), &target.path().join("two")).await.unwrap_err();
    assert!(refused.to_string().contains("no leader confirmed the read"), "{refused}");
    cluster.close_all().await;
}
