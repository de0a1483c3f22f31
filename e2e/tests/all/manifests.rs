//! Whole objects: made in their order, patched for one member, pruned, kept as they are to be, taken over only when asked, and
//! brought back to what they were.

use std::collections::BTreeMap;

use crate::common::{PATIENCE, apply, down, until, until_described, until_phase, until_waiting, up};
use crds::{ClusterScopeRolloutStatus, Intent, Phase, PlanAnswer, RolloutAssignment};
use e2e::harness::{TestFolder, wait_for};
use e2e::kubectl::Kubectl;
use e2e::playground::{Options, Playground};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

const ROLLOUT: &str = "web";
const CANARY: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const MARS: &str = "prod-mars";
const MEMBERS: [&str; 3] = [CANARY, WEST, MARS];

/// An object of a kind that another one of the same rollout defines, in a namespace that a third one makes.
const CRONTAB: &str = "{apiVersion: stable.example.com/v1, kind: CronTab, metadata: {namespace: extra, name: nightly}, spec: {at: '5 * * * *'}}";
const DEFINITION: &str = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: crontabs.stable.example.com}, spec: {group: stable.example.com, scope: Namespaced, names: {plural: crontabs, singular: crontab, kind: CronTab, listKind: CronTabList}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {at: {type: string}}}}}}}]}}";
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: extra}}";

fn config(data: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: shop, name: web}}, data: {data}}}")
}

fn workload(kind: &str, name: &str, tag: &str) -> String {
    let service = if kind == "StatefulSet" { "serviceName: db, " } else { "" };
    format!(
        "{{apiVersion: apps/v1, kind: {kind}, metadata: {{namespace: shop, name: {name}}}, spec: {{replicas: 2, {service}selector: \
         {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: app, image: 'registry.example.com/{name}:{tag}'}}]}}}}}}}}"
    )
}

fn rollout(objects: &[String]) -> String {
    let targets = MEMBERS.join(", ");
    let objects = objects.join("\n  - ");
    format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: {ROLLOUT}}}
spec:
  targetClusters: [{targets}]
  manifests:
  - {objects}
  overrides:
  - clusterSelector: {{matchLabels: {{rollout.example.com/member: {MARS}}}}}
    target: {{kind: ConfigMap, name: web}}
    jsonPatch: [{{op: add, path: /data/place, value: mars}}]
  rolloutStrategy: {{progressDeadlineSeconds: 15, canary: {{steps: [{{setWeight: 33, pause: 1}}], soakSeconds: 0}}}}
"
    )
}

/// One in which nobody fails by time.
fn patient(objects: &[String]) -> String {
    rollout(objects).replace("progressDeadlineSeconds: 15", "progressDeadlineSeconds: 600")
}

/// What is there in the beginning, written in an order in which it could not be applied.
fn first() -> Vec<String> {
    let objects = [CRONTAB, &workload("Deployment", "web", "v1"), &workload("StatefulSet", "db", "v1")];
    let rest = [&config("{color: red, size: small}"), DEFINITION, NAMESPACE];
    objects.into_iter().chain(rest).map(str::to_owned).collect()
}

fn kubectl(playground: &Playground, member: &str) -> Kubectl {
    playground.member(member).unwrap().kubectl()
}

/// A field of an object of a member, as a JSON path prints it; empty: there is none.
async fn field(playground: &Playground, member: &str, object: &str, path: &str) -> String {
    let path = format!("jsonpath={{{path}}}");
    let arguments = [
        "get",
        object,
        "-n",
        if object.contains("crontab") { "extra" } else { "shop" },
        "-o",
        &path,
        "--ignore-not-found",
    ];
    kubectl(playground, member).ok(&arguments).await.unwrap_or_default()
}

async fn fields(playground: &Playground, object: &str, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for member in MEMBERS {
        found.push(field(playground, member, object, path).await);
    }
    found
}

async fn images(playground: &Playground, object: &str) -> Vec<String> {
    let found = fields(playground, object, ".spec.template.spec.containers[0].image").await;
    found.iter().map(|image| image.rsplit(':').next().unwrap_or_default().to_owned()).collect()
}

async fn until_field(playground: &Playground, member: &str, object: &str, path: &str, value: &str) {
    wait_for(&format!("{object} {path} on {member} to be '{value}'"), PATIENCE, || async {
        let found = field(playground, member, object, path).await;
        Ok(if found == value { Ok(()) } else { Err(found) })
    })
    .await
    .unwrap();
}

async fn until_run(playground: &Playground, run: i64, phase: Phase) -> ClusterScopeRolloutStatus {
    let is_so = |status: &ClusterScopeRolloutStatus| status.run == run && status.phase == Some(phase);
    until(playground, ROLLOUT, &format!("to be {} in run {run}", phase.as_str()), is_so).await
}

async fn order(playground: &Playground, member: &str) -> RolloutAssignment {
    let api: Api<RolloutAssignment> = Api::all(playground.member(member).unwrap().client().await.unwrap());
    api.get(ROLLOUT).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_objects_go_out_in_waves_and_come_back() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("manifests").unwrap();
    let shop = json!([
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"]},
        {"apiGroups": [""], "resources": ["configmaps"]},
    ]);
    let cluster = json!([
        {"apiGroups": [""], "resources": ["namespaces"]},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]},
        {"apiGroups": ["stable.example.com"], "resources": ["crontabs"]},
    ]);
    let options = Options::new(folder.path(), 3, 1).named(&MEMBERS);
    let playground = up(options.with_manifests("shop", shop).with_cluster_manifests(cluster)).await;
    a_patch_that_does_not_apply_touches_nobody(&playground).await;
    they_are_made_in_their_order(&playground).await;
    bad_ones_bring_back_what_was_there(&playground).await;
    what_is_not_wanted_any_more_is_pruned(&playground).await;
    drift_is_repaired(&playground).await;
    a_conflict_names_field_and_manager(&playground).await;
    what_the_agent_may_not_write_is_named(&playground).await;
    undo_brings_the_old_objects_back(&playground).await;
    deletion_leaves_them_alone(&playground).await;
    down(playground).await;
}

async fn a_patch_that_does_not_apply_touches_nobody(playground: &Playground) {
    let manifest = rollout(&first()).replace("/data/place", "/nothing/here");
    let file = playground.dir().join("planned.yaml");
    std::fs::write(&file, &manifest).unwrap();
    let (_, url) = playground.controllers().remove(0);
    let arguments = ["plan", "-f", file.to_str().unwrap(), "--controller", &url];
    let refused = playground.plugin().run(&arguments).await.unwrap();
    assert!(!refused.success && refused.stderr.contains(&format!("it is for {MARS}")), "{}", refused.stderr);
    apply(playground, &manifest).await;
    let status = until_waiting(playground, ROLLOUT, "Invalid").await;
    let message = status.waiting_on.unwrap().message;
    for words in ["spec.overrides[0].jsonPatch", "does not apply to ConfigMap shop/web", MARS] {
        assert!(message.contains(words), "no {words} in {message}");
    }
    assert_eq!(status.run, 0);
}

async fn they_are_made_in_their_order(playground: &Playground) {
    let manifest = rollout(&first());
    let file = playground.dir().join("planned.yaml");
    std::fs::write(&file, &manifest).unwrap();
    let (_, url) = playground.controllers().remove(0);
    let arguments = ["plan", "-f", file.to_str().unwrap(), "--controller", &url];
    let shown = playground.plugin().ok(&arguments).await.unwrap();
    assert!(shown.contains("Deployment shop/web") && shown.contains("add /data/place: \"mars\""), "{shown}");
    let told = playground.plugin().ok(&[&arguments[..], &["-o", "json"]].concat()).await.unwrap();
    let plan: PlanAnswer = serde_json::from_str(&told).unwrap();
    assert_eq!((plan.delivers.len(), plan.delivers[1].members.as_slice()), (2, [MARS.to_owned()].as_slice()));

    apply(playground, &manifest).await;
    let status = until_run(playground, 1, Phase::Succeeded).await;
    assert_eq!((status.counts.healthy, status.counts.total), (3, 3));
    assert_eq!(images(playground, "deployment/web").await, ["v1"; 3]);
    assert_eq!(fields(playground, "statefulset/db", ".status.readyReplicas").await, ["2"; 3]);
    assert_eq!(fields(playground, "crontab/nightly", ".spec.at").await, ["5 * * * *"; 3]);
    assert_eq!(fields(playground, "configmap/web", ".data.place").await, ["", "", "mars"]);
    let label = r".metadata.labels.rollout\.example\.com/rollout";
    assert_eq!(fields(playground, "deployment/web", label).await, [ROLLOUT; 3]);
}

/// Of the canary each object is what it was, and nobody else's has changed.
async fn bad_ones_bring_back_what_was_there(playground: &Playground) {
    let generations = fields(playground, "deployment/web", ".metadata.generation").await;
    let more = "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: more}, data: {a: b}}".to_owned();
    let bad = vec![
        config("{color: blue}"),
        workload("Deployment", "web", "v2").replace("replicas: 2", "replicas: 3"),
        workload("StatefulSet", "db", "never-ready-2"),
        more,
    ];
    apply(playground, &rollout(&bad)).await;
    until_field(playground, CANARY, "configmap/more", ".data.a", "b").await;
    let status = until_run(playground, 2, Phase::RolledBack).await;
    assert_eq!((status.counts.failed, status.counts.returned), (1, 1));
    assert_eq!(images(playground, "deployment/web").await, ["v1"; 3]);
    assert_eq!(images(playground, "statefulset/db").await, ["v1"; 3]);
    until_field(playground, CANARY, "statefulset/db", ".status.readyReplicas", "2").await;
    assert_eq!(field(playground, CANARY, "deployment/web", ".spec.replicas").await, "2");
    assert_eq!(fields(playground, "configmap/web", ".data.color").await, ["red"; 3]);
    assert_eq!(fields(playground, "configmap/web", ".data.size").await, ["small"; 3], "what was given up is back");
    assert_eq!(fields(playground, "configmap/more", ".data.a").await, [""; 3], "what was made is gone");
    assert_eq!(fields(playground, "crontab/nightly", ".spec.at").await, ["5 * * * *"; 3], "nothing was pruned");
    assert_eq!(fields(playground, "deployment/web", ".metadata.generation").await[1..], generations[1..]);
    let back = order(playground, CANARY).await;
    assert_eq!(back.spec.intent, Intent::Return);
    assert!(back.spec.manifests.unwrap().objects.is_empty(), "the way back is in the member");
}

async fn what_is_not_wanted_any_more_is_pruned(playground: &Playground) {
    apply(playground, &rollout(&second())).await;
    until_run(playground, 3, Phase::Succeeded).await;
    assert_eq!(images(playground, "deployment/web").await, ["v2"; 3]);
    assert_eq!(fields(playground, "statefulset/db", ".metadata.name").await, [""; 3]);
    assert_eq!(fields(playground, "crontab/nightly", ".spec.at").await, [""; 3]);
    assert_eq!(fields(playground, "configmap/web", ".data.size").await, [""; 3]);
    assert_eq!(fields(playground, "namespace/extra", ".metadata.name").await, ["extra"; 3], "never deleted");
    let message = order(playground, WEST).await.status.unwrap().message;
    for words in ["Namespace extra", "CustomResourceDefinition crontabs.stable.example.com"] {
        assert!(message.contains(words), "{words} is not named as left behind in: {message}");
    }
}

fn second() -> Vec<String> {
    vec![config("{color: green}"), workload("Deployment", "web", "v2")]
}

async fn drift_is_repaired(playground: &Playground) {
    let patch = r#"{"data":{"color":"black"}}"#;
    kubectl(playground, CANARY)
        .ok(&["patch", "-n", "shop", "configmap/web", "--type=merge", "-p", patch])
        .await
        .unwrap();
    until_field(playground, CANARY, "configmap/web", ".data.color", "green").await;
    kubectl(playground, WEST).ok(&["delete", "-n", "shop", "deployment/web"]).await.unwrap();
    until_field(playground, WEST, "deployment/web", ".status.readyReplicas", "2").await;
    until(playground, ROLLOUT, "to be healthy again", |status| status.counts.healthy == 3).await;
}

async fn a_conflict_names_field_and_manager(playground: &Playground) {
    let owned = config("{owner: somebody}");
    for member in MEMBERS {
        let applied = kubectl(playground, member).apply_server_side(&owned).await;
        applied.unwrap();
    }
    let mine = vec![config("{color: green, owner: web}"), workload("Deployment", "web", "v2")];
    let patient = patient(&mine);
    apply(playground, &patient).await;
    let status = until_waiting(playground, ROLLOUT, "Refused").await;
    let message = status.waiting_on.unwrap().message;
    for words in ["ConfigMap shop/web", ".data.owner", "forceConflicts"] {
        assert!(message.contains(words), "no {words} in {message}");
    }
    assert_eq!(fields(playground, "configmap/web", ".data.owner").await, ["somebody"; 3]);
    apply(playground, &format!("{patient}  forceConflicts: true\n")).await;
    let status = until_run(playground, 4, Phase::Succeeded).await;
    assert_eq!(status.counts.healthy, 3);
    assert_eq!(fields(playground, "configmap/web", ".data.owner").await, ["web"; 3]);
}

async fn what_the_agent_may_not_write_is_named(playground: &Playground) {
    let service =
        "{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {ports: [{port: 80}]}}";
    let objects: Vec<String> = second().into_iter().chain([service.to_owned()]).collect();
    apply(playground, &patient(&objects)).await;
    let refused = |status: &ClusterScopeRolloutStatus| {
        let message = status.waiting_on.as_ref().map(|waiting| waiting.message.as_str()).unwrap_or_default();
        status.run == 5 && message.contains("Service shop/web") && message.contains("manifests")
    };
    until(playground, ROLLOUT, "to say what the agent may not write", refused).await;
    until_described(playground, ROLLOUT, &["Refused", "Service shop/web"]).await;
    assert_eq!(fields(playground, "configmap/web", ".data.owner").await, ["web"; 3], "and nothing else was applied");
}

async fn undo_brings_the_old_objects_back(playground: &Playground) {
    let (_, url) = playground.controllers().remove(0);
    let history = playground.plugin().ok(&["history", ROLLOUT, "--controller", &url]).await.unwrap();
    assert!(history.contains("2 objects and 1 override"), "{history}");
    let status = until_phase(playground, ROLLOUT, Phase::Holding).await;
    let accepted = status.accepted_revision.unwrap();
    playground.plugin().ok(&["undo", ROLLOUT, "--controller", &url]).await.unwrap();
    let undone = |status: &ClusterScopeRolloutStatus| {
        status.phase == Some(Phase::Succeeded) && status.revision.as_ref() == Some(&accepted)
    };
    until(playground, ROLLOUT, "to be undone", undone).await;
    assert_eq!(fields(playground, "configmap/web", ".data.owner").await, ["web"; 3]);
}

async fn deletion_leaves_them_alone(playground: &Playground) {
    let before: Vec<BTreeMap<String, String>> = states(playground).await;
    assert!(before.iter().all(|member| member.len() == 1), "one record in each member: {before:?}");
    playground.kubectl().ok(&["delete", "csro", ROLLOUT, "--wait=true"]).await.unwrap();
    wait_for("the agents to forget it", PATIENCE, || async {
        let left = states(playground).await;
        Ok(if left.iter().all(BTreeMap::is_empty) { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .await
    .unwrap();
    assert_eq!(images(playground, "deployment/web").await, ["v2"; 3]);
}

/// The records of rollouts in each member, by name.
async fn states(playground: &Playground) -> Vec<BTreeMap<String, String>> {
    let mut all = Vec::new();
    for member in MEMBERS {
        let client = playground.member(member).unwrap().client().await.unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client, "rollout-system");
        let found = maps.list(&kube::api::ListParams::default()).await.unwrap();
        let state = |map: ConfigMap| Some((map.metadata.name?, map.data?.remove("state")?));
        all.push(found.items.into_iter().filter_map(state).collect());
    }
    all
}
