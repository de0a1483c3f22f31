//! The workloads that each member of a playground runs.

use crds::WorkloadKind;

/// Namespace of the sample workloads.
pub const NAMESPACE: &str = "shop";
/// Their kinds and names. Each has one container, `app`.
pub const WORKLOADS: [(WorkloadKind, &str); 3] =
    [(WorkloadKind::Deployment, "checkout"), (WorkloadKind::StatefulSet, "ledger"), (WorkloadKind::DaemonSet, "edge")];

/// Image of a sample workload.
pub fn image(name: &str, tag: &str) -> String {
    format!("registry.example.com/{name}:{tag}")
}

/// Manifests of the namespace and the three workloads, with this image tag.
pub fn workloads(tag: &str) -> String {
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n");
    WORKLOADS.iter().fold(namespace, |text, (kind, name)| text + &workload(*kind, name, tag))
}

fn workload(kind: WorkloadKind, name: &str, tag: &str) -> String {
    // A DaemonSet has one pod on each node.
    let more = match kind {
        WorkloadKind::Deployment => "\n  replicas: 3",
        WorkloadKind::StatefulSet => "\n  replicas: 2\n  serviceName: ledger",
        WorkloadKind::DaemonSet => "",
    };
    let image = image(name, tag);
    format!(
        "---
apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:{more}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      # Pods here have no container that would use the time.
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: {image}
"
    )
}
