//! The client: it shows our certificate, and talks only to servers of the role that it wants.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::credentials::{Credentials, Error, protocols, provider};
use crate::{Peer, Role};

/// A handshake is two round trips; from another continent under a second.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A peer that vanished without closing is noticed after seconds and not after TCP's quarter of an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A client for servers of one role. Requests have no deadline of their own: each caller sets it.
pub fn client(credentials: &Credentials, server: Role) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config(credentials, server)?)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE)
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .no_proxy();
    Ok(builder.build()?)
}

fn config(credentials: &Credentials, server: Role) -> Result<ClientConfig, Error> {
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&credentials.roots), provider()).build()?;
    let verifier = Arc::new(RoleVerifier { inner, role: server });
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    // "Dangerous" is any verifier of one's own; this one adds a condition to rustls's and takes none away.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = protocols();
    Ok(config)
}

#[derive(Debug)]
struct RoleVerifier {
    inner: Arc<WebPkiServerVerifier>,
    role: Role,
}

impl ServerCertVerifier for RoleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        match Peer::of(end_entity) {
            Some(peer) if peer.role == self.role => Ok(verified),
            _ => Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
