//! How much of everything: the full run for the record, the quick one for a look.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Names etcd's program.
const ETCD: &str = "ETCD";

/// What a run does.
pub struct Plan {
    /// Where the JSON goes.
    pub out: PathBuf,
    /// etcd's program.
    pub etcd: PathBuf,
    /// Pairs of each measure.
    pub pairs: usize,
    /// Of one load.
    pub window: Duration,
    /// Before each load: connections, caches, the log's first files.
    pub warm_up: Duration,
    /// Between loads: what one side still has to write must not slow the other.
    pub settle: Duration,
    /// Keys of the range.
    pub range_keys: usize,
    /// Puts whose way to 100 watchers is timed.
    pub fanouts: usize,
    /// Watchers whose memory is measured in a pair; those of all pairs together must fit the streams that a connection
    /// of ours bears, 1,024.
    pub watchers: usize,
    /// Leaders killed.
    pub kills: usize,
    /// Puts after which memory and disk are measured.
    pub puts: usize,
}

impl Plan {
    /// `QUICK=1`: one pair of each; else five, and fifty kills.
    pub fn from_environment() -> Result<Self> {
        let etcd = etcd()?;
        let quick = std::env::var("QUICK").is_ok_and(|value| value == "1");
        let default = if quick { "target/bench/store.json" } else { "docs/bench/store.json" };
        let out = std::env::var_os("OUT").map_or_else(|| PathBuf::from(default), PathBuf::from);
        let plan = if quick {
            Self {
                out,
                etcd,
                pairs: 1,
                window: Duration::from_secs(2),
                warm_up: Duration::from_millis(500),
                settle: Duration::from_millis(500),
                range_keys: 100_000,
                fanouts: 100,
                watchers: 2_000,
                kills: 5,
                puts: 200_000,
            }
        } else {
            Self {
                out,
                etcd,
                pairs: 5,
                window: Duration::from_secs(3),
                warm_up: Duration::from_millis(500),
                settle: Duration::from_millis(500),
                range_keys: 100_000,
                fanouts: 200,
                watchers: 800,
                kills: 50,
                puts: 1_000_000,
            }
        };
        Ok(plan)
    }
}

/// etcd's program, as the environment names it.
pub fn etcd() -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var_os(ETCD).with_context(|| format!("{ETCD} names no program of etcd"))?))
}
