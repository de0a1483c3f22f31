//! Candidate for the crate `mutual-tls`: HTTP over mutual TLS, and who is at the other end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
pub use federated_store::standin::{Peer, Role};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub const REPLICA_ORGANIZATION: &str = "rollout.example.com:replicas";
pub const MEMBER_ORGANIZATION: &str = "rollout.example.com:members";
/// A handshake is two round trips; a connection that takes longer holds a task for nothing.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long open requests may finish after the shutdown fired; streams never do by themselves.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read '{path}'")]
    Read { path: String, source: std::io::Error },
    #[error("failed to read PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("TLS refused the certificates")]
    Tls(#[from] rustls::Error),
    #[error("failed to build the verifier of client certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("failed to build the client")]
    Client(#[from] reqwest::Error),
}

pub struct Credentials {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| Error::Read { path: path.display().to_string(), source })
        };
        Self::from_pem(&read("ca.crt")?, &read("tls.crt")?, &read("tls.key")?)
    }

    pub fn from_pem(ca: &[u8], cert: &[u8], key: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            roots.add(certificate?)?;
        }
        let chain = CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>()?;
        Ok(Self { roots: Arc::new(roots), chain, key: PrivateKeyDer::from_pem_slice(key)? })
    }

    fn server(&self) -> Result<ServerConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn client(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(Arc::clone(&self.roots));
        let mut config = builder.with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

pub fn client(credentials: &Credentials) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(credentials.client()?);
    // A peer that vanished without closing is noticed after seconds and not after TCP's quarter of an hour.
    let builder = builder.http2_keep_alive_interval(Duration::from_secs(5));
    let builder = builder.http2_keep_alive_timeout(Duration::from_secs(5)).http2_keep_alive_while_idle(true);
    Ok(builder.connect_timeout(Duration::from_secs(2)).https_only(true).no_proxy().build()?)
}

pub async fn serve(
    listener: TcpListener,
    credentials: &Credentials,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(Arc::new(credentials.server()?));
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let watcher = graceful.watcher();
                tokio::spawn(connection(stream, acceptor.clone(), router.clone(), watcher, shutdown.clone()));
            }
            // Out of files, most likely: others may close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    if let Ok(graceful) = Arc::try_unwrap(graceful) {
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    shutdown: CancellationToken,
) {
    // Small frames are sent when they are written: replicas wait for them.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates();
    let Some(peer) = certificates.and_then(|chain| chain.first()).and_then(|first| identify(first)) else { return };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    tokio::select! {
        _ = watcher.watch(serving) => {}
        () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {}
    }
}

fn identify(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let role = match subject.iter_organization().next()?.as_str().ok()? {
        REPLICA_ORGANIZATION => Role::Replica,
        MEMBER_ORGANIZATION => Role::Member,
        _ => return None,
    };
    Some(Peer { role, name: subject.iter_common_name().next()?.as_str().ok()?.to_owned() })
}
