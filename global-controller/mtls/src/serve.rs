//! The server: every caller shows a certificate of the authority, and routes learn whose.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Peer;
use crate::credentials::{Credentials, Error, protocols, provider};

/// A handshake is two round trips; a connection that takes longer holds a task for nothing.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long open requests may finish after the shutdown fired; streams never do by themselves.
const GRACE: Duration = Duration::from_secs(1);
/// Before accepting again when there are no file handles left: others may close some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer that vanished without closing is noticed after seconds, and its stream ends.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Requests of one connection at the same time; an agent has two or three, a replica a few dozen.
const MAX_STREAMS: u32 = 1_024;

/// Serves until `shutdown` fires. Each request's extensions hold the caller's [`Peer`]; a caller whose certificate
/// names no role of ours is hung up on.
pub async fn serve(
    listener: TcpListener,
    credentials: &Credentials,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(Arc::new(config(credentials)?));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, acceptor.clone(), router.clone(), graceful.watcher());
                let shutdown = shutdown.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

fn config(credentials: &Credentials) -> Result<ServerConfig, Error> {
    let roots = Arc::clone(&credentials.roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = protocols();
    Ok(config)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) {
    // Small frames are sent when they are written: replicas wait for them.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
        Err(_) => return tracing::debug!("a handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let Some(peer) = certificates.and_then(|chain| chain.first()).and_then(Peer::of) else {
        return tracing::warn!("hung up on a caller whose certificate names neither a replica nor a member");
    };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MAX_STREAMS);
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // An error is the caller's way of hanging up.
    let _ = watcher.watch(serving).await;
}
