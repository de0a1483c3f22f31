//! Files of received snapshots, on their way from the node, which takes or refuses them, to the writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Received snapshots that wait for their batch, by index.
#[derive(Debug, Default)]
pub(crate) struct Received {
    files: Mutex<HashMap<u64, PathBuf>>,
}

impl Received {
    /// Offers a file to the writer. One that waits already stays: the node took it, and takes no second one of its index.
    pub(crate) fn offer(&self, index: u64, file: &Path) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry(index).or_insert_with(|| file.to_owned());
    }

    /// Takes back what was offered, if it is this file that waits.
    pub(crate) fn withdraw(&self, index: u64, file: &Path) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.get(&index).is_some_and(|waiting| waiting == file) {
            files.remove(&index);
        }
    }

    /// The file to publish.
    pub(crate) fn take(&self, index: u64) -> Option<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_comes_twice_while_the_disk_is_slow_is_still_published() {
        let received = Received::default();
        let (first, second) = (Path::new("first"), Path::new("second"));
        received.offer(7, first);
        // The node took the first; the leader, whose answer got lost, sent it again, and the node refuses that.
        received.offer(7, second);
        received.withdraw(7, second);
        assert_eq!(received.take(7).as_deref(), Some(first));
    }

    #[test]
    fn a_refused_snapshot_is_not_published() {
        let received = Received::default();
        received.offer(7, Path::new("refused"));
        received.withdraw(7, Path::new("refused"));
        assert_eq!(received.take(7), None);
    }
}
