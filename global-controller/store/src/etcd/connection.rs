//! The connection to the etcd's members: made once, in the background if they can't be reached yet.

use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, Identity, KvClient, LeaseClient, TlsOptions, WatchClient,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::config::OpenError;
use crate::etcd_config::EtcdConfig;

/// A member that doesn't answer a connection attempt within this time is left for another.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// One attempt to connect, which with a user includes being recognised.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(4);
/// Before the next one.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Etcd takes pings more frequent than every 5 s for an attack and hangs up.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A connection whose ping isn't answered within this time is dead.
const PING_DEADLINE: Duration = Duration::from_secs(3);
/// Longest answer taken in. A page of 10,000 small keys is far below it, and larger ones are asked for in parts.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Longest message of a watch: up to 1,000 revisions come in one. Beyond it the keys are read again.
const MAX_EVENTS_BYTES: usize = 256 * 1024 * 1024;

/// A connection to all members; requests go to any that is there.
#[derive(Clone)]
pub(super) struct Connection {
    client: watch::Receiver<Option<Client>>,
}

impl Connection {
    /// Connects. What waiting can't mend is an error; members that can't be reached are tried until `closed` fires.
    pub(super) async fn open(config: &EtcdConfig, closed: CancellationToken) -> Result<Self, OpenError> {
        let endpoints = config.endpoints.clone();
        let options = options(config);
        let first = match timeout(ATTEMPT_DEADLINE, Client::connect(&endpoints, Some(options.clone()))).await {
            Ok(Ok(client)) => Some(client),
            Ok(Err(error)) if is_final(&error) => return Err(OpenError::Etcd(Box::new(error))),
            Ok(Err(_)) | Err(_) => None,
        };
        let connected = first.is_some();
        let (sender, client) = watch::channel(first);
        if !connected {
            tokio::spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = keep_trying(&endpoints, &options, &sender) => {}
                }
            });
        }
        Ok(Self { client })
    }

    /// The client, once there is one; `None` when the store was closed before.
    async fn client(&self) -> Option<Client> {
        let mut client = self.client.clone();
        // A sender that is gone has left its last word: the client, or nothing when it was told to stop.
        let _ = client.wait_for(Option::is_some).await;
        client.borrow().clone()
    }

    pub(super) async fn kv(&self) -> Option<KvClient> {
        Some(self.client().await?.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    pub(super) async fn watch(&self) -> Option<WatchClient> {
        Some(self.client().await?.watch_client().max_decoding_message_size(MAX_EVENTS_BYTES))
    }

    pub(super) async fn lease(&self) -> Option<LeaseClient> {
        Some(self.client().await?.lease_client())
    }
}

async fn keep_trying(endpoints: &[String], options: &ConnectOptions, sender: &watch::Sender<Option<Client>>) {
    let mut reported = false;
    loop {
        match timeout(ATTEMPT_DEADLINE, Client::connect(endpoints, Some(options.clone()))).await {
            Ok(Ok(client)) => {
                sender.send_replace(Some(client));
                return;
            }
            // Once: it is the same every half second.
            Ok(Err(error)) if !reported => tracing::warn!(%error, "the etcd can't be reached"),
            Err(_) if !reported => tracing::warn!("the etcd can't be reached: no answer in time"),
            Ok(Err(_)) | Err(_) => {}
        }
        reported = true;
        sleep(RETRY_PAUSE).await;
    }
}

fn is_final(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => matches!(Failure::from(Error::GRpcStatus(status.clone())), Failure::Refused(_)),
        _ => true,
    }
}

fn options(config: &EtcdConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_DEADLINE)
        .with_keep_alive(PING_EVERY, PING_DEADLINE)
        .with_keep_alive_while_idle(false)
        .with_tcp_keepalive(PING_EVERY)
        // A member that is cut off says so instead of keeping us waiting.
        .with_require_leader(true);
    if let Some(tls) = &config.tls {
        let mut wanted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
        if let Some((certificate, key)) = &tls.identity {
            wanted = wanted.identity(Identity::from_pem(certificate, key));
        }
        options = options.with_tls(wanted);
    }
    if let Some(user) = &config.user {
        options = options.with_user(&user.name, &user.password).with_auto_token_refresh(true);
    }
    options
}
