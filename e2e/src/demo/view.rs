//! Turns snapshots into text: a table that is redrawn, and lines for when something changed.

use super::scenario::Scenario;
use super::snapshot::{Row, Snapshot};
use crate::progress::human;

/// Cells of the progress bar.
const BAR: usize = 30;

/// How much colour there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// None.
    Plain,
    /// ANSI.
    Ansi,
}

impl Colours {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The whole picture, one line each.
pub(super) fn table(snapshot: &Snapshot, colours: Colours) -> Vec<String> {
    let mut lines = vec![headline(snapshot, colours), format!("  {}", bar(snapshot, colours))];
    lines.push(match waiting(snapshot) {
        Some(text) => format!("  {}", colours.paint("33", &text)),
        None => String::new(),
    });
    lines.push(String::new());
    let width = snapshot.rows.iter().map(|row| row.member.len()).max().unwrap_or(0).max("MEMBER".len());
    lines.push(colours.paint("2", &format!("  {:width$}  {:18}  {:>5}  STATE", "MEMBER", "IMAGE", "READY")));
    for row in &snapshot.rows {
        let (state, colour) = state(row, &snapshot.image);
        let image = row.workload.as_ref().map_or("?", |view| short(&view.image));
        let ready = row.workload.as_ref().map_or("?".to_owned(), |view| format!("{}/{}", view.ready, view.desired));
        let state = colours.paint(colour, state);
        lines.push(format!("  {:width$}  {image:18}  {ready:>5}  {state}", row.member));
    }
    lines
}

/// A line for each thing that differs from the picture before; for output that is no terminal.
pub(super) fn changes(before: Option<&Snapshot>, now: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let standing = |snapshot: &Snapshot| {
        let reason = snapshot.waiting.as_ref().map(|waiting| waiting.reason.clone());
        (snapshot.phase.clone(), snapshot.step.clone(), snapshot.healthy, reason)
    };
    if before.map(standing) != Some(standing(now)) {
        let wait = waiting(now).map_or(String::new(), |text| format!("; {text}"));
        lines.push(format!("{}{wait}", headline(now, Colours::Plain)));
    }
    for (index, row) in now.rows.iter().enumerate() {
        let old = before.and_then(|snapshot| snapshot.rows.get(index));
        let describe = |row: &Row| {
            let image = row.workload.as_ref().map_or("?", |view| short(&view.image)).to_owned();
            (image, state(row, &now.image).0)
        };
        let (image, state) = describe(row);
        if old.map(describe) != Some((image.clone(), state)) {
            lines.push(format!("  {}: {image}, {state}", row.member));
        }
    }
    lines
}

/// What the rollout did, member by member.
pub(super) fn summary(last: &Snapshot, scenario: &Scenario) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &last.rows {
        let text = match &row.workload {
            None => "its API server does not answer".to_owned(),
            Some(view) if view.image == scenario.image => {
                format!("runs {}, {} of {} pods ready", short(&view.image), view.ready, view.desired)
            }
            Some(view) => format!("runs {}, and not {}", short(&view.image), short(&scenario.image)),
        };
        lines.push(format!("  {}: {text}", row.member));
    }
    if let Some(gate) = &last.gate {
        lines.push(format!("  metrics: {}", gate.message));
        if let Some(at) = &gate.measured_at {
            lines.push(format!("  which is what Prometheus said about {} to", at.0));
            lines.extend(gate.queries.iter().map(|query| format!("    {query}")));
        }
    }
    if let Some(waiting) = waiting(last) {
        lines.push(format!("  {waiting}"));
    }
    lines
}

fn headline(snapshot: &Snapshot, colours: Colours) -> String {
    let colour = match snapshot.phase.as_str() {
        "Succeeded" => "1;32",
        "Holding" | "RollingBack" | "RolledBack" | "Failed" => "1;31",
        _ => "1;36",
    };
    let phase = colours.paint(colour, &snapshot.phase);
    let step = if snapshot.step.is_empty() { "–" } else { &snapshot.step };
    format!(
        "rollout {}  {phase}  step {step}  weight {} %  {}/{} members healthy  {}",
        snapshot.name,
        snapshot.weight,
        snapshot.healthy,
        snapshot.total,
        human(snapshot.elapsed)
    )
}

fn bar(snapshot: &Snapshot, colours: Colours) -> String {
    let total = usize::try_from(snapshot.total).unwrap_or(0).max(1);
    let healthy = usize::try_from(snapshot.healthy).unwrap_or(0).min(total);
    let full = BAR * healthy / total;
    let allowed = (BAR * usize::try_from(snapshot.weight).unwrap_or(0).min(100)).div_ceil(100).max(full);
    let done = colours.paint("32", &"█".repeat(full));
    let may = colours.paint("33", &"▒".repeat(allowed - full));
    format!("{done}{may}{}", "░".repeat(BAR - allowed))
}

fn waiting(snapshot: &Snapshot) -> Option<String> {
    let waiting = snapshot.waiting.as_ref()?;
    let left = waiting.left.map_or(String::new(), |left| format!(", {left} s left"));
    Some(format!("waits for {}{left}: {}", waiting.reason, waiting.message))
}

fn state(row: &Row, wanted: &str) -> (&'static str, &'static str) {
    match &row.workload {
        None => ("its API server does not answer", "31"),
        Some(view) if view.image != wanted => ("○ old image", "2"),
        Some(view) if view.is_rolled_out() => ("● new image, all pods ready", "32"),
        Some(_) => ("◐ new image, pods are being replaced", "33"),
    }
}

/// Name and tag, without the registry.
fn short(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or(image)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::snapshot::example;
    use super::*;

    #[test]
    fn the_table_shows_step_reason_countdown_and_each_member() {
        let text = table(&example(), Colours::Plain).join("\n");
        assert_eq!(
            text,
            "rollout checkout  Verifying  step 1/3  weight 10 %  1/2 members healthy  7.0 s
  ███████████████░░░░░░░░░░░░░░░
  waits for Pause, 12 s left: step 1 is healthy

  MEMBER    IMAGE               READY  STATE
  member-1  checkout:v2           3/3  ● new image, all pods ready
  member-2  checkout:v1           3/3  ○ old image"
        );
    }

    #[test]
    fn a_gate_that_failed_shows_its_queries_and_their_moment() {
        let mut last = example();
        let message = "success-rate on member-1: 98% of 750 requests succeed, minimum 99.5%".to_owned();
        let queries = vec!["good".to_owned(), "total".to_owned()];
        let measured_at = Some(crds::micro_time_from_millis(1_500));
        last.gate = Some(crds::GateStatus { message, queries, measured_at, ..Default::default() });
        let lines = summary(&last, &Scenario::lossy());
        let shown: Vec<&str> = lines.iter().map(String::as_str).skip(2).take(4).collect();
        let asked = "  which is what Prometheus said about 1970-01-01T00:00:01.5Z to";
        let metrics = "  metrics: success-rate on member-1: 98% of 750 requests succeed, minimum 99.5%";
        assert_eq!(shown, [metrics, asked, "    good", "    total"]);
    }

    #[test]
    fn without_a_terminal_only_changes_are_told() {
        let before = example();
        assert!(changes(Some(&before), &before).is_empty());
        let mut after = before.clone();
        after.rows.get_mut(1).unwrap().workload = None;
        assert_eq!(changes(Some(&before), &after), ["  member-2: ?, its API server does not answer"]);
    }
}
