//! The HTTP client of one server. Its certificates may change under it: then it is built anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::{Headers, ServerTls};

/// How often the files of certificates are looked at: a kubelet takes up to a minute to bring a new one.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// A handshake is two round trips; from another continent under a second.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read '{path}'")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to use the certificates")]
    Certificates(#[source] reqwest::Error),
    #[error("failed to build the client")]
    Client(#[source] reqwest::Error),
}

/// The client of one server.
pub(crate) struct Connection {
    address: String,
    tls: ServerTls,
    headers: Headers,
    built: Mutex<Option<Built>>,
}

struct Built {
    client: Client,
    files: Files,
    looked: Instant,
}

/// Contents of the certificates' files; only compared and parsed.
#[derive(PartialEq, Eq)]
struct Files {
    authority: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl Connection {
    pub(crate) fn new(address: &str, tls: &ServerTls, headers: &Headers) -> Self {
        Self { address: address.to_owned(), tls: tls.clone(), headers: headers.clone(), built: Mutex::new(None) }
    }

    /// The client. While new files can't be used the old client stays: they may be half written.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        let mut built = self.built.lock().await;
        if let Some(built) = &*built
            && built.looked.elapsed() < LOOK_EVERY
        {
            return Ok(built.client.clone());
        }
        let looked = Instant::now();
        let fresh = match (Files::read(&self.tls).await, built.take()) {
            (Ok(files), Some(old)) if old.files == files => Built { looked, ..old },
            (Ok(files), old) => match (self.build(&files), old) {
                (Ok(client), _) => Built { client, files, looked },
                (Err(error), Some(old)) => kept(&error, old, looked),
                (Err(error), None) => return Err(error),
            },
            (Err(error), Some(old)) => kept(&error, old, looked),
            (Err(error), None) => return Err(error),
        };
        Ok(built.insert(fresh).client.clone())
    }

    fn build(&self, files: &Files) -> Result<Client, Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_DEADLINE)
            .default_headers(header_map(&self.headers));
        // Without TLS the system's authorities needn't be there.
        let https = self.address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let authority = files.authority.as_deref().or((!https).then_some(&[]));
        if let Some(pem) = authority {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(Error::Certificates)?);
        }
        if let Some(pem) = &files.identity {
            builder = builder.identity(Identity::from_pem(pem).map_err(Error::Certificates)?);
        }
        builder.build().map_err(Error::Client)
    }
}

fn kept(error: &Error, old: Built, looked: Instant) -> Built {
    tracing::warn!(
        error = crate::logging::with_causes(error),
        "changed certificates of a server can't be used; the old ones stay"
    );
    Built { looked, ..old }
}

/// The configuration has checked names and values; what fits no header is no longer there.
fn header_map(headers: &Headers) -> HeaderMap {
    let pairs = headers.0.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::try_from(value.as_str()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name.as_str()).ok()?, value))
    });
    pairs.collect()
}

impl Files {
    async fn read(tls: &ServerTls) -> Result<Self, Error> {
        let authority = match &tls.authority {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let identity = match &tls.identity {
            Some((certificate, key)) => Some([read(certificate).await?, read(key).await?].join(&b'\n')),
            None => None,
        };
        Ok(Self { authority, identity })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Read { path: path.to_owned(), source })
}
