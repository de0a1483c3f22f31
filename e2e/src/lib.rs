//! Real control planes on loopback, the playground made of them, the demo and what the end-to-end tests share.
//!
//! Nothing is mocked: each cluster is etcd, a kube-apiserver and, in members, the controllers, a scheduler
//! and kwok's nodes. Every child process ends with the process that started it, however that one ends.

pub mod alertmanager;
pub mod assets;
pub mod cluster_client;
pub mod control_plane;
pub mod demo;
pub mod harness;
pub mod image_watch;
pub mod kubeconfig;
pub mod kubectl;
pub mod part;
pub mod pki;
pub mod playground;
pub mod ports;
pub mod process;
pub mod progress;
pub mod prometheus;
pub mod signals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Root of the repository: where `deploy` and the workspace's `Cargo.toml` are.
pub fn repository() -> PathBuf {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e).to_path_buf()
}

/// Makes ring the provider of every TLS connection of this process. Several may be compiled in, and then
/// rustls refuses to choose. Calling it again does nothing.
pub fn install_crypto_provider() {
    // An error only says that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The end of a program: an error is printed as one line of causes. (`main` returning it would add a backtrace
/// wherever `RUST_BACKTRACE` is set, which helps nobody who mistyped a name.)
pub fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
