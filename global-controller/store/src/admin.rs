//! Membership changes from outside: for a tool that holds a replica's certificate and runs beside the store.
//!
//! Any replica that can be reached will do; it brings the wish to the leader. A call that fails after it was sent
//! leaves open whether the change was made, so it isn't repeated at another replica: look at the members first.

use std::time::Duration;

use crate::handle::WriteError;
use crate::members::{CHANGE_DEADLINE, Granted, Member, Wish};
use crate::transport::admission::CLUSTER;
use crate::transport::hello::{bounded, describe};
use crate::transport::leader::Answer;
use crate::transport::members::MAX_ANSWER_BYTES;

/// A replica answers a wish within its own deadline; the rest is for the way there and back.
const DEADLINE: Duration = CHANGE_DEADLINE.saturating_add(Duration::from_secs(2));
/// Characters of a refusal that are shown.
const MAX_REASON_BYTES: usize = 4 * 1024;

/// Why a wish wasn't granted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No replica took the wish; nothing was done.
    #[error("no replica took the request: {reasons}")]
    Unreachable {
        /// What each url answered.
        reasons: String,
    },
    /// The store refused it, or it is unknown what became of it.
    #[error("the store didn't do it")]
    Store(#[from] WriteError),
}

/// All replicas, linearizable.
pub async fn members(client: &reqwest::Client, cluster: &str, urls: &[String]) -> Result<Vec<Member>, Error> {
    ask(client, cluster, urls, &Wish::List).await
}

/// See [`crate::Store::add_learner`].
pub async fn add_learner(
    client: &reqwest::Client,
    cluster: &str,
    urls: &[String],
    number: u64,
    id: &str,
    url: &str,
) -> Result<Vec<Member>, Error> {
    let (id, url) = (id.to_owned(), url.to_owned());
    ask(client, cluster, urls, &Wish::AddLearner { number, id, url }).await
}

/// See [`crate::Store::promote`].
pub async fn promote(client: &reqwest::Client, cluster: &str, urls: &[String], id: &str) -> Result<Vec<Member>, Error> {
    ask(client, cluster, urls, &Wish::Promote { id: id.to_owned() }).await
}

/// See [`crate::Store::remove`].
pub async fn remove(client: &reqwest::Client, cluster: &str, urls: &[String], id: &str) -> Result<Vec<Member>, Error> {
    ask(client, cluster, urls, &Wish::Remove { id: id.to_owned() }).await
}

async fn ask(client: &reqwest::Client, cluster: &str, urls: &[String], wish: &Wish) -> Result<Vec<Member>, Error> {
    let mut reasons = Vec::new();
    for url in urls {
        match ask_one(client, cluster, url, wish).await? {
            Ok(members) => return Ok(members),
            Err(reason) => reasons.push(format!("'{url}': {reason}")),
        }
    }
    Err(Error::Unreachable { reasons: reasons.join("; ") })
}

/// The inner error says that this replica did nothing, so another one may be asked.
async fn ask_one(
    client: &reqwest::Client,
    cluster: &str,
    url: &str,
    wish: &Wish,
) -> Result<Result<Vec<Member>, String>, WriteError> {
    let request = client.post(format!("{}/raft/members", url.trim_end_matches('/'))).header(CLUSTER, cluster);
    let unknown = |reason: String| WriteError::Unknown { reason };
    let answer = match request.json(wish).timeout(DEADLINE).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Ok(Err(describe(&error))),
        Err(error) => return Err(unknown(describe(&error))),
    };
    let status = answer.status();
    if !status.is_success() {
        let reason = bounded(answer, MAX_REASON_BYTES).await.ok().flatten().unwrap_or_default();
        return Ok(Err(format!("it answered {status}: {}", String::from_utf8_lossy(&reason))));
    }
    let bytes = bounded(answer, MAX_ANSWER_BYTES).await.map_err(|error| unknown(describe(&error)))?;
    match Answer::read(&bytes.ok_or_else(|| unknown("the answer is too long".to_owned()))?)? {
        Granted::Members(members) => Ok(Ok(members)),
        Granted::NotLeader => Ok(Err("it doesn't lead".to_owned())),
    }
}
