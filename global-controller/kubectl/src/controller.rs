//! The controller's own API, for what does not fit into objects of the hub.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crds::RolloutHistory;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Config};

/// Deadline of one answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// The runs of a rollout.
pub(crate) async fn history(controller: &str, name: &str) -> Result<RolloutHistory> {
    let address = controller.parse().with_context(|| format!("\"{controller}\" is no URL of a controller"))?;
    let client = Client::try_from(Config::new(address)).context("failed to make a client of the controller")?;
    let request = Request::new(format!("/api/v1/rollouts/{name}")).get("history", &GetParams::default())?;
    let answer = tokio::time::timeout(DEADLINE, client.request::<RolloutHistory>(request)).await;
    let unreachable = || {
        format!(
            "failed to ask the controller at {controller}: name another with --controller, or run kubectl port-forward to its port for people"
        )
    };
    match answer.map_err(|_| anyhow!("it did not answer within {} s", DEADLINE.as_secs())).with_context(unreachable)? {
        Ok(history) => Ok(history),
        Err(kube::Error::Api(status)) => Err(anyhow!("the controller says {}: {}", status.code, status.message)),
        Err(error) => Err(error).with_context(unreachable),
    }
}
