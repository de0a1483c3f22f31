//! The controller's own API, for what does not fit into objects of the hub.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crds::{FullPayload, PlanAnswer, PlanRequest, Revision, RolloutHistory};
use kube::api::{GetParams, PostParams};
use kube::core::Request;
use kube::{Client, Config};
use serde::de::DeserializeOwned;

/// Deadline of one answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// The same of a plan: its back-test may take two minutes.
const PLAN_DEADLINE: Duration = Duration::from_secs(150);

/// The runs of a rollout.
pub(crate) async fn history(controller: &str, name: &str) -> Result<RolloutHistory> {
    let request = Request::new(format!("/api/v1/rollouts/{name}")).get("history", &GetParams::default())?;
    answer(controller, request, DEADLINE).await
}

/// The payload of one revision, with all that is in it.
pub(crate) async fn payload(controller: &str, name: &str, revision: &Revision) -> Result<FullPayload> {
    let path = format!("/api/v1/rollouts/{name}/payloads");
    let request = Request::new(path).get(revision.as_str(), &GetParams::default())?;
    answer(controller, request, DEADLINE).await
}

/// What a rollout would do.
pub(crate) async fn plan(controller: &str, request: &PlanRequest) -> Result<PlanAnswer> {
    let body = serde_json::to_vec(request).context("failed to write the rollout as JSON")?;
    let request = Request::new("/api/v1/plan").create(&PostParams::default(), body)?;
    answer(controller, request, PLAN_DEADLINE).await
}

async fn answer<T: DeserializeOwned>(
    controller: &str,
    request: http::Request<Vec<u8>>,
    deadline: Duration,
) -> Result<T> {
    let address = controller.parse().with_context(|| format!("\"{controller}\" is no URL of a controller"))?;
    let client = Client::try_from(Config::new(address)).context("failed to make a client of the controller")?;
    let answer = tokio::time::timeout(deadline, client.request::<T>(request)).await;
    let unreachable = || {
        format!(
            "failed to ask the controller at {controller}: name another with --controller, or run kubectl port-forward to its port for people"
        )
    };
    let late = |_| anyhow!("it did not answer within {} s", deadline.as_secs());
    match answer.map_err(late).with_context(unreachable)? {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(anyhow!("the controller says {}: {}", status.code, status.message)),
        Err(error) => Err(error).with_context(unreachable),
    }
}
