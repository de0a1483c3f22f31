//! The loop of the Lease's holder: takes assignments from the queue and works on several at once.

pub mod cache;
pub mod interests;
pub mod queue;
pub mod watches;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};

use self::cache::Cache;
use self::queue::{Finish, Queue};
use crate::logging::with_causes;
use crate::reconcile::{Error, Reconciler};

/// Assignments worked on at once; each waits for a few calls to the local API server.
const AT_ONCE: usize = 16;

/// Works for ever. What is under way ends when this future is dropped.
pub async fn run(cache: Arc<Cache>, queue: Arc<Queue>, reconciler: Arc<Reconciler>) {
    reconciler.said.restart();
    queue.restart(|| cache.names());
    let mut running = JoinSet::new();
    let mut names: HashMap<Id, String> = HashMap::new();
    loop {
        tokio::select! {
            name = queue.next(), if running.len() < AT_ONCE => {
                let (reconciler, rollout) = (Arc::clone(&reconciler), name.clone());
                let started = running.spawn(async move { reconciler.reconcile(&rollout).await });
                names.insert(started.id(), name);
            }
            Some(ended) = running.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
                let Some(name) = names.remove(&id) else { continue };
                queue.finish(&name, finish(&name, ended.map(|(_, result)| result)));
            }
        }
    }
}

/// A panic is an error of one assignment; the others go on.
fn finish(rollout: &str, ended: Result<Result<Finish, Error>, JoinError>) -> Finish {
    match ended {
        Ok(Ok(finish)) => finish,
        Ok(Err(error)) => {
            tracing::warn!(rollout, error = with_causes(&error), "failed to reconcile, trying again");
            Finish::Failed
        }
        Err(error) => {
            tracing::error!(rollout, %error, "a reconcile panicked");
            Finish::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_one_assignment_only() {
        let panicked = tokio::spawn(async { std::panic::resume_unwind(Box::new("a bug")) }).await;
        assert_eq!(finish("checkout", panicked), Finish::Failed);
    }
}
