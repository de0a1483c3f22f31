//! The network client to a replica of ours: one HTTP/2 connection over mutual TLS, as a gRPC client has it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use federated_store::{Op, TxnOutcome};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use store_node::{Reader, Txn, Writer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::service::{GET, MAX_KEY, RANGE, TXN, WATCH};

/// The largest answer: a page of 10,000 keys with 256-byte values, with room.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Keys of one page.
const MAX_PAGE: usize = 10_000;
/// Longest value in a page.
const MAX_VALUE: usize = 1024 * 1024;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Remote {
    requests: SendRequest<Body>,
    authority: Arc<str>,
}

impl Remote {
    /// Connects to `https://host:port`.
    pub async fn connect(url: &str, credentials: &Path) -> Result<Self> {
        let authority = url.strip_prefix("https://").context("not https")?;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let host = authority.split(':').next().context("no host")?.to_owned();
        let connector = TlsConnector::from(Arc::new(config(credentials)?));
        let stream = connector.connect(ServerName::try_from(host)?, stream).await?;
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its end shows in the requests that it ends.
            let _ = connection.await;
        });
        Ok(Self { requests, authority: authority.into() })
    }

    async fn call(&self, path: &str, body: Vec<u8>) -> Result<axum::http::Response<hyper::body::Incoming>> {
        let mut requests = self.requests.clone();
        requests.ready().await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}{path}", self.authority))
            .body(Body::from(body))?;
        let answer = requests.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let text = axum::body::to_bytes(Body::new(answer.into_body()), MAX_ANSWER_BYTES).await?;
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&text));
        }
        Ok(answer)
    }

    async fn ask(&self, path: &str, body: Vec<u8>) -> Result<Bytes> {
        let answer = self.call(path, body).await?;
        Ok(axum::body::to_bytes(Body::new(answer.into_body()), MAX_ANSWER_BYTES).await?)
    }

    /// A transaction without conditions.
    pub async fn txn(&self, then: Vec<Op>) -> Result<TxnOutcome> {
        let answer = self.ask(TXN, Txn::new(None, Vec::new(), then)?.encode()).await?;
        let revision = answer.as_ref().try_into().context("an answer of another length")?;
        Ok(TxnOutcome::Committed { revision: u64::from_le_bytes(revision) })
    }

    /// A linearizable get.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let mut answer = self.ask(GET, key.as_bytes().to_vec()).await?;
        Ok((answer.len() >= 8).then(|| answer.split_off(8)))
    }

    /// A page of a range, parsed whole: how many keys, and the last of them if more follow.
    pub async fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<(usize, Option<String>)> {
        let mut writer = Writer::default();
        writer.u32(u32::try_from(limit)?);
        writer.bytes(prefix.as_bytes());
        writer.bytes(after.unwrap_or_default().as_bytes());
        let mut reader = Reader::new(self.ask(RANGE, writer.finish()).await?);
        reader.u64("revision")?;
        let more = reader.flag("more")?;
        let count = reader.count("items", MAX_PAGE)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let key = reader.text("key", MAX_KEY)?;
            let revision = reader.u64("revision")?;
            items.push((key, revision, reader.bytes("value", MAX_VALUE)?));
        }
        reader.finish()?;
        Ok((items.len(), items.pop().filter(|_| more).map(|(key, ..)| key)))
    }

    /// The values put under a prefix from now on.
    pub async fn watch(&self, prefix: &str) -> Result<BoxStream<'static, Bytes>> {
        let answer = self.call(WATCH, prefix.as_bytes().to_vec()).await?;
        let chunks = Body::new(answer.into_body()).into_data_stream();
        Ok(chunks.filter_map(|chunk| async move { chunk.ok() }).boxed())
    }
}

fn config(credentials: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(credentials.join("ca.crt"))?)?;
    let chain = vec![CertificateDer::from_pem_file(credentials.join("tls.crt"))?];
    let key = PrivateKeyDer::from_pem_file(credentials.join("tls.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
