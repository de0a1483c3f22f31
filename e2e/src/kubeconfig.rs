//! Kubeconfig files.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::pki::{Pair, write_secret};

/// How a kubeconfig's user proves who it is.
#[derive(Clone, Debug)]
pub enum User {
    /// By client certificate.
    Certificate(Pair),
    /// By bearer token.
    Token(String),
}

/// Where an API server is, and whose certificate it has.
#[derive(Clone, Debug)]
pub struct Server {
    /// Base URL.
    pub url: String,
    /// Certificate of the authority that signed the server's, PEM.
    pub ca: String,
}

/// Writes a kubeconfig that needs no other file.
pub fn write(path: &Path, cluster: &str, server: &Server, user: &User) -> Result<()> {
    let user = match user {
        User::Certificate(pair) => json!({
            "client-certificate-data": base64(&pair.certificate)?,
            "client-key-data": base64(&pair.key)?,
        }),
        User::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": server.url,
            "certificate-authority-data": base64(&server.ca)?,
        }}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": "user"}}],
        "current-context": cluster,
    });
    write_secret(path, &crds::yaml::to_string(&config).context("failed to write a kubeconfig")?)
}

fn base64(text: &str) -> Result<Value> {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).context("failed to encode a certificate")
}
