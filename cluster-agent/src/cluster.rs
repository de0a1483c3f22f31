//! The member's API server: one client, and a deadline on each call.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::response::StatusCause;
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
        /// Details of it.
        causes: Vec<StatusCause>,
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
        matches!(self, Self::Answer { code: 409, .. }) && self.contested().is_empty()
    }

    /// Fields that were to be applied, and that belong to somebody else.
    pub fn contested(&self) -> Vec<Contested> {
        let Self::Answer { code: 409, causes, .. } = self else { return Vec::new() };
        let ours = causes.iter().filter(|cause| cause.reason == "FieldManagerConflict");
        ours.map(|cause| Contested { field: cause.field.clone(), manager: manager_in(&cause.message) }).collect()
    }

    /// What the API server said when fields of a body that was to be applied are not those of its kind. It calls that
    /// its own error.
    pub fn untyped(&self) -> Option<&str> {
        match self {
            Self::Answer { code: 500, message, .. } if message.contains("failed to create typed") => Some(message),
            _ => None,
        }
    }

    /// Whether the agent has no right to do it, or something else in the API server forbids it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Answer { code: 403, .. })
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

/// A field that belongs to another field manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// Where it is, as the API server writes it: ".spec.replicas".
    pub field: String,
    /// Whose it is.
    pub manager: String,
}

/// The name in `conflict with "kubectl-edit" using apps/v1 at …`; all of the text where there is none.
fn manager_in(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// Waits for one call, at most [`DEADLINE`].
pub async fn call<T>(what: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => {
            let causes = status.details.map_or_else(Vec::new, |details| details.causes);
            Err(Error::Answer { what, code: status.code, message: status.message, causes })
        }
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
        Error::Answer { what: "set images", code, message: "no".to_owned(), causes: Vec::new() }
    }

    #[test]
    fn a_conflict_of_field_managers_is_told_from_a_change_in_between() {
        let cause = |reason: &str, field: &str, message: &str| StatusCause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: field.to_owned(),
        };
        let causes = vec![
            cause(
                "FieldManagerConflict",
                ".spec.replicas",
                r#"conflict with "hpa" with subresource "scale" using apps/v1"#,
            ),
            cause(
                "FieldManagerConflict",
                ".data.a",
                r#"conflict with "kubectl-edit" using v1 at 2026-01-01T00:00:00Z"#,
            ),
        ];
        let error = Error::Answer { what: "apply", code: 409, message: "2 conflicts".to_owned(), causes };
        assert!(!error.is_conflict());
        let contested: Vec<_> = error.contested().into_iter().map(|one| (one.field, one.manager)).collect();
        let pair = |field: &str, manager: &str| (field.to_owned(), manager.to_owned());
        assert_eq!(contested, [pair(".spec.replicas", "hpa"), pair(".data.a", "kubectl-edit")]);
        assert!(answer(409).contested().is_empty());
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
