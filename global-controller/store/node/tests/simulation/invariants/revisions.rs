//! Revisions only rise, by one for each entry that changed something.

use std::collections::BTreeMap;

use super::Check;
use crate::recorder::{Event, Seen};

#[derive(Default)]
pub struct Revisions {
    last: BTreeMap<u64, u64>,
}

impl Revisions {
    pub fn restart(&mut self, replica: u64) {
        self.last.remove(&replica);
    }

    pub fn check(&mut self, replica: u64, seen: &Seen) -> Check {
        let before = self.last.insert(replica, seen.revision).unwrap_or(0);
        let fits = match &seen.event {
            Event::Applied { changes: Some(changes), .. } => {
                seen.revision == before + 1 && changes.revision == seen.revision
            }
            Event::Applied { changes: None, .. } | Event::Reconfigured => seen.revision == before,
            Event::Whole => seen.revision >= before,
        };
        if fits { Ok(()) } else { Err(format!("replica {replica} went from revision {before} to {seen:?}")) }
    }
}
