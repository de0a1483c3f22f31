//! The stream of changes of each replica has no gap, no repetition and the agreed contents, from its start or from the
//! snapshot that replaced its state.

use std::collections::BTreeMap;

use store_node::Changes;

use super::Check;
use crate::recorder::{Event, Seen};

#[derive(Default)]
pub struct Watches {
    position: BTreeMap<u64, u64>,
    agreed: BTreeMap<u64, Changes>,
}

impl Watches {
    pub fn restart(&mut self, replica: u64, revision: u64) {
        self.position.insert(replica, revision);
    }

    pub fn learn(&mut self, seen: &Seen) {
        if let Event::Applied { changes: Some(changes), .. } = &seen.event {
            self.agreed.entry(changes.revision).or_insert_with(|| changes.clone());
        }
    }

    pub fn check(&mut self, replica: u64, replaced: Option<u64>, changes: &[Changes]) -> Check {
        let position = self.position.entry(replica).or_default();
        if let Some(revision) = replaced {
            if revision < *position {
                return Err(format!("replica {replica} was replaced back from revision {position} to {revision}"));
            }
            *position = revision;
        }
        for change in changes {
            if change.revision != *position + 1 {
                return Err(format!("replica {replica} streams revision {} after {position}", change.revision));
            }
            if self.agreed.get(&change.revision).is_some_and(|agreed| agreed != change) {
                return Err(format!("replica {replica} streams another revision {} than was agreed", change.revision));
            }
            *position = change.revision;
        }
        Ok(())
    }
}
