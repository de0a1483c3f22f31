//! Who we are to a server: read where the configuration says, kept for a moment, shown nowhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::{Credentials, User};

/// Label that a Secret must carry, with the value that [`Purpose`] has: without it any Secret of the namespace could be
/// sent somewhere by a change of the configuration.
pub const SECRET_LABEL: &str = "rollout.example.com/credentials";
/// How long credentials are kept: a round asks for each member, and a rotated token is good for longer than this.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Deadline of reading a Secret.
const SECRET_DEADLINE: Duration = Duration::from_secs(5);
/// A token or a password is a line.
const MAX_BYTES: u64 = 64 * 1024;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read '{path}'")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("'{path}' is larger than {MAX_BYTES} bytes")]
    TooLarge { path: PathBuf },
    #[error("failed to read Secret '{name}'")]
    Secret { name: String, source: Box<kube::Error> },
    #[error("the hub gave no answer about Secret '{name}' in time")]
    SecretTimeout { name: String },
    #[error("Secret '{name}' does not carry the label {SECRET_LABEL}={value}")]
    SecretLabel { name: String, value: &'static str },
    #[error("Secret '{name}' has no key '{key}' with text in it")]
    SecretKey { name: String, key: String },
    #[error("there is no hub here to read Secret '{name}' from")]
    NoHub { name: String },
    #[error("the credentials have characters that no header can carry")]
    Characters,
}

/// What credentials are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Asking for metrics.
    Prometheus,
    /// Sending alerts, and telling us of them.
    Alertmanager,
    /// Sending events.
    Events,
}

impl Purpose {
    fn label_value(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
            Self::Events => "events",
        }
    }
}

/// Where Secrets are read.
#[derive(Clone)]
pub struct Secrets {
    hub: Option<(Client, String)>,
}

impl Secrets {
    /// Those of the controller's own namespace.
    pub fn of(client: Client, namespace: &str) -> Self {
        Self { hub: Some((client, namespace.to_owned())) }
    }

    /// None: a server that needs one can't be used.
    pub fn none() -> Self {
        Self { hub: None }
    }

    async fn read(&self, name: &str, key: &str, purpose: Purpose) -> Result<String, Error> {
        let own = || name.to_owned();
        let (client, namespace) = self.hub.as_ref().ok_or_else(|| Error::NoHub { name: own() })?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let read = tokio::time::timeout(SECRET_DEADLINE, secrets.get(name)).await;
        let read = read.map_err(|_| Error::SecretTimeout { name: own() })?;
        let secret = read.map_err(|source| Error::Secret { name: own(), source: Box::new(source) })?;
        let label = secret.metadata.labels.as_ref().and_then(|labels| labels.get(SECRET_LABEL));
        let value = purpose.label_value();
        if label.is_none_or(|found| found != value) {
            return Err(Error::SecretLabel { name: own(), value });
        }
        let text = secret.data.and_then(|mut data| data.remove(key)).and_then(|bytes| String::from_utf8(bytes.0).ok());
        text.filter(|text| !text.trim().is_empty()).ok_or_else(|| Error::SecretKey { name: own(), key: key.to_owned() })
    }
}

/// The header for one server, kept for a moment.
pub(crate) struct Authorization {
    credentials: Credentials,
    secrets: Secrets,
    purpose: Purpose,
    kept: Mutex<Option<(Instant, HeaderValue)>>,
}

impl Authorization {
    pub(crate) fn new(credentials: Credentials, secrets: Secrets, purpose: Purpose) -> Self {
        Self { credentials, secrets, purpose, kept: Mutex::new(None) }
    }

    /// The value of the header `authorization`; none where the server asks for nothing.
    pub(crate) async fn header(&self, now: Instant) -> Result<Option<HeaderValue>, Error> {
        if self.credentials == Credentials::None {
            return Ok(None);
        }
        // Held while reading, so that a round reads once.
        let mut kept = self.kept.lock().await;
        if let Some((read, header)) = &*kept
            && now.duration_since(*read) < KEPT_FOR
        {
            return Ok(Some(header.clone()));
        }
        let header = self.read().await?;
        *kept = Some((now, header.clone()));
        Ok(Some(header))
    }

    /// The server refused them: they are read again before the next attempt.
    pub(crate) async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    async fn read(&self) -> Result<HeaderValue, Error> {
        let text = match &self.credentials {
            Credentials::None => String::new(),
            Credentials::BearerFile(file) => format!("Bearer {}", line(file).await?),
            Credentials::Secret { name, key } => {
                format!("Bearer {}", self.secrets.read(name, key, self.purpose).await?.trim())
            }
            Credentials::Basic { user, password } => {
                let user = match user {
                    User::Name(name) => name.clone(),
                    User::File(file) => line(file).await?,
                };
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", line(password).await?)))
            }
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| Error::Characters)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// A file's text without the line feed that editors put behind it.
async fn line(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    if tokio::fs::metadata(path).await.map_err(unreadable)?.len() > MAX_BYTES {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    Ok(tokio::fs::read_to_string(path).await.map_err(unreadable)?.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn header(credentials: Credentials) -> Result<Option<HeaderValue>, Error> {
        Authorization::new(credentials, Secrets::none(), Purpose::Prometheus).header(Instant::now()).await
    }

    #[tokio::test]
    async fn files_become_a_header_that_is_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let (token, password) = (dir.path().join("token"), dir.path().join("password"));
        std::fs::write(&token, "hunter2\n").unwrap();
        std::fs::write(&password, " open sesame\r\n").unwrap();
        let bearer = header(Credentials::BearerFile(token)).await.unwrap().unwrap();
        assert_eq!(bearer, "Bearer hunter2");
        assert!(!format!("{bearer:?}").contains("hunter2"));
        let basic = Credentials::Basic { user: User::Name("aladdin".into()), password };
        // base64 of "aladdin: open sesame".
        assert_eq!(header(basic).await.unwrap().unwrap(), "Basic YWxhZGRpbjogb3BlbiBzZXNhbWU=");
        assert_eq!(header(Credentials::None).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_rotated_token_is_taken_up_after_a_while_or_at_once_when_the_old_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let write = |text: &str| std::fs::write(&token, text).unwrap();
        write("one");
        let authorization =
            Authorization::new(Credentials::BearerFile(token.clone()), Secrets::none(), Purpose::Prometheus);
        let start = Instant::now();
        let after = async |time: Duration| authorization.header(start + time).await.unwrap().unwrap();
        assert_eq!(after(Duration::ZERO).await, "Bearer one");
        write("two");
        assert_eq!(after(KEPT_FOR / 2).await, "Bearer one");
        assert_eq!(after(KEPT_FOR).await, "Bearer two");
        write("three");
        authorization.forget().await;
        assert_eq!(after(KEPT_FOR).await, "Bearer three");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_without_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let missing = header(Credentials::BearerFile(dir.path().join("none"))).await.unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
        let odd = dir.path().join("odd");
        std::fs::write(&odd, "hun\nter2").unwrap();
        assert!(!header(Credentials::BearerFile(odd)).await.unwrap_err().to_string().contains("hun"));
        let secret = header(Credentials::Secret { name: "s".into(), key: "k".into() }).await.unwrap_err();
        assert!(secret.to_string().contains("no hub here to read Secret 's'"), "{secret}");
    }
}
