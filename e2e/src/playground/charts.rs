//! The charts' service accounts and roles: what controllers and agents may do, and tokens to do it with.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::assets::{Assets, Program};
use crate::control_plane::ControlPlane;
use crate::kubeconfig::{self, User};
use crate::repository;

/// Where the charts install.
pub(super) const NAMESPACE: &str = "rollout-system";
/// Life of a token: longer than anyone plays.
const TOKEN_LIFE: Duration = Duration::from_hours(10);
/// Deadline of one `helm template`.
const HELM_DEADLINE: Duration = Duration::from_mins(1);
/// Kinds that give rights or ask for them; the others run what the playground starts as plain processes.
const RIGHTS: [&str; 8] = [
    "Namespace",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Rights from both charts.
#[derive(Debug)]
pub(super) struct Charts {
    pub(super) hub: Rights,
    pub(super) member: Rights,
}

/// Rights from one chart.
#[derive(Debug)]
pub(super) struct Rights {
    /// Objects to apply, as YAML.
    pub(super) manifests: String,
    /// The service account under which the chart's pods run.
    account: String,
    namespace: String,
}

impl Charts {
    /// Renders them; `manifests` is that value of the agent's chart.
    pub(super) async fn render(assets: &Assets, manifests: &Value) -> Result<Self> {
        let hub = render(assets, "rollout-hub", &[]).await?;
        // Names and addresses have no part in the rights, but the chart insists on them.
        let manifests = format!("manifests={manifests}");
        let values =
            ["--set", "member.name=any", "--set", "hub.urls={https://127.0.0.1:7443}", "--set-json", &manifests];
        let member = render(assets, "rollout-member", &values).await?;
        Ok(Self { hub: Rights::of(&hub)?, member: Rights::of(&member)? })
    }
}

impl Rights {
    fn of(objects: &[Value]) -> Result<Self> {
        let account =
            objects.iter().find_map(|object| object["spec"]["template"]["spec"]["serviceAccountName"].as_str());
        let account = account.context("no pod of the chart names a ServiceAccount")?.to_owned();
        let namespace = objects.iter().find(|object| object["kind"] == "ServiceAccount");
        let namespace = namespace.and_then(|object| object["metadata"]["namespace"].as_str()).unwrap_or(NAMESPACE);
        let namespace = namespace.to_owned();
        let mut manifests = String::new();
        let mut push = |object: &Value| -> Result<()> {
            manifests.push_str("---\n");
            manifests.push_str(&crds::yaml::to_string(object).context("failed to write a chart's object")?);
            Ok(())
        };
        let is_right = |object: &&Value| RIGHTS.iter().any(|kind| object["kind"] == *kind);
        let named = objects.iter().filter(is_right).filter_map(|object| object["metadata"]["namespace"].as_str());
        let namespaces: BTreeSet<&str> = named.chain([namespace.as_str()]).collect();
        for namespace in namespaces {
            push(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
        }
        for object in objects.iter().filter(is_right) {
            push(object)?;
        }
        Ok(Self { manifests, account, namespace })
    }

    /// Writes a kubeconfig with a fresh token of the chart's service account.
    pub(super) async fn write_kubeconfig(&self, plane: &ControlPlane, path: &Path) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client().await?, &self.namespace);
        let seconds = i64::try_from(TOKEN_LIFE.as_secs()).context("a token can't live that long")?;
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(seconds), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(&self.account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("failed to get a token for {}", self.account))?;
        let token = answer.status.and_then(|status| status.token).context("the API server answered without a token")?;
        kubeconfig::write(path, plane.name(), plane.server(), &User::Token(token))
    }
}

/// `helm template` of a chart of ours, as objects.
pub(super) async fn render(assets: &Assets, chart: &str, values: &[&str]) -> Result<Vec<Value>> {
    let text = template(assets, chart, values).await?;
    crds::yaml::documents(&text).with_context(|| format!("chart \"{chart}\" renders to no YAML"))
}

/// `helm template` of a chart of ours, as text.
pub async fn template(assets: &Assets, chart: &str, values: &[&str]) -> Result<String> {
    let mut command = Command::new(assets.path(Program::Helm));
    command.args(["template", chart]).arg(repository().join("deploy/charts").join(chart));
    command.args(["--namespace", NAMESPACE]).args(values).kill_on_drop(true);
    let output = tokio::time::timeout(HELM_DEADLINE, command.output()).await.context("helm took over a minute")?;
    let output = output.context("failed to run helm")?;
    if !output.status.success() {
        bail!("helm template {chart} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("helm printed no text")
}
