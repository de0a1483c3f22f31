//! A certificate, its key, and the authority that both sides trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why credentials can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("failed to read '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no PEM.
    #[error("failed to parse {what} as PEM")]
    Pem {
        /// What should be in it.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in {what}")]
    Empty {
        /// What should be in it.
        what: &'static str,
    },
    /// The certificate's subject is not one of ours.
    #[error("the certificate's subject has no organization and common name of a replica or member")]
    Subject,
    /// The certificates don't fit each other, or the key doesn't fit.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// The verifier refuses the authority.
    #[error("failed to set up the check of certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The HTTP client can't be built.
    #[error("failed to build the client")]
    Client(#[from] reqwest::Error),
}

/// A certificate with its key, and the authority that the other side's must be of.
pub struct Credentials {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    subject: crate::Peer,
}

impl std::fmt::Debug for Credentials {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`, the names that a `kubernetes.io/tls` Secret has.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| Error::Read { path, source })
        };
        Self::from_pem(&read("ca.crt")?, &read("tls.crt")?, &read("tls.key")?)
    }

    /// Parses the same from PEM.
    pub fn from_pem(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for trusted in certificates("the authority's file", authority)? {
            roots.add(trusted)?;
        }
        let chain = certificates("the certificate's file", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| Error::Pem { what: "the key", source })?;
        let subject = chain.first().and_then(crate::Peer::of).ok_or(Error::Subject)?;
        Ok(Self { roots: Arc::new(roots), chain, key, subject })
    }

    /// Whom the certificate names: who we are.
    pub fn subject(&self) -> &crate::Peer {
        &self.subject
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let parsed = parsed.map_err(|source| Error::Pem { what, source })?;
    if parsed.is_empty() { Err(Error::Empty { what }) } else { Ok(parsed) }
}

/// Named, not taken from the process: several providers may be compiled in, and then rustls refuses to choose.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Protocols that both sides speak, the better one first.
pub(crate) fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
