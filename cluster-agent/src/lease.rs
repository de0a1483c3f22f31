//! The Lease `cluster-agent`: of all pods in the member, only its holder acts, reports and introduces itself.
//! Client required.

pub mod decision;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

use self::decision::{DURATION, Decision, GIVE_UP, Observer, RENEW, Seen};
use crate::cluster::{Error, call};
use crate::logging::with_causes;
use crate::operations::Vitals;

/// Name of the Lease.
const LEASE: &str = "cluster-agent";
/// Before trying again after a failure; a few fit before the holder has to give up.
const RETRY: Duration = Duration::from_secs(1);
/// Between looks while somebody else holds it: a released Lease is noticed soon.
const LOOK: Duration = Duration::from_secs(3);
/// A release at shutdown is a courtesy; the next holder waits 15 s without it.
const RELEASE_DEADLINE: Duration = Duration::from_secs(1);

/// Tells whether this process holds the Lease.
#[derive(Clone, Debug)]
pub struct Held(watch::Receiver<Option<Instant>>);

impl Held {
    /// Whether it is held at this moment.
    pub fn now(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it is held. Ends only with the process.
    pub async fn gained(&mut self) {
        while !self.now() {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is held no longer.
    pub async fn lost(&mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Takes, renews and releases the Lease.
#[derive(Debug)]
pub struct Keeper {
    api: Api<Lease>,
    identity: String,
    held: watch::Sender<Option<Instant>>,
    vitals: Arc<Vitals>,
}

impl Keeper {
    /// For the Lease in this namespace, under this identity.
    pub fn new(client: Client, namespace: &str, identity: &str, vitals: Arc<Vitals>) -> (Self, Held) {
        let (held, receiver) = watch::channel(None);
        let keeper = Self { api: Api::namespaced(client, namespace), identity: identity.to_owned(), held, vitals };
        (keeper, Held(receiver))
    }

    /// Keeps trying for the Lease, and keeps it, for ever.
    pub async fn run(&self) {
        let mut observer = Observer::default();
        loop {
            self.vitals.beat();
            // Counted from before the request: what others see is later than this.
            let asked = Instant::now();
            let pause = match self.attempt(&mut observer).await {
                Ok(Decision::Take) => {
                    self.vitals.answered();
                    if self.held.send_replace(Some(asked + GIVE_UP)).is_none() {
                        tracing::info!(identity = self.identity, "holds the Lease");
                    }
                    RENEW
                }
                Ok(Decision::Wait) => {
                    self.vitals.answered();
                    if self.held.send_replace(None).is_some() {
                        tracing::warn!(identity = self.identity, "lost the Lease to another pod");
                    }
                    LOOK
                }
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "failed to take or renew the Lease");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Lets others take it at once, if it is held.
    pub async fn release(&self) {
        if self.held.send_replace(None).is_none() {
            return;
        }
        let release = async {
            let mut lease = call("read the Lease", self.api.get(LEASE)).await?;
            let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            call("release the Lease", self.api.replace(LEASE, &PostParams::default(), &lease)).await.map(drop)
        };
        match tokio::time::timeout(RELEASE_DEADLINE, release).await {
            Ok(Ok(())) => tracing::info!("released the Lease"),
            Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "failed to release the Lease"),
            Err(_) => tracing::warn!("failed to release the Lease in time"),
        }
    }

    async fn attempt(&self, observer: &mut Observer) -> Result<Decision, Error> {
        let found = call("read the Lease", self.api.get_opt(LEASE)).await?;
        let Some(mut lease) = found else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(LEASE.to_owned());
            self.sign(lease.spec.get_or_insert_default());
            let created = call("create the Lease", self.api.create(&PostParams::default(), &lease)).await;
            return taken(created.map(drop));
        };
        let spec = lease.spec.get_or_insert_default();
        let decision = observer.decide(&seen(spec), &self.identity, Instant::now());
        if decision == Decision::Wait {
            return Ok(Decision::Wait);
        }
        self.sign(spec);
        let replaced = call("renew the Lease", self.api.replace(LEASE, &PostParams::default(), &lease)).await;
        taken(replaced.map(drop))
    }

    fn sign(&self, spec: &mut LeaseSpec) {
        let now = MicroTime(Timestamp::now());
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
    }
}

/// A conflict means that somebody else wrote first: it is theirs.
fn taken(written: Result<(), Error>) -> Result<Decision, Error> {
    match written {
        Ok(()) => Ok(Decision::Take),
        Err(error) if error.is_conflict() => Ok(Decision::Wait),
        Err(error) => Err(error),
    }
}

fn seen(spec: &LeaseSpec) -> Seen {
    Seen {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        renewed: spec.renew_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0)),
    }
}
