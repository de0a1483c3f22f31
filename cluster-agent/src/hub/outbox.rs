//! Reports on their way to the hub: the latest of each rollout, kept until the hub has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crds::{Report, Reports};
use tokio::sync::Notify;

use super::Hub;
use crate::logging::with_causes;
use crate::metrics::Metrics;
use crate::retry::{Backoff, chance};

/// Reports of one post; the hub takes as many.
const MAX_BATCH: usize = 256;
/// Rollouts with a report on its way: twice the fences that are kept.
const MAX_PENDING: usize = 4_096;

/// The latest report of each rollout that the hub does not have yet. Pure.
#[derive(Debug, Default)]
struct Pending {
    reports: BTreeMap<String, Report>,
}

impl Pending {
    /// Adds a report; an older one never hides a newer one. `false`: there is no room.
    fn put(&mut self, report: Report) -> bool {
        let order = |report: &Report| (report.status.fence, report.status.sequence);
        let is_full = self.reports.len() >= MAX_PENDING;
        match self.reports.get_mut(&report.rollout) {
            Some(known) if order(known) > order(&report) => {}
            Some(known) => *known = report,
            None if is_full => return false,
            None => drop(self.reports.insert(report.rollout.clone(), report)),
        }
        true
    }

    fn batch(&self, limit: usize) -> Vec<Report> {
        self.reports.values().take(limit).cloned().collect()
    }

    /// The hub has these. What came meanwhile stays.
    fn settle(&mut self, sent: &[Report]) {
        for report in sent {
            if self.reports.get(&report.rollout) == Some(report) {
                self.reports.remove(&report.rollout);
            }
        }
    }
}

/// Reports on their way.
#[derive(Debug)]
pub struct Outbox {
    pending: Mutex<Pending>,
    added: Notify,
    metrics: Arc<Metrics>,
}

impl Outbox {
    /// An empty one.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { pending: Mutex::default(), added: Notify::new(), metrics }
    }

    /// Adds a report.
    pub fn put(&self, report: Report) {
        if self.lock().put(report) {
            self.added.notify_one();
        } else {
            self.metrics.report("dropped", 1);
            tracing::error!("more than {MAX_PENDING} reports wait for the hub, dropped one");
        }
    }

    /// Sends reports for ever.
    pub async fn run(&self, hub: &Hub) {
        let mut backoff = Backoff::hub();
        let mut limit = MAX_BATCH;
        loop {
            let batch = self.lock().batch(limit);
            if batch.is_empty() {
                limit = MAX_BATCH;
                self.added.notified().await;
                continue;
            }
            let reports = Reports { reports: batch };
            match hub.post("/v1/reports", &reports).await {
                Ok(()) => {
                    backoff.reset();
                    self.settle(&reports.reports, "sent");
                }
                // One of them is at fault: the others go alone.
                Err(error) if error.is_refusal() && reports.reports.len() > 1 => limit = 1,
                Err(error) if error.is_refusal() => {
                    tracing::error!(error = with_causes(&error), "the hub refused a report, dropped it");
                    self.settle(&reports.reports, "refused");
                }
                Err(error) => {
                    self.metrics.report("failed", reports.reports.len());
                    tracing::warn!(error = with_causes(&error), "failed to send reports, trying again");
                    tokio::time::sleep(backoff.next(chance())).await;
                }
            }
        }
    }

    fn settle(&self, reports: &[Report], result: &'static str) {
        self.metrics.report(result, reports.len());
        self.lock().settle(reports);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // A panic can't leave the map half changed.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crds::{Fence, RolloutAssignmentStatus};

    use super::*;

    fn report(rollout: &str, generation: i64, sequence: i64) -> Report {
        Report {
            member: "east".to_owned(),
            rollout: rollout.to_owned(),
            rollout_uid: "uid".to_owned(),
            status: RolloutAssignmentStatus {
                fence: Fence { epoch: 1, generation },
                sequence,
                ..RolloutAssignmentStatus::default()
            },
        }
    }

    #[test]
    fn the_latest_report_of_a_rollout_wins() {
        let mut pending = Pending::default();
        for report in [report("a", 5, 2), report("b", 4, 1), report("a", 5, 1), report("a", 4, 9), report("a", 6, 1)] {
            assert!(pending.put(report));
        }
        assert_eq!(pending.batch(MAX_BATCH), [report("a", 6, 1), report("b", 4, 1)]);
    }

    #[test]
    fn what_comes_while_another_is_on_its_way_is_sent_too() {
        let mut pending = Pending::default();
        pending.put(report("a", 5, 1));
        let sent = pending.batch(MAX_BATCH);
        pending.put(report("a", 5, 2));
        pending.settle(&sent);
        assert_eq!(pending.batch(MAX_BATCH), [report("a", 5, 2)]);
        pending.settle(&[report("a", 5, 2)]);
        assert!(pending.batch(MAX_BATCH).is_empty());
    }

    #[test]
    fn the_outbox_is_bounded() {
        let mut pending = Pending::default();
        let added = (0..=MAX_PENDING).filter(|number| pending.put(report(&format!("r{number}"), 1, 1))).count();
        assert_eq!(added, MAX_PENDING);
        assert_eq!(pending.batch(MAX_BATCH).len(), MAX_BATCH);
    }
}
