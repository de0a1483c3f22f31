//! The controller's own API, for what the hub doesn't know.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deadline of one answer: a back-test may take two minutes.
const DEADLINE: Duration = Duration::from_secs(150);
/// How one gets to it from afar.
const HOW: &str =
    "for example http://127.0.0.1:8080 after `kubectl port-forward -n NAMESPACE statefulset/global-controller 8080`";

/// A controller's listener for people.
pub(crate) struct Controller {
    client: reqwest::Client,
    url: String,
}

impl Controller {
    /// The one at this base URL; nothing is asked yet.
    pub fn at(url: Option<&str>) -> Result<Self> {
        let Some(url) = url else {
            bail!("say where a controller listens for people (--url or CLUSTERROLLOUT_URL): {HOW}");
        };
        let builder = reqwest::Client::builder().timeout(DEADLINE);
        // Plain HTTP needs no authorities, and a machine may have none.
        let builder = if url.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().context("failed to make an HTTP client")?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }

    /// Posts to a path; what is refused is said in the controller's own words.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + ?Sized)) -> Result<T> {
        self.answer(self.client.post(self.path(path)).json(body)).await
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T> {
        let url = &self.url;
        let answer = request.send().await.with_context(|| format!("no controller answers at {url}: {HOW}"))?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("failed to read the answer of {url}"))?;
        ensure!(status.is_success(), "{}", said(status, &body));
        serde_json::from_slice(&body).with_context(|| format!("the answer of {url} is not what was expected"))
    }
}

fn said(status: reqwest::StatusCode, body: &[u8]) -> String {
    match String::from_utf8_lossy(body).trim() {
        "" => format!("the controller answered {status}"),
        words => words.to_owned(),
    }
}
