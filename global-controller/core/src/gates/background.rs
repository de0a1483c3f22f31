//! What is measured through the whole run (`analysis.background`): also while a wave goes out and between pauses, from the
//! first healthy updated member until the run ends.
//!
//! Its counts are its own, over the whole run. While a pause runs, each measurement of the pause's gate counts here too, so
//! that nothing is asked twice.

use super::{GateId, Judgement, Metric, OpenGate, Rule};
use crate::{Millis, Observations, RolloutState, Run};

impl<'a> OpenGate<'a> {
    /// The background of a run on its way; none where none is asked for.
    pub fn in_background(run: &'a Run) -> Option<Self> {
        let gate = run.gate.as_ref().filter(|gate| gate.pace.background && run.goes_forward())?;
        let id = GateId { run: run.number, step: 0, began_at: run.background_since };
        Some(Self { run, gate, id, ends_at: None, background: true })
    }

    /// Whether anything is measured at present.
    pub fn is_any(run: &Run) -> bool {
        OpenGate::of(run).is_some() || OpenGate::in_background(run).is_some()
    }

    /// Whether a metric is measured in it. Beside a control group, which only pauses have, a success rate that fails may be
    /// trouble that is everywhere, and no fault of the revision.
    pub(super) fn measures(&self, metric: &Metric) -> bool {
        match metric.rule {
            _ if !self.background => true,
            Rule::Values { .. } => true,
            Rule::SuccessRate { .. } => !self.compares(),
            Rule::Drop { .. } => false,
        }
    }

    /// The failure of the background, if one of its series has failed too often.
    pub(super) fn background_failure(
        &self,
        state: &RolloutState,
        observations: &Observations<'_>,
    ) -> Option<Judgement> {
        let all = self.series(state, observations);
        let mut exhausted = all.iter().filter(|one| one.is_exhausted(self)).peekable();
        let first = exhausted.peek()?;
        let (text, basis) = (first.worded_failure(self), first.basis());
        Some(Judgement::failed(text, exhausted.filter_map(|one| one.key.member.clone()).collect(), basis))
    }
}

impl Run {
    /// The background begins, or begins anew: what it has counted so far speaks of something else.
    pub(crate) fn begin_background(&mut self, now: Millis) {
        let background = self.gate.as_ref().is_some_and(|gate| gate.pace.background);
        self.background_since = if background { now } else { 0 };
    }
}
