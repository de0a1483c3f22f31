//! How the gates of a rollout would have done in the past: its pauses are taken as if they had been then, on what Prometheus
//! has kept, and judged as real ones are.
//!
//! A query that is asked so many seconds after a pause began is the same whenever it began. So the pauses begin at even
//! distances, and one question about several moments answers for all of them.

use std::collections::BTreeMap;

use crds::{BackTest, BackTestExample, BackTestedGate, Verdict, time_from_millis};
use rollout_core::{Answer, Ask, Measurement, Millis, Rehearsal, Sample, SampleKey, Samples};

use crate::measure::{Moments, Sources, Wanted, answers, plain, too_far_back, wanted};

/// Members of a gate that are asked about. Those of one question, and those of a large first wave.
pub(crate) const MAX_MEMBERS: usize = 100;
/// Measurements of one pause: they are taken further apart in a longer one.
pub(crate) const MAX_MEASUREMENTS: u32 = 20;
/// Pauses of one gate. With members and measurements these bound what is kept of the answers to some 30 MiB.
const MAX_PAUSES: i64 = 100;
/// Pauses that are shown of each sort that didn't pass.
const EXAMPLES: usize = 3;

/// When the pauses of a gate begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beginnings {
    first: Millis,
    step: Millis,
    count: i64,
}

/// Answers of one gate: of a series, so many milliseconds after the beginning, to each query, for each pause; or why it was
/// not asked about.
type Kept = BTreeMap<(Millis, SampleKey), Result<Vec<Vec<Answer>>, String>>;

/// Takes the gates, by the number of their step, over the seconds before `now`.
pub(crate) async fn run(sources: &Sources, gates: Vec<(usize, Rehearsal)>, seconds: i64, now: Millis) -> BackTest {
    let from = now - seconds * 1000;
    let mut test = BackTest {
        from: time_from_millis(from),
        to: time_from_millis(now),
        gates: Vec::new(),
        notes: gates.iter().flat_map(|(step, gate)| notes(*step, gate, seconds)).collect(),
    };
    for (step, gate) in gates {
        if gate.is_asked_by_members() {
            continue;
        }
        let Some(begin) = Beginnings::of(i64::from(gate.pause_seconds()), seconds, now) else { continue };
        let kept = ask(sources, &gate, begin).await;
        let taken = tokio::task::spawn_blocking(move || take(step, &gate, begin, &kept)).await;
        match taken {
            Ok(taken) => test.gates.push(taken),
            Err(error) => test.notes.push(format!("step {step} could not be judged: {error}")),
        }
    }
    test
}

impl Beginnings {
    /// Evenly over the time, none before the last has ended; none where one doesn't fit in.
    fn of(pause_seconds: i64, seconds: i64, now: Millis) -> Option<Self> {
        let count = (seconds / pause_seconds.max(1)).min(MAX_PAUSES);
        let step = if count > 1 { (seconds - pause_seconds) / (count - 1) } else { 1 };
        // Whole seconds, as Prometheus is asked about.
        let first = now.div_euclid(1000) - seconds;
        (count > 0).then_some(Self { first: first * 1000, step: step * 1000, count })
    }

    fn all(self) -> impl Iterator<Item = Millis> {
        (0..self.count).map(move |index| self.first + index * self.step)
    }
}

/// All that the pauses want to know, one moment after their beginning after the other.
async fn ask(sources: &Sources, gate: &Rehearsal, begin: Beginnings) -> Kept {
    let mut by_moment: BTreeMap<Millis, Vec<Ask>> = BTreeMap::new();
    for ask in gate.asks(begin.first) {
        by_moment.entry(ask.at).or_default().push(ask);
    }
    let judged = |ask: Ask| {
        let fit = too_far_back(&ask).map_or(Ok(()), Err);
        (ask, fit)
    };
    let mut kept = Kept::new();
    for (at, asks) in by_moment {
        let about = Moments::Each { first: at, step: begin.step, count: begin.count };
        let asks: Vec<(Ask, Result<(), String>)> = asks.into_iter().map(judged).collect();
        let fit = asks.iter().filter(|(_, fit)| fit.is_ok());
        let wanted: Vec<Wanted<'_>> = fit.flat_map(|(ask, _)| wanted(ask, about)).collect();
        let mut said = answers(sources, &wanted).await.into_iter();
        for (ask, fit) in asks {
            let said = said.by_ref().take(ask.queries.len());
            let its = fit.map(|()| said.map(|each| each.into_iter().map(plain).collect()).collect());
            kept.insert((at - begin.first, ask.key), its);
        }
    }
    kept
}

/// Takes all pauses on these answers.
fn take(step: usize, gate: &Rehearsal, begin: Beginnings, kept: &Kept) -> BackTestedGate {
    let mut tested = BackTestedGate {
        step,
        members: gate.members().1,
        pauses: 0,
        passed: 0,
        failed: 0,
        inconclusive: 0,
        no_data: 0,
        interval_seconds: gate.interval_seconds(),
        examples: Vec::new(),
    };
    for (index, began_at) in begin.all().enumerate() {
        let taken = gate.take(began_at, |ask, before| measured(ask, before, (ask.at - began_at, index), kept));
        tested.pauses += 1;
        let count = match taken.verdict {
            Verdict::Pass => {
                tested.passed += 1;
                continue;
            }
            Verdict::Fail => &mut tested.failed,
            Verdict::Inconclusive => &mut tested.inconclusive,
            Verdict::NoData => &mut tested.no_data,
        };
        *count += 1;
        if *count <= EXAMPLES {
            let (began_at, verdict, found) = (time_from_millis(began_at), taken.verdict, taken.found);
            tested.examples.push(BackTestExample { began_at, verdict, found });
        }
    }
    tested
}

fn measured(ask: &Ask, before: &Samples, (after, pause): (Millis, usize), kept: &Kept) -> Vec<(SampleKey, Sample)> {
    match kept.get(&(after, ask.key.clone())) {
        Some(Err(unfit)) => ask.measured(before, &Measurement::inconclusive(unfit)),
        Some(Ok(said)) => {
            let answers: Vec<Answer> = said.iter().filter_map(|each| each.get(pause).cloned()).collect();
            ask.answered(before, &answers)
        }
        None => ask.answered(before, &[]),
    }
}

/// In what it differs from a rollout.
fn notes(step: usize, gate: &Rehearsal, seconds: i64) -> Vec<String> {
    let mut notes = Vec::new();
    let pause = gate.pause_seconds();
    if gate.is_asked_by_members() {
        return vec![format!("step {step} is not tried: agents ask, each the Prometheus beside it (analysis.from)")];
    }
    if i64::from(pause) > seconds {
        return vec![format!(
            "step {step} is not tried: its pause of {pause} s is longer than the {seconds} s to look at"
        )];
    }
    if let (all, asked) = gate.members()
        && asked < all
    {
        notes.push(format!("step {step}: the first {asked} of its {all} members are asked about"));
    }
    if let Some(interval) = gate.stretched_from() {
        let now = gate.interval_seconds();
        notes.push(format!(
            "step {step}: measured every {now} s instead of {interval} s, so failureLimit bears more time"
        ));
    }
    if gate.names_revision() {
        notes.push(format!("step {step}: a query is about {{{{revision}}}}, which nobody ran then: expect no data"));
    }
    if gate.left_alerts_out() {
        notes.push(format!("step {step}: alerts are left out, as nobody has kept which fired"));
    }
    notes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    const NOW: Millis = 1_767_225_600_500;

    #[test]
    fn pauses_are_spread_over_the_time_without_overlap_and_end_in_it() {
        let begin = Beginnings::of(300, 86_400, NOW);
        let Some(begin @ Beginnings { step, count: 100, .. }) = begin else { panic!("{begin:?}") };
        assert!(step >= 300_000);
        let all: Vec<Millis> = begin.all().collect();
        assert!(all.iter().all(|at| at % 1000 == 0 && *at >= NOW - 86_401_000 && at + 300_000 <= NOW));
        assert_eq!(Beginnings::of(300, 900, NOW).map(|begin| begin.count), Some(3));
        assert_eq!(Beginnings::of(300, 300, NOW).map(|begin| begin.count), Some(1));
        assert_eq!(Beginnings::of(300, 299, NOW), None);
    }
}
