//! The rollouts whose present status this term of the Lease has told the hub.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names of rollouts; at most as many as there are assignments.
#[derive(Debug, Default)]
pub struct Said(Mutex<BTreeSet<String>>);

impl Said {
    /// A term begins: whatever terms before have said may not have arrived.
    pub fn restart(&self) {
        self.lock().clear();
    }

    /// The present status is on its way.
    pub fn note(&self, rollout: &str) {
        self.lock().insert(rollout.to_owned());
    }

    /// The status may be another one now.
    pub fn forget(&self, rollout: &str) {
        self.lock().remove(rollout);
    }

    /// Whether the present status was said.
    pub fn knows(&self, rollout: &str) -> bool {
        self.lock().contains(rollout)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A panic can't leave the set half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_says_everything_once() {
        let said = Said::default();
        assert!(!said.knows("a"));
        said.note("a");
        said.note("b");
        assert!(said.knows("a"));
        said.forget("a");
        assert!(!said.knows("a") && said.knows("b"));
        said.restart();
        assert!(!said.knows("b"));
    }
}
