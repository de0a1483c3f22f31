//! `ClusterScopeRollout`: one change, rolled out over a fleet.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Analysis, ClusterScopeRolloutStatus, ClusterSelector, IntOrPercent, Manifest, Override, WorkloadPayload};

/// What to roll out, to which members, in which steps.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rollout.example.com",
    version = "v1alpha1",
    kind = "ClusterScopeRollout",
    plural = "clusterscoperollouts",
    shortname = "csro",
    category = "rollouts",
    status = "ClusterScopeRolloutStatus",
    derive = "PartialEq",
    doc = "A ClusterScopeRollout brings one change to a fleet of clusters, a few clusters first, and goes on only while they stay healthy.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name: at most 63 characters").reason(Reason::FieldValueInvalid),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the rollout stands"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.stepSummary", description = "Current step of all steps, the implicit last one included"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.weight", description = "Percent of the members that the current step may update"),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.healthySummary", description = "Members that are healthy at the revision, of all members planned"),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waitingOn.reason", description = "What the rollout waits for"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision", description = "Hash of the payload", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.waitingOn.message", description = "What the rollout waits for, in words", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.targetClusters) && size(self.targetClusters) > 0) || has(self.clusterSelector)").message("name at least one member in targetClusters, or give a clusterSelector").reason(Reason::FieldValueRequired).field_path(".targetClusters"))]
#[x_kube(validation = Rule::new("!has(oldSelf.workload) || has(self.workload)").message("workload can't be taken away again: delete the rollout instead").reason(Reason::FieldValueRequired).field_path(".workload"))]
#[x_kube(validation = Rule::new("!has(self.workload) || !has(self.manifests) || size(self.manifests) == 0").message("give workload or manifests, not both").reason(Reason::FieldValueInvalid).field_path(".manifests"))]
#[x_kube(validation = Rule::new("!has(oldSelf.manifests) || size(oldSelf.manifests) == 0 || (has(self.manifests) && size(self.manifests) > 0)").message("manifests can't be taken away again: delete the rollout instead").reason(Reason::FieldValueRequired).field_path(".manifests"))]
#[x_kube(validation = Rule::new("!has(self.overrides) || self.overrides.all(one, !has(one.images)) || has(self.workload)").message("images of overrides replace those of workload, which is missing").reason(Reason::FieldValueRequired).field_path(".workload"))]
#[x_kube(validation = Rule::new("!has(self.overrides) || self.overrides.all(one, !has(one.jsonPatch)) || (has(self.manifests) && size(self.manifests) > 0)").message("jsonPatch of overrides changes one of manifests, which are missing").reason(Reason::FieldValueRequired).field_path(".manifests"))]
#[x_kube(validation = Rule::new("!has(self.overrides) || !has(self.workload) || self.overrides.all(one, !has(one.images) || one.images.all(container, container in self.workload.images))").message("an override may replace the images of containers that workload.images names, and no others").reason(Reason::FieldValueInvalid).field_path(".overrides"))]
pub struct ClusterScopeRolloutSpec {
    /// Names of `MemberCluster` objects, in the order in which they are updated: the first are the canaries.
    /// No name twice, at most 512; larger fleets use clusterSelector. Members that the selector adds come
    /// after these, by name. A name without `MemberCluster` keeps the rollout waiting (TargetMissing).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("a member may be named only once").reason(Reason::FieldValueDuplicate))]
    pub target_clusters: Vec<String>,
    /// Selects members by the labels of their `MemberCluster`, in addition to targetClusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_selector: Option<ClusterSelector>,
    /// The change: images of one workload that exists in each member. Without it the rollout is accepted
    /// and waits (NoPayload). A change of it starts a new run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadPayload>,
    /// The change: whole objects, which each member gets by server-side apply. They are made where they are missing; an object
    /// that an earlier revision had and this one does not is deleted, if the rollout has made it. Of any kind that the
    /// agents may write (manifests in the values of their chart), but Secret. 1 to 100 objects with apiVersion, kind,
    /// metadata.name and, if their kind has one, metadata.namespace; none twice; at most 192 KiB as JSON. Either this or
    /// workload. A change of it starts a new run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(one, one.kind != 'Secret' || one.apiVersion != 'v1')").message("a Secret can't be rolled out: whoever may read rollouts could read it").reason(Reason::FieldValueForbidden))]
    pub manifests: Vec<Manifest>,
    /// With manifests: whether fields are taken over that belong to another field manager in a member and differ there, as
    /// kubectl apply --server-side --force-conflicts does. With false such a member is not touched, and fails with field
    /// and manager in its message. It is no part of the payload: a change of it starts no run. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_conflicts: bool,
    /// What some of the members get instead, part of the change: a change of them starts a new run, too. Each is for the
    /// members that its clusterSelector selects, and replaces images of containers that workload.images names, or patches
    /// one of manifests. Of several for the same member and container, or object, the last one counts. A member's labels
    /// count when it is told what to run; a later change of them changes nothing until the next run. At most 32, and 8 KiB
    /// as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub overrides: Vec<Override>,
    /// How the change spreads.
    pub rollout_strategy: RolloutStrategy,
    /// What is measured during each pause and the soak, and what it must show. Without it the gate of the controller's
    /// configuration applies: at least 99.5% of requests succeed. A change of it begins the current pause anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// What is done about members that fail.
    #[serde(default)]
    pub rollback: Rollback,
    /// Stops new work and the clock of a pause, which keeps its remaining time. Repair of drift and rollback go on.
    /// Set at creation, the rollout is planned and observed only. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether drift is repaired after the rollout has Succeeded: images that somebody else has set are set back. With false
    /// it is then only reported, in status.clusters (Drifted). While a run is active drift is repaired either way, or what
    /// the run measures would be worthless; after RolledBack and Failed it is only reported either way. Where another field
    /// manager sets its image three times within 10 minutes, repair stops (Contended). Default true.
    #[serde(default = "enforced", skip_serializing_if = "is_enforced")]
    pub enforce: bool,
    /// How many runs are kept beside the latest one, with how they ended and the payload that each brought, to look at
    /// (kubectl clusterrollout history) and to go back to (kubectl clusterrollout undo). The oldest go first; the last that
    /// succeeded stays. 1 to 100, default 20.
    #[serde(default = "default_history_limit", skip_serializing_if = "is_default_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub revision_history_limit: i32,
}

fn enforced() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
fn is_enforced(enforce: &bool) -> bool {
    *enforce
}

const DEFAULT_HISTORY_LIMIT: i32 = 20;

fn default_history_limit() -> i32 {
    DEFAULT_HISTORY_LIMIT
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
fn is_default_history_limit(limit: &i32) -> bool {
    *limit == DEFAULT_HISTORY_LIMIT
}

/// How the change spreads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReadySeconds < self.progressDeadlineSeconds").message("minReadySeconds must be less than progressDeadlineSeconds: no member would ever be healthy in time").reason(Reason::FieldValueInvalid).field_path(".minReadySeconds"))]
pub struct RolloutStrategy {
    /// Canary steps.
    pub canary: Canary,
    /// Who comes first, and how failure domains such as regions share the risk. Default: the named members in their order,
    /// then the selected ones by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<WaveOrder>,
    /// How many members may be in flux, that is assigned and not yet healthy, at once: a number of at
    /// least 1, or a percentage of the members planned up to the current step, rounded up. Default "10%".
    #[serde(default = "default_max_concurrency")]
    pub max_concurrency: IntOrPercent,
    /// How many members may fail before all of the rollout rolls back: a number, or a percentage of the members
    /// planned up to the current step, rounded down. A member that fails goes back to what it ran before, at once
    /// and alone; one failure more than this, or none healthy, and every touched member goes back. Default 0: the
    /// first failure rolls back.
    #[serde(default = "default_max_failures")]
    #[schemars(extend("minimum" = 0, "pattern" = "^(100|[1-9]?[0-9])%$"))]
    pub max_failures: IntOrPercent,
    /// How far failures may overshoot maxFailures. Soft: members in flux are limited by maxConcurrency alone, so all of
    /// them may turn out to fail. Strict: no more members are in flux than may still fail, and one, so failures never
    /// exceed maxFailures by more than the one that ends the run; this is slower. Default Soft.
    #[serde(default)]
    pub failure_tolerance: FailureTolerance,
    /// How many members of the waves begun may be silent without holding the run: a number, or a percentage of the
    /// members planned up to the current step, rounded down. It is a budget of its own: silence is no failure. A silent
    /// member is not waited for; it is owed the revision, and gets it when it is heard again. Default 0: the first
    /// silent one holds the run.
    #[serde(default = "default_max_failures")]
    #[schemars(extend("minimum" = 0, "pattern" = "^(100|[1-9]?[0-9])%$"))]
    pub max_unreachable: IntOrPercent,
    /// Seconds that one member may take from its assignment until it is healthy. A member that takes longer has
    /// failed; its return may take as long again. 1 to 86400, default 600.
    #[serde(default = "default_progress_deadline")]
    #[schemars(range(min = 1, max = 86_400))]
    pub progress_deadline_seconds: i64,
    /// Seconds that a member must be healthy without a break before it counts as healthy; until then it is in flux. Part
    /// of progressDeadlineSeconds, and less than it. 0 to 86399, default 0: it counts at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_399))]
    pub min_ready_seconds: i64,
}

/// In which order selected members are updated, and how many of a failure domain at once. Those named in targetClusters come
/// before, in their own order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.priorityLabel) || has(self.spreadBy)").message("give priorityLabel, spreadBy or both").reason(Reason::FieldValueRequired))]
#[x_kube(validation = Rule::new("!has(self.maxPerDomain) || has(self.spreadBy)").message("maxPerDomain needs spreadBy, which says what a domain is").reason(Reason::FieldValueInvalid).field_path(".maxPerDomain"))]
pub struct WaveOrder {
    /// Label of MemberCluster objects whose value, a whole number, says who comes first: the smaller the earlier. Members
    /// without it, or with something else in it, come after all others. Default: none comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub priority_label: Option<String>,
    /// Label of MemberCluster objects that names the failure domain, for example topology.kubernetes.io/region. Members of
    /// the same priority are taken from one domain after the other, and one of each domain is kept for the end, so that
    /// no early wave has a whole domain in it. Members without the label are a domain of their own. Default: no domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub spread_by: Option<String>,
    /// How many members of one domain may be in flux at once, beside maxConcurrency: a number of at least 1, or a
    /// percentage of the rollout's members in that domain, rounded up. It doesn't limit a rollback. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_domain: Option<IntOrPercent>,
}

/// How far failures may overshoot `maxFailures`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureTolerance {
    /// By less than what is in flux.
    #[default]
    Soft,
    /// By the one that ends the run.
    Strict,
}

/// What is done about members that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Automatic: a member that fails, that is passes its deadline or is unhealthy for 60 seconds after having been
    /// healthy, goes back to what it ran before, and past maxFailures every touched member does. Manual: nothing goes
    /// back; the run holds until the members are healthy or the payload changes. Default Automatic.
    #[serde(default)]
    pub mode: RollbackMode,
    /// Who goes back past maxFailures. Fleet: every member that this rollout has touched since it last succeeded.
    /// Member: only those that fail; those in flux are waited for, those that are healthy keep the revision, and the run
    /// ends as Failed. Either way the revision is in quarantine. Default Fleet.
    #[serde(default)]
    pub scope: RollbackScope,
    /// How many members may be going back at once in a rollback: a number of at least 1, or a percentage of the members
    /// that were touched, rounded up. Default "100%".
    #[serde(default = "default_return_concurrency")]
    pub max_concurrency: IntOrPercent,
}

/// Who takes members back to what they ran before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackMode {
    /// The controller, as soon as members fail.
    #[default]
    Automatic,
    /// Nobody: the run holds.
    Manual,
}

/// Who goes back when too many members have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackScope {
    /// Every touched member.
    #[default]
    Fleet,
    /// Only those that fail.
    Member,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            mode: RollbackMode::default(),
            scope: RollbackScope::default(),
            max_concurrency: default_return_concurrency(),
        }
    }
}

/// Canary steps, and what follows the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// Steps, in order; after the last one comes an implicit step to 100 percent. 1 to 32 steps whose
    /// setWeight never decreases.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.map(step, step.setWeight).isSorted()").message("setWeight must not decrease from one step to the next").reason(Reason::FieldValueInvalid))]
    pub steps: Vec<Step>,
    /// Seconds that the whole fleet must stay healthy after the implicit last step before the rollout is
    /// Succeeded. 0 to 2592000 (30 days); default: the longest pause of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub soak_seconds: Option<i64>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Percent of the members that run the change after this step, those of earlier steps included;
    /// rounded up, at least one member. 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub set_weight: i32,
    /// Whole seconds to wait after all members of the step are healthy. 0 to 2592000 (30 days), default 0:
    /// go on as soon as they are healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub pause: Option<i64>,
    /// Required: after the pause the step waits until a person approves it (RolloutAction Approve). Default: it goes on by
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// Whether a step waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// It does.
    Required,
}

fn default_max_concurrency() -> IntOrPercent {
    IntOrPercent::Percent(10)
}

fn default_max_failures() -> IntOrPercent {
    IntOrPercent::Count(0)
}

fn default_return_concurrency() -> IntOrPercent {
    IntOrPercent::Percent(100)
}

fn default_progress_deadline() -> i64 {
    600
}
