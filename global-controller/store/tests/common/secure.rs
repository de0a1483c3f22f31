//! A certificate authority of a test, and what it signs.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use axum::Router;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use mutual_tls::Role;
use mutual_tls::{Credentials, client, serve};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn credentials(&self, role: Role, name: &str) -> Credentials {
        let (ca, own, key) = self.pem(role, name);
        Credentials::from_pem(ca.as_bytes(), own.as_bytes(), key.as_bytes()).unwrap()
    }

    /// Writes credentials as files, for another process.
    pub fn write(&self, role: Role, name: &str, folder: &Path) {
        let (ca, own, key) = self.pem(role, name);
        std::fs::create_dir(folder).unwrap();
        for (file, contents) in [("ca.crt", ca), ("tls.crt", own), ("tls.key", key)] {
            std::fs::write(folder.join(file), contents).unwrap();
        }
    }

    /// The authority, a certificate and its key.
    pub fn pem(&self, role: Role, name: &str) -> (String, String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, role.organization());
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (self.issuer.pem(), certificate.pem(), key.serialize_pem())
    }

    pub fn client(&self, role: Role, name: &str) -> reqwest::Client {
        client(&self.credentials(role, name), Role::Replica).unwrap()
    }

    /// Serves as the replica `name` until `shutdown` fires.
    pub fn serve(
        &self,
        name: &str,
        listener: TcpListener,
        router: Router,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let credentials = self.credentials(Role::Replica, name);
        async move { serve(listener, &credentials, router, shutdown).await.unwrap() }
    }
}
