#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use clap::Parser;
use federated_store::{Op, Store};

use super::*;
use crate::keys;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: StoreCommand,
}

fn parse(line: &str) -> Result<StoreCommand, clap::Error> {
    Line::try_parse_from(std::iter::once("store").chain(line.split_whitespace())).map(|line| line.command)
}

#[test]
fn a_command_line_that_leaves_open_what_is_meant_is_refused() {
    let fit = [
        "backup --config c --to f",
        "backup --from-folder d --to f --all-entries",
        "restore --config c --from f --id controller-2 --renamed-from old -o json",
        "inspect --folder d",
        "inspect --config c --keys",
        "inspect --folder d --keys rollouts/ -o json",
        "inspect --folder d --get meta/epoch",
    ];
    for line in fit {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
    let unfit = [
        "backup --to f",
        "backup --config c",
        "backup --config c --from-folder d --to f",
        "backup --config c --to f --all-entries",
        "restore --config c",
        "inspect",
        "inspect --config c --folder d",
        "inspect --folder d --keys --get k",
    ];
    for line in unfit {
        assert!(parse(line).is_err(), "{line}");
    }
}

fn config(folder: &Path, data_dir: &str) -> PathBuf {
    let text = format!(
        "id: controller-1\ndataDir: {}\nlisten: {{agents: '127.0.0.1:1', people: '127.0.0.1:2', operations: \
         '127.0.0.1:3'}}\ntls: {{dir: /tls}}\nstore:\n  cluster: playground\n  replicas:\n  - {{id: controller-1, \
         number: 1, url: 'https://127.0.0.1:1'}}\n",
        folder.join(data_dir).display()
    );
    let path = folder.join(format!("{data_dir}.yaml"));
    std::fs::write(&path, text).unwrap();
    path
}

async fn open(config: &Path) -> Store {
    let config = read_config(config, None).unwrap();
    let config = federated_store::Config {
        join: false,
        cluster: config.store.cluster,
        id: config.id,
        data_dir: config.data_dir,
        replicas: config.store.replicas,
        client: None,
        tick: federated_store::Config::TICK,
    };
    let (store, _router) = Store::open(config).await.unwrap();
    store.leadership().wait_for(|view| view.fence.is_some()).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_replicas_folder_is_backed_up_and_restored_above_the_controllers_own_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (config(folder.path(), "old"), config(folder.path(), "new"));
    let store = open(&old).await;
    // An epoch that a clock far ahead had made: the time alone would not be above it.
    let ahead = now_seconds() + 1_000_000;
    let put = Op::Put { key: keys::EPOCH.to_owned(), value: ahead.to_string().into() };
    store.txn(None, Vec::new(), vec![put]).await.unwrap();
    store.close().await;

    let show = |path: &Path| path.display().to_string();
    let file = folder.path().join("backup");
    let from = show(&folder.path().join("old"));
    run(parse(&format!("backup --from-folder {from} --all-entries --to {}", show(&file))).unwrap()).await.unwrap();
    let restore = format!("restore --config {} --from {}", show(&new), show(&file));
    run(parse(&restore).unwrap()).await.unwrap();
    let again = run(parse(&restore).unwrap()).await.unwrap_err().to_string();
    assert!(again.contains("is not empty"), "{again}");

    let store = open(&new).await;
    assert_eq!(store.get(keys::EPOCH).await.unwrap().unwrap().value, ahead.to_string());
    assert_eq!(store.embedded().unwrap().epoch(), ahead + 1);
    store.close().await;
    for what in ["", "--keys", "--get meta/epoch", "-o json"] {
        let line = format!("inspect --folder {} {what}", show(&folder.path().join("new")));
        run(parse(&line).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn an_etcd_is_not_restored_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "data");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}  etcd: {{endpoints: ['127.0.0.1:2379']}}\n")).unwrap();
    let line = format!("restore --config {} --from nothing", path.display());
    let refused = format!("{:#}", run(parse(&line).unwrap()).await.unwrap_err());
    let expected = if cfg!(feature = "etcd") { "restore it with etcdctl" } else { "no etcd backend" };
    assert!(refused.contains(expected), "{refused}");
    assert!(!folder.path().join("data").exists());
}
