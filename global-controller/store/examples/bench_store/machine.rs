//! What /proc and the disk say of processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The kernel reports processor time in hundredths of a second on every platform that Rust has.
const TICK: Duration = Duration::from_millis(10);
/// Threads of this store begin with it; what they do is the server's work and not its callers'.
const STORE_THREADS: &str = "store-";
/// `st_blocks` counts in these, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// Processor time of a process so far, user and system.
pub fn process_time(id: u32) -> Result<Duration> {
    let path = format!("/proc/{id}/stat");
    time_of(&fs::read_to_string(&path).with_context(|| format!("failed to read '{path}'"))?)
}

/// Processor time of this process's own store threads so far.
pub fn store_threads_time() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir("/proc/self/task")? {
        let folder = entry?.path();
        // A thread may end while we look.
        let Ok(name) = fs::read_to_string(folder.join("comm")) else { continue };
        let Ok(stat) = fs::read_to_string(folder.join("stat")) else { continue };
        if name.starts_with(STORE_THREADS) {
            sum += time_of(&stat)?;
        }
    }
    Ok(sum)
}

fn time_of(stat: &str) -> Result<Duration> {
    // The name, in parentheses, may hold anything; fields 14 and 15 of the line are 12th and 13th after it.
    let rest = stat.rsplit(')').next().context("no name in a stat line")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next().context("a stat line is short")?.parse::<u32>().context("no number in a stat line");
    Ok(TICK * (next()? + next()?))
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("failed to read '{path}'"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024)
}

/// What a folder takes on the disk.
pub fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list '{}'", folder.display()))? {
        let entry = entry?;
        // A file may be removed while we look.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += metadata.blocks() * BLOCK_BYTES;
        if metadata.is_dir() {
            sum += disk_bytes(&entry.path())?;
        }
    }
    Ok(sum)
}
