//! What the store has lost, by what the hub tells: a status is computed from committed records only, so it is never
//! ahead of them by itself.

/// What the store lacks of a rollout. Deciding on what is left would take what members run now for their previous
/// state, and publishing it would overwrite what the hub still knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it, though the hub tells of a run.
    Everything,
    /// Its latest runs.
    LatestRuns,
}

impl Loss {
    /// `told` is the number of the run in the hub's status, `known` that of the latest in the store; `None`: nothing is
    /// stored.
    pub fn of(told: i64, known: Option<i64>) -> Option<Self> {
        match known {
            None => (told > 0).then_some(Self::Everything),
            Some(known) => (told > known).then_some(Self::LatestRuns),
        }
    }

    /// For people: what is known, and what to ask.
    pub fn message(self) -> &'static str {
        match self {
            Self::Everything => "the hub tells of a run that the store does not know: was the store lost?",
            Self::LatestRuns => "the hub tells of a later run than the store knows: was an older backup restored?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_only_the_hub_knows_was_lost() {
        assert_eq!(Loss::of(1, None), Some(Loss::Everything));
        assert_eq!(Loss::of(3, Some(2)), Some(Loss::LatestRuns));
        assert_eq!(Loss::of(1, Some(0)), Some(Loss::LatestRuns));
    }

    #[test]
    fn a_status_that_equals_the_store_or_lags_behind_it_is_no_loss() {
        assert_eq!(Loss::of(0, None), None);
        assert_eq!(Loss::of(0, Some(0)), None);
        assert_eq!(Loss::of(3, Some(3)), None);
        assert_eq!(Loss::of(2, Some(3)), None);
    }
}
