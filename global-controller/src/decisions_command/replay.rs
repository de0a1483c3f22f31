//! `decisions replay`: takes recorded decisions again, and compares.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use rollout_core::Decision;
use rollout_core::replay::{Outcome, Replayer, Unrecorded};

use super::source::{Source, Taken};
use crate::records::{DecisionRecord, RecordedEvent, Replayable, commands_of, events_of};

/// Arguments of `decisions replay`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let exported = arguments.source.read().await?;
    let (text, tally) = replay(&exported.decisions);
    print!("{text}");
    let different = tally.different;
    ensure!(different == 0, "{different} decisions came out different");
    Ok(())
}

/// How many came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    same: usize,
    different: usize,
    unreplayable: usize,
}

/// Takes all of them again. They are in the order of rollouts and numbers.
fn replay(decisions: &[Taken]) -> (String, Tally) {
    let (mut text, mut tally) = (String::new(), Tally::default());
    let mut replayer = Replayer::default();
    let mut before: Option<(&str, u64)> = None;
    for Taken { uid, record } in decisions {
        let number = record.decision.number;
        if before != number.checked_sub(1).map(|number| (uid.as_str(), number)) {
            replayer.forget();
        }
        before = Some((uid, number));
        let DecisionRecord { rollout, run, .. } = &record.decision;
        let verdict = judge(&mut replayer, record);
        match &verdict {
            Verdict::Same => tally.same += 1,
            Verdict::Different(_) => tally.different += 1,
            Verdict::Unreplayable(_) => tally.unreplayable += 1,
        }
        // Writing to a String can't fail.
        let _ = writeln!(text, "{rollout} #{number} of run {run}: {}", verdict.worded(record));
    }
    let Tally { same, different, unreplayable } = tally;
    let _ = write!(text, "replayed {} decisions: {same} the same", same + different);
    if different > 0 {
        let _ = write!(text, ", {different} different");
    }
    if unreplayable > 0 {
        let _ = write!(text, "; {unreplayable} could not be replayed");
    }
    text.push('\n');
    (text, tally)
}

enum Verdict {
    Same,
    /// Lines that say how.
    Different(Vec<String>),
    /// Why.
    Unreplayable(&'static str),
}

impl Verdict {
    fn worded(&self, record: &Replayable) -> String {
        match self {
            Self::Same => "the same".to_owned(),
            Self::Unreplayable(why) => format!("not replayable: {why}"),
            Self::Different(lines) => {
                let here = env!("CARGO_PKG_VERSION");
                let by = if record.version == here {
                    String::new()
                } else {
                    format!(" (decided by version {}, replayed by {here})", record.version)
                };
                format!("DIFFERENT{by}\n    {}", lines.join("\n    "))
            }
        }
    }
}

fn judge(replayer: &mut Replayer, record: &Replayable) -> Verdict {
    let Some(recorded) = &record.replay else {
        replayer.forget();
        return Verdict::Unreplayable("an older version recorded it, without what it was taken on");
    };
    let (decision, digest, drift) = match replayer.next(recorded) {
        Outcome::Decided { decision, digest, drift } => (decision, digest, drift),
        Outcome::Unrecorded(Unrecorded::TooLarge) => {
            return Verdict::Unreplayable("what it was taken on is larger than a record may be");
        }
        Outcome::Baseless => return Verdict::Unreplayable("it builds on an earlier one that is not there"),
    };
    let mut lines: Vec<String> = drift.iter().map(|line| format!("the state before it: {line}")).collect();
    if digest != record.digest {
        lines.extend(differences(&record.decision, &decision));
        let same_words = lines.is_empty();
        let detail = format!("digest {}, replayed {digest}", record.digest);
        lines.push(if same_words { format!("it reads the same and differs in detail: {detail}") } else { detail });
    }
    if lines.is_empty() { Verdict::Same } else { Verdict::Different(lines) }
}

/// Lines that only one of the two has.
fn differences(recorded: &DecisionRecord, replayed: &Decision) -> Vec<String> {
    let said = |events: &[RecordedEvent]| -> Vec<String> {
        events.iter().map(|RecordedEvent { kind, reason, message }| format!("{kind} {reason}: {message}")).collect()
    };
    let one = [recorded.commands.clone(), said(&recorded.events)].concat();
    let other = [commands_of(replayed), said(&events_of(replayed))].concat();
    let only = |these: &[String], those: &[String], sign: char| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only(&one, &other, '-'), only(&other, &one, '+')].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::test_story::Story;

    fn last_line(text: &str) -> &str {
        text.lines().last().unwrap_or_default()
    }

    #[test]
    fn guarantee_7_what_was_decided_comes_out_the_same() {
        let taken = Story::new(3).run();
        let (text, tally) = replay(&taken);
        let count = taken.len();
        assert_eq!(tally, Tally { same: count, different: 0, unreplayable: 0 }, "{text}");
        assert_eq!(last_line(&text), format!("replayed {count} decisions: {count} the same"));
        assert!(text.starts_with("checkout #1 of run 1: the same\n"), "{text}");
    }

    #[test]
    fn a_decision_that_was_another_is_told_line_by_line() {
        let mut taken = Story::new(3).run();
        let record = &mut taken[2].record;
        let ordered = record.decision.commands[0].clone();
        record.decision.commands[0] = "m9: Apply".to_owned();
        record.digest = "0".repeat(16);
        let (text, tally) = replay(&taken);
        assert_eq!((tally.different, tally.same), (1, taken.len() - 1), "{text}");
        assert!(text.contains(&format!("DIFFERENT\n    - m9: Apply\n    + {ordered}\n    digest 0000")), "{text}");
        assert!(last_line(&text).ends_with(", 1 different"), "{text}");
    }

    #[test]
    fn another_version_is_named_where_it_comes_out_different() {
        let mut taken = Story::new(1).run();
        (taken[0].record.version, taken[0].record.digest) = ("0.0.9".to_owned(), "0".repeat(16));
        let (text, _) = replay(&taken);
        assert!(text.contains("DIFFERENT (decided by version 0.0.9, replayed by "), "{text}");
        assert!(text.contains("it reads the same and differs in detail: digest 0000"), "{text}");
    }

    #[test]
    fn what_follows_a_gap_waits_for_the_next_base() {
        let mut taken = Story::new(3).run();
        taken.remove(1);
        let (text, tally) = replay(&taken);
        assert_eq!((tally.same, tally.unreplayable), (1, taken.len() - 1), "{text}");
        assert!(text.contains("#3 of run 1: not replayable: it builds on an earlier one that is not there"), "{text}");
        taken[0].record.replay = None;
        let (text, tally) = replay(&taken);
        assert_eq!(tally.unreplayable, taken.len(), "{text}");
        assert!(text.contains("an older version recorded it"), "{text}");
    }
}
