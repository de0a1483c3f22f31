//! Control planes start, behave like clusters, and leave nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crds::WorkloadKind;
use e2e::cluster_client::workload;
use e2e::control_plane::{ControlPlane, Role};
use e2e::harness::{self, TestFolder, wait_for};
use e2e::playground::samples;
use kube::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const KINDS: [(WorkloadKind, &str); 3] =
    [(WorkloadKind::Deployment, "checkout"), (WorkloadKind::StatefulSet, "ledger"), (WorkloadKind::DaemonSet, "edge")];
const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_all_kinds_roll_out_except_with_a_never_ready_image() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("workloads").unwrap();
    let cluster = harness::start_cluster(folder.path(), "member-1", Role::Member { nodes: 2 }).await.unwrap();
    cluster.kubectl().apply_server_side(&samples::workloads("v1")).await.unwrap();
    let client = cluster.client().await.unwrap();
    for (kind, name) in KINDS {
        rolled_out(&client, kind, name, "v1").await;
    }
    assert_eq!(workload(&client, WorkloadKind::DaemonSet, "shop", "edge", "app").await.unwrap().desired, 2);

    set_images(&cluster, "v2").await;
    for (kind, name) in KINDS {
        rolled_out(&client, kind, name, "v2").await;
    }

    set_images(&cluster, "never-ready-3").await;
    for (kind, name) in KINDS {
        new_pod_runs(&client, kind, name).await;
    }
    for (kind, name) in KINDS {
        let view = workload(&client, kind, "shop", name, "app").await.unwrap();
        assert!(!view.is_rolled_out(), "{kind} with a never-ready image was rolled out: {view:?}");
        assert!(view.ready < view.total || view.updated < view.desired, "{kind}: {view:?}");
    }
    let not_ready = "--field-selector=status.phase!=Running";
    let pods = cluster.kubectl().ok(&["get", "pods", "-n", "shop", not_ready, "-o", "name"]).await.unwrap();
    assert_eq!(pods, "", "pods of a never-ready image run, they are only not ready");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_part_comes_back_on_its_old_port_and_data() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("restart").unwrap();
    let cluster = harness::start_cluster(folder.path(), "hub", Role::Hub).await.unwrap();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", "kept"]).await.unwrap();
    for name in ["apiserver", "etcd"] {
        let part = cluster.part(name).unwrap();
        let before = part.pid().unwrap();
        part.stop().await;
        assert_eq!(part.pid(), None);
        assert!(!is_alive(before), "{name}");
        part.start().await.unwrap();
        assert_ne!(part.pid().unwrap(), before);
    }
    let kept = || async { anyhow::Ok(Ok(kubectl.ok(&["get", "namespace", "kept", "-o", "name"]).await?)) };
    assert_eq!(wait_for("the namespace", DEADLINE, kept).await.unwrap(), "namespace/kept\n");
}

#[test]
fn nothing_is_left_behind_when_the_starter_is_killed() {
    let folder = TestFolder::new("kill").unwrap();
    let (mut starter, pids) = start_elsewhere(folder.path(), &[]);
    kill(pid_of(&starter), Signal::SIGKILL).unwrap();
    starter.wait().unwrap();
    all_gone(&pids);
}

#[test]
fn nothing_is_left_behind_when_the_starter_panics() {
    let folder = TestFolder::new("panic").unwrap();
    let (mut starter, pids) = start_elsewhere(folder.path(), &["--panic-when-ready"]);
    assert_eq!(starter.wait().unwrap().code(), Some(101));
    all_gone(&pids);
}

#[test]
fn nothing_is_left_behind_after_ctrl_c() {
    let folder = TestFolder::new("interrupt").unwrap();
    let (mut starter, pids) = start_elsewhere(folder.path(), &[]);
    kill(pid_of(&starter), Signal::SIGINT).unwrap();
    assert!(starter.wait().unwrap().success());
    // By then they are gone: no grace after the starter has ended.
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

fn start_elsewhere(folder: &Path, more: &[&str]) -> (Child, Vec<u32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.arg("--dir").arg(folder).args(more).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut pids = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        if let Some((_, pid)) = line.split_once(" pid ") {
            pids.push(pid.parse().unwrap());
        }
        if line.starts_with("kubeconfig ") {
            break;
        }
    }
    assert_eq!(pids.len(), 5, "a member has five processes");
    (child, pids)
}

fn all_gone(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < deadline, "left behind: {pids:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie whose parent is gone waits only for init to collect it.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

async fn set_images(cluster: &ControlPlane, tag: &str) {
    for (kind, name) in KINDS {
        let target = format!("{}/{name}", kind.as_str().to_lowercase());
        let image = format!("app=registry.example.com/{name}:{tag}");
        cluster.kubectl().ok(&["set", "image", "-n", "shop", &target, &image]).await.unwrap();
    }
}

async fn rolled_out(client: &Client, kind: WorkloadKind, name: &str, tag: &str) {
    let image = format!("registry.example.com/{name}:{tag}");
    wait_for(&format!("{kind} {name} to run {tag}"), DEADLINE, || async {
        let view = workload(client, kind, "shop", name, "app").await?;
        Ok(if view.image == image && view.is_rolled_out() { Ok(()) } else { Err(format!("{view:?}")) })
    })
    .await
    .unwrap();
}

async fn new_pod_runs(client: &Client, kind: WorkloadKind, name: &str) {
    wait_for(&format!("a new pod of {kind} {name}"), DEADLINE, || async {
        let view = workload(client, kind, "shop", name, "app").await?;
        Ok(if view.observed && view.updated > 0 { Ok(()) } else { Err(format!("{view:?}")) })
    })
    .await
    .unwrap();
}
