//! Who may talk to whom, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use axum::{Extension, Router, routing::get};
use mutual_tls::{Credentials, Peer, Role, client, serve};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, organization: &str, name: &str) -> Result<Credentials, mutual_tls::Error> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Credentials::from_pem(self.0.pem().as_bytes(), certificate.as_bytes(), key.serialize_pem().as_bytes())
    }

    fn of(&self, role: Role, name: &str) -> Credentials {
        self.sign(role.organization(), name).unwrap()
    }
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    format!("{:?} {}", peer.role, peer.name)
}

/// Starts a server under these credentials; answers its url. It ends with the token.
async fn start(credentials: Credentials) -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let stopped = shutdown.clone();
    tokio::spawn(async move { serve(listener, &credentials, Router::new().route("/", get(who)), stopped).await });
    (url, shutdown)
}

async fn ask(client: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    client.get(url).timeout(Duration::from_secs(10)).send().await?.text().await
}

#[tokio::test]
async fn a_route_learns_role_and_name_from_the_certificate() {
    let authority = Authority::new();
    let (url, _shutdown) = start(authority.of(Role::Replica, "controller-1")).await;
    let member = client(&authority.of(Role::Member, "cluster10"), Role::Replica).unwrap();
    assert_eq!(ask(&member, &url).await.unwrap(), "Member cluster10");
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_role() {
    let authority = Authority::new();
    // A member's certificate is of the same authority and for the same address, and still no controller's.
    let (url, _shutdown) = start(authority.of(Role::Member, "cluster1")).await;
    let agent = client(&authority.of(Role::Member, "cluster2"), Role::Replica).unwrap();
    assert!(ask(&agent, &url).await.is_err());
    let controller = client(&authority.of(Role::Replica, "controller-1"), Role::Member).unwrap();
    assert!(ask(&controller, &url).await.is_ok());
}

#[tokio::test]
async fn strangers_are_refused_by_both_sides() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (url, _shutdown) = start(ours.of(Role::Replica, "controller-1")).await;
    let stranger = client(&theirs.of(Role::Member, "cluster1"), Role::Replica).unwrap();
    assert!(ask(&stranger, &url).await.is_err());
    let anonymous = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    // The process has no default provider, so the stranger without a certificate brings rustls's own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert!(ask(&anonymous.build().unwrap(), &url).await.is_err());
}

#[test]
fn a_certificate_of_no_known_organization_is_no_credential() {
    let error = Authority::new().sign("system:masters", "cluster1").unwrap_err();
    assert!(matches!(error, mutual_tls::Error::Subject), "{error}");
}

#[tokio::test]
async fn a_shutdown_ends_streams_that_never_end_by_themselves() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let endless = Router::new().route("/", get(std::future::pending::<String>));
    let credentials = authority.of(Role::Replica, "controller-1");
    let stopped = shutdown.clone();
    let serving = tokio::spawn(async move { serve(listener, &credentials, endless, stopped).await });
    let member = client(&authority.of(Role::Member, "cluster1"), Role::Replica).unwrap();
    let waiting = tokio::spawn(async move { ask(&member, &url).await });
    tokio::task::yield_now().await;
    shutdown.cancel();
    serving.await.unwrap().unwrap();
    assert!(waiting.await.unwrap().is_err());
}
