//! What the store has lost, by what the hub tells: a status is computed from committed records only, so it is never
//! ahead of them by itself.

use crds::ClusterScopeRolloutStatus;
use rollout_core::Header;

/// What the store lacks of a rollout. Deciding on what is left would take what members run now for their previous
/// state, and publishing it would overwrite what the hub still knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it, though the hub tells of a run.
    Everything,
    /// Its latest runs.
    LatestRuns,
    /// How its latest run ended.
    LatestEnd,
}

impl Loss {
    /// `told` is the status on the hub, `known` the header in the store; `None`: nothing is stored.
    pub fn of(told: &ClusterScopeRolloutStatus, known: Option<&Header>) -> Option<Self> {
        match known {
            None => (told.run > 0).then_some(Self::Everything),
            Some(known) if told.run > known.runs_started => Some(Self::LatestRuns),
            Some(known) => (told.settled_run > known.settled_run).then_some(Self::LatestEnd),
        }
    }

    /// For people: what is known.
    pub fn message(self) -> &'static str {
        match self {
            Self::Everything => "it tells of a run that the store does not know",
            Self::LatestRuns => "it tells of a later run than the store knows",
            Self::LatestEnd => "it tells of the end of a run that goes on by the store",
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_core::RolloutState;

    use super::*;

    fn told(run: i64, settled_run: i64) -> ClusterScopeRolloutStatus {
        ClusterScopeRolloutStatus { run, settled_run, ..ClusterScopeRolloutStatus::default() }
    }

    fn known(runs_started: i64, settled_run: i64) -> Header {
        Header { runs_started, settled_run, ..RolloutState::new("r", "u").header }
    }

    #[test]
    fn semantics_41_a_status_that_is_ahead_of_the_store_tells_of_a_loss() {
        assert_eq!(Loss::of(&told(1, 0), None), Some(Loss::Everything));
        assert_eq!(Loss::of(&told(3, 1), Some(&known(2, 1))), Some(Loss::LatestRuns));
        assert_eq!(Loss::of(&told(1, 0), Some(&known(0, 0))), Some(Loss::LatestRuns));
        assert_eq!(Loss::of(&told(2, 2), Some(&known(2, 1))), Some(Loss::LatestEnd));
    }

    #[test]
    fn a_status_that_equals_the_store_or_lags_behind_it_is_no_loss() {
        assert_eq!(Loss::of(&told(0, 0), None), None);
        assert_eq!(Loss::of(&told(0, 0), Some(&known(0, 0))), None);
        assert_eq!(Loss::of(&told(3, 3), Some(&known(3, 3))), None);
        assert_eq!(Loss::of(&told(2, 1), Some(&known(3, 2))), None);
    }
}
