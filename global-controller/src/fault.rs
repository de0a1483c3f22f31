//! Places at which the process can be made to die as by `kill -9`, and a clock that can be set wrong: for tests only.
//!
//! `CLUSTERROLLOUT_FAULT_FILE` names a file. While it is there and says `STAGE` or `STAGE:N`, the leader kills itself at
//! its N-th passage of that stage (N is 1 unless given). It removes the file first, so that one file means one death,
//! whichever replica leads, and the process that is started in its place lives. Without the variable a passage is one
//! look at a constant.
//!
//! The file of the same name with `.clock` at its end, while it says `ID MILLISECONDS`, makes the clock of that replica
//! run so far ahead.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::World;

/// Names the file.
const VARIABLE: &str = "CLUSTERROLLOUT_FAULT_FILE";

/// Where a death leaves most half done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The hub's watch has handed a rollout over, and nobody was told of it.
    Watch,
    /// The start of a run was decided and is not committed.
    Plan,
    /// An assignment is committed and not sent by this replica.
    Act,
    /// A report has come in and is not written.
    Observe,
    /// Something was decided and is not committed.
    Decide,
    /// A rollout's new status is computed and not written.
    Publish,
    /// An alert, or its end, is committed, and nobody was told of it.
    Tell,
}

impl Stage {
    const ALL: [Self; 7] = [Self::Watch, Self::Plan, Self::Act, Self::Observe, Self::Decide, Self::Publish, Self::Tell];

    fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Plan => "plan",
            Self::Act => "act",
            Self::Observe => "observe",
            Self::Decide => "decide",
            Self::Publish => "publish",
            Self::Tell => "tell",
        }
    }
}

/// The file, and the passages since it says what it says.
#[derive(Debug)]
struct Armed {
    file: PathBuf,
    passages: Mutex<Passages>,
}

#[derive(Debug, Default)]
struct Passages {
    text: String,
    count: u32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Reads the environment. What is not armed at the start of the process never is.
pub(crate) fn arm() {
    let file = std::env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(file) = &file {
        let file = file.display();
        tracing::warn!(%file, "{VARIABLE} is set, which is for tests only: this process kills itself as that file says");
    }
    // The variable doesn't change while the process runs: a second call would say the same.
    let _ = ARMED.set(file.map(|file| Armed { file, passages: Mutex::default() }));
}

/// This process passes `stage`. It does not return if it is to die here.
pub(crate) fn pass(world: &World, stage: Stage) {
    let Some(Some(armed)) = ARMED.get() else { return };
    let leads = world.store.leadership().borrow().fence.is_some();
    if leads && armed.is_due(stage) {
        // Who removes it dies; whoever else has read it lives.
        let ours = std::fs::remove_file(&armed.file).is_ok();
        if ours {
            tracing::warn!(stage = stage.as_str(), "killing myself, as the fault's file says");
            // It can't fail: the process may signal itself, and the signal can't be caught.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}

/// By how many milliseconds the clock of this replica is to be ahead.
pub(crate) fn clock_skew(id: &str) -> i64 {
    let Some(Some(armed)) = ARMED.get() else { return 0 };
    let mut file = armed.file.clone().into_os_string();
    file.push(".clock");
    std::fs::read_to_string(file).ok().and_then(|text| parse_skew(&text, id)).unwrap_or(0)
}

fn parse_skew(text: &str, id: &str) -> Option<i64> {
    let (named, millis) = text.trim().split_once(' ')?;
    (named == id).then(|| millis.parse().ok())?
}

impl Armed {
    fn is_due(&self, stage: Stage) -> bool {
        let Ok(text) = std::fs::read_to_string(&self.file) else { return false };
        let Some((wanted, passage)) = parse(&text) else {
            tracing::error!(text, "the fault's file does not say STAGE[:N]");
            return false;
        };
        let mut passages = self.passages.lock().unwrap_or_else(PoisonError::into_inner);
        wanted == stage && passages.next(&text) >= passage
    }
}

impl Passages {
    /// Number of this passage, from 1, since the file says this.
    fn next(&mut self, text: &str) -> u32 {
        if self.text != text {
            *self = Self { text: text.to_owned(), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

fn parse(text: &str) -> Option<(Stage, u32)> {
    let (name, passage) = text.trim().split_once(':').unwrap_or((text.trim(), "1"));
    let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == name)?;
    passage.parse().ok().filter(|passage| *passage > 0).map(|passage| (stage, passage))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_names_a_stage_and_perhaps_which_passage_of_it() {
        assert_eq!(parse("watch\n"), Some((Stage::Watch, 1)));
        assert_eq!(parse("decide:3"), Some((Stage::Decide, 3)));
        for stage in Stage::ALL {
            assert_eq!(parse(stage.as_str()), Some((stage, 1)));
        }
        for bad in ["", "watching", "decide:", "decide:0", "decide:-1", ":2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_clock_is_set_wrong_for_the_replica_that_is_named() {
        assert_eq!(parse_skew("controller-2 -5000\n", "controller-2"), Some(-5_000));
        assert_eq!(parse_skew("controller-2 -5000", "controller-1"), None);
        assert_eq!(parse_skew("controller-2", "controller-2"), None);
    }

    #[test]
    fn passages_are_counted_from_when_the_file_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let armed = Armed { file: folder.path().join("fault"), passages: Mutex::default() };
        assert!(!armed.is_due(Stage::Act), "there is no file");
        std::fs::write(&armed.file, "act:2").unwrap();
        let due: Vec<bool> =
            [Stage::Act, Stage::Publish, Stage::Act].into_iter().map(|stage| armed.is_due(stage)).collect();
        assert_eq!(due, [false, false, true]);
        std::fs::write(&armed.file, "act:3").unwrap();
        assert!(!armed.is_due(Stage::Act), "another file counts afresh");
    }
}
