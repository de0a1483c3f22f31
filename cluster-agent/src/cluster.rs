//! The member's API server: one client, and a deadline on each call.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Deadline of one call. Objects here are small; an API server that takes longer is in trouble, and the caller
/// tries again.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// A handshake is a few round trips within a cluster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// API servers send a bookmark on each watch about once a minute; half as much again means a dead connection.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
/// Requests are at most a megabyte.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why something could not be had from the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer in time.
    #[error("failed to {what}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// What was tried.
        what: &'static str,
    },
    /// The API server said no.
    #[error("failed to {what}: {message} ({code})")]
    Answer {
        /// What was tried.
        what: &'static str,
        /// HTTP status.
        code: u16,
        /// What the API server said.
        message: String,
    },
    /// It was not reached, or its answer makes no sense.
    #[error("failed to {what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The kubeconfig is unusable.
    #[error("failed to use the kubeconfig '{path}'")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no kubeconfig, and this is no pod either.
    #[error("failed to find the API server: no --kubeconfig is given and this is no pod with a service account")]
    NotInCluster(#[source] Box<kube::config::InClusterError>),
}

impl Error {
    /// Whether the object was changed by somebody else in between, or exists already.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Answer { code: 409, .. })
    }

    /// Whether the object does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Answer { code: 404, .. })
    }

    /// What the API server said when it refuses the request as such: trying the same again is of no use until
    /// somebody changes something. Conflicts, timeouts and throttling are no refusals.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Answer { code, message, .. } if (400..500).contains(code) && ![408, 409, 429].contains(code) => {
                Some(message)
            }
            _ => None,
        }
    }

    /// What the API server said when it finds the object itself unfit: malformed, too large or invalid. What else it
    /// may refuse for a while (a role that is not bound yet, a CRD that is being replaced, an admission webhook) does
    /// not count.
    pub fn unfit(&self) -> Option<&str> {
        self.refusal().filter(|_| matches!(self, Self::Answer { code: 400 | 413 | 422, .. }))
    }
}

/// Waits for one call, at most [`DEADLINE`].
pub async fn call<T>(what: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(Error::Answer { what, code: status.code, message: status.message }),
        Ok(Err(source)) => Err(Error::Call { what, source: Box::new(source) }),
        Err(_) => Err(Error::Deadline { what }),
    }
}

/// Makes the client: from a kubeconfig, or from the service account of the pod. Connects to nothing yet.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|source| Error::NotInCluster(Box::new(source)))?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // Otherwise the idle time of a pooled connection counts against the next answer.
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|source| Error::Call { what: "set up the client", source: Box::new(source) })
}

async fn from_file(path: &Path) -> Result<Config, Error> {
    let wrong = |source| Error::Kubeconfig { path: path.display().to_string(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16) -> Error {
        Error::Answer { what: "set images", code, message: "no".to_owned() }
    }

    #[test]
    fn only_answers_that_stay_the_same_are_refusals() {
        for code in [400, 403, 404, 422] {
            assert_eq!(answer(code).refusal(), Some("no"), "{code}");
        }
        for code in [408, 409, 429, 500, 503] {
            assert_eq!(answer(code).refusal(), None, "{code}");
        }
        for code in [400, 413, 422] {
            assert_eq!(answer(code).unfit(), Some("no"), "{code}");
        }
        for code in [401, 403, 404, 408, 409, 429, 500, 503] {
            assert_eq!(answer(code).unfit(), None, "{code}");
        }
        assert!(answer(409).is_conflict());
        assert!(answer(404).is_missing());
    }
}
