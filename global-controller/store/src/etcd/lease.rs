//! A lease of the etcd, and for how long it may be trusted without asking.

use std::time::Duration;

use etcd_client::{Error, LeaseClient};
use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;

/// Before a renewal that failed is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A lease. The etcd counts from when a request *arrives*, we count from when it was *sent*, by this machine's
/// monotonic clock: what we trust ends first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) id: i64,
    duration: Duration,
    confirmed: Instant,
}

impl Lease {
    /// A new lease.
    pub(super) async fn grant(client: &mut LeaseClient, duration: Duration) -> Result<Self, Failure> {
        let confirmed = Instant::now();
        // At most a minute, see `EtcdConfig::check`.
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let granted = client.grant(seconds, None).await?;
        Ok(Self { id: granted.id(), duration: seconds_of(granted.ttl()), confirmed })
    }

    /// Until then nobody else can have the key that lies on this lease. A fifth is left for clocks that run apart.
    pub(super) fn trusted_until(&self) -> Instant {
        self.confirmed + self.duration * 4 / 5
    }

    /// When it is renewed next.
    pub(super) fn renew_at(&self) -> Instant {
        self.confirmed + self.duration / 3
    }

    /// The same lease, confirmed once more; `None` when it is over. Goes on until there is an answer: the caller knows
    /// how long it may take.
    pub(super) async fn renew(&self, client: &mut LeaseClient) -> Option<Self> {
        loop {
            let sent = Instant::now();
            // Each attempt is a stream of its own, so that a member that hangs is left for another.
            match timeout(self.duration / 3, client.keep_alive(self.id)).await {
                Ok(Ok(_)) => return Some(Self { confirmed: sent, ..*self }),
                Ok(Err(Error::LeaseKeepAliveError(_))) => return None,
                Ok(Err(error)) => tracing::debug!(%error, "a lease wasn't renewed, trying again"),
                Err(_) => tracing::debug!("no answer to the renewal of a lease, trying again"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(ttl.try_into().unwrap_or(0))
}
