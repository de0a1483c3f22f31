//! The signals by which a person or a service manager ends a program.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM and SIGHUP, from the moment this value exists.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

impl Signals {
    /// Takes the signals over: from now on they end nothing by themselves.
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self([interrupt, terminate, listen(SignalKind::hangup())?]))
    }

    /// Waits for any of them.
    pub async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
