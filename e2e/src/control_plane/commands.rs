//! Command lines of a control plane's programs.

use std::path::Path;

use crate::assets::{Assets, Program};
use crate::process::Launch;

/// Controllers that a member needs for workloads; each further one costs memory.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
                           garbage-collector-controller,namespace-controller,serviceaccount-controller";

/// Ports on 127.0.0.1.
pub(super) struct Ports {
    /// etcd, for the API server.
    pub client: u16,
    /// etcd, for its peers: it has none, but must listen.
    pub peer: u16,
    /// The API server.
    pub secure: u16,
}

pub(super) fn etcd(assets: &Assets, dir: &Path, ports: &Ports, durable: bool) -> Launch {
    let client = format!("http://127.0.0.1:{}", ports.client);
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    let launch = Launch::new(assets.path(Program::Etcd))
        .arg("--data-dir")
        .arg(dir.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(["--log-level", "warn"]);
    if durable { launch } else { launch.arg("--unsafe-no-fsync") }
}

pub(super) fn apiserver(assets: &Assets, dir: &Path, ports: &Ports) -> Launch {
    let file = |name: &str| dir.join(name).display().to_string();
    Launch::new(assets.path(Program::KubeApiserver)).args([
        format!("--etcd-servers=http://127.0.0.1:{}", ports.client),
        format!("--secure-port={}", ports.secure),
        "--bind-address=127.0.0.1".to_owned(),
        // Without these it looks for an address of the machine, and fails where there is only loopback.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", file("apiserver")),
        format!("--tls-cert-file={}", file("tls/tls.crt")),
        format!("--tls-private-key-file={}", file("tls/tls.key")),
        format!("--client-ca-file={}", file("tls/ca.crt")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", file("service-accounts.key")),
        "--authorization-mode=RBAC".to_owned(),
        // Pods here mount no token, so they needn't wait for one; and the controller that takes the taint
        // "not-ready" off new nodes isn't run, so it must not be put on.
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
        "--profiling=false".to_owned(),
    ])
}

pub(super) fn controller_manager(assets: &Assets, kubeconfig: &Path) -> Launch {
    Launch::new(assets.path(Program::KubeControllerManager))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args([&format!("--controllers={CONTROLLERS}"), "--leader-elect=false", "--secure-port=0"])
        // Its default of 20 requests a second makes a test's workloads wait for each other.
        .args(["--kube-api-qps=200", "--kube-api-burst=400"])
}

pub(super) fn scheduler(assets: &Assets, kubeconfig: &Path) -> Launch {
    Launch::new(assets.path(Program::KubeScheduler))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--leader-elect=false", "--secure-port=0"])
}

pub(super) fn kwok(assets: &Assets, dir: &Path, kubeconfig: &Path) -> Launch {
    Launch::new(assets.path(Program::Kwok))
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--config")
        .arg(dir.join("stages.yaml"))
        .args(["--manage-all-nodes=true", "--node-ip=127.0.0.1"])
}
