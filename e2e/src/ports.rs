//! Loopback ports that stay ours, also while the program that listens on them is stopped.
//!
//! Binding port 0 and letting go is a race twice over: another test may get the port before our program
//! binds it, and later, while a part is stopped, any outgoing connection may be given it. So ports come
//! from below the kernel's range for outgoing connections, and each is held by a locked file for as long
//! as its owner lives. The kernel drops the lock with the process, so nothing needs to be cleaned up.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result, bail};

/// Lowest port handed out: below it live the well-known services of a developer's machine.
const FIRST: u16 = 12_000;
/// Default start of Linux's range for outgoing connections.
const USUAL_OUTGOING: u16 = 32_768;

/// A port on 127.0.0.1 that no other holder on this machine gets while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port.
    pub fn take() -> Result<Self> {
        // Another user's folder could not be written to.
        let user = fs::metadata("/proc/self").map(|process| process.uid()).unwrap_or_default();
        let folder = std::env::temp_dir().join(format!("clusterrollout-ports-{user}"));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create \"{}\"", folder.display()))?;
        let end = first_outgoing().max(FIRST + 1_000);
        for _ in FIRST..end {
            let number = next(end);
            if let Some(port) = Self::try_take(folder.join(number.to_string()), number) {
                return Ok(port);
            }
        }
        bail!("no free port from {FIRST} to {end} on 127.0.0.1")
    }

    fn try_take(file: PathBuf, number: u16) -> Option<Self> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(file).ok()?;
        lock.try_lock().ok()?;
        // A program that knows nothing of our locks may listen there.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _lock: lock })
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Candidates in order, from a random start, so that processes that start together seldom meet.
fn next(end: u16) -> u16 {
    static CURSOR: AtomicU16 = AtomicU16::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    let step = u64::from(CURSOR.fetch_add(1, Ordering::Relaxed));
    let offset = (start % u64::from(end - FIRST) + step) % u64::from(end - FIRST);
    FIRST + u16::try_from(offset).unwrap_or_default()
}

fn first_outgoing() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(USUAL_OUTGOING)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_never_handed_out_twice_while_held() {
        let ports: Vec<Port> = (0..50).map(|_| Port::take().unwrap()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }

    #[test]
    fn a_port_in_use_by_a_stranger_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = stranger.local_addr().unwrap().port();
        assert!(Port::try_take(folder.path().join("port"), number).is_none());
    }
}
