//! The hub, as the user reaches it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crds::{ClusterScopeRollout, RolloutAction};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::arguments::Connection;

/// Deadline of one answer of the hub.
const DEADLINE: Duration = Duration::from_secs(15);

/// The API server's code for an object that was written in between.
const CONFLICT: u16 = 409;

/// The hub's API server.
pub(crate) struct Hub {
    client: Client,
}

impl Hub {
    /// Reads the kubeconfig; nothing is asked yet.
    pub async fn connect(connection: &Connection) -> Result<Self> {
        let Connection { kubeconfig, context, as_user, as_groups } = connection;
        let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
        let mut config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("failed to read the kubeconfig \"{}\"", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        }
        .context("the kubeconfig does not fit: see kubectl config get-contexts")?;
        if let Some(user) = as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(as_groups.clone()).filter(|groups| !groups.is_empty());
        }
        Ok(Self { client: Client::try_from(config).context("failed to make a client from the kubeconfig")? })
    }

    pub fn rollouts(&self) -> Api<ClusterScopeRollout> {
        Api::all(self.client.clone())
    }

    pub fn actions(&self) -> Api<RolloutAction> {
        Api::all(self.client.clone())
    }

    pub async fn rollout(&self, name: &str) -> Result<ClusterScopeRollout> {
        let found = answer(self.rollouts().get_opt(name)).await?;
        found.with_context(|| format!("there is no rollout \"{name}\": see kubectl clusterrollout get"))
    }

    /// The user's name, as the API server knows it.
    pub async fn who(&self) -> Result<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
        let review = answer(reviews.create(&parameters, &question)).await?;
        let user = review.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username).context("the API server does not say who you are")
    }
}

/// Waits for an answer of the API server; what it refuses is said in its own words.
pub(crate) async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(DEADLINE, request).await;
    match answer.map_err(|_| anyhow!("the API server did not answer within {} s", DEADLINE.as_secs()))? {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(status)) => Err(anyhow!(status.message)),
        Err(error) => Err(anyhow::Error::from(error).context("failed to ask the API server")),
    }
}

/// The same for a write under a condition; none when the object was written in between.
pub(crate) async fn answer_unless_conflict<T>(request: impl Future<Output = kube::Result<T>>) -> Result<Option<T>> {
    let unless = async {
        match request.await {
            Ok(answer) => Ok(Some(answer)),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(None),
            Err(error) => Err(error),
        }
    };
    answer(unless).await
}
