//! `plan`: what a rollout would do, before it is applied, and how its gates would have done in the past.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{
    BackTest, BackTestedGate, ClusterScopeRollout, MeasuredFrom, PlanAnswer, PlanRequest, PlannedContent, PlannedGate,
    PlannedStep,
};
use kube::ResourceExt as _;
use kube::api::PostParams;

use crate::arguments::{Format, Planned};
use crate::controller;
use crate::hub::{Hub, answer};
use crate::output::{self, FIELD_MANAGER, aligned};

/// Names that are shown of those that a step adds.
const MAX_NAMES: usize = 5;

pub(crate) async fn run(hub: &Hub, planned: &Planned) -> Result<()> {
    let rollout = match (&planned.name, &planned.file) {
        (Some(name), None) => hub.rollout(name).await?,
        (None, Some(file)) => as_applied(hub, read(file)?).await?,
        // clap sees to it.
        _ => bail!("give the name of a rollout, or a file with one"),
    };
    let back_test_seconds = planned.back_test.map(|time| i64::try_from(time.as_secs())).transpose()?;
    let request = PlanRequest { rollout, back_test_seconds };
    let plan = controller::plan(&planned.controller.url, &request).await?;
    match planned.output {
        Format::Table => print!("{}", text(&plan)),
        format => output::print(&plan, format)?,
    }
    Ok(())
}

fn read(file: &Path) -> Result<ClusterScopeRollout> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("failed to read the standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("failed to read \"{}\"", file.display()))?;
    }
    let documents: Vec<ClusterScopeRollout> =
        crds::yaml::documents(&text).with_context(|| format!("\"{}\" is no ClusterScopeRollout", file.display()))?;
    match <[_; 1]>::try_from(documents) {
        Ok([rollout]) => Ok(rollout),
        Err(others) => bail!("\"{}\" holds {} rollouts: one is planned at a time", file.display(), others.len()),
    }
}

/// The object as the hub would have it after it was applied: with its defaults, or with what the hub has against it.
async fn as_applied(hub: &Hub, wanted: ClusterScopeRollout) -> Result<ClusterScopeRollout> {
    let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let name = wanted.name_any();
    match answer(hub.rollouts().get_opt(&name)).await? {
        None => answer(hub.rollouts().create(&parameters, &wanted)).await,
        Some(known) => {
            let changed = ClusterScopeRollout { spec: wanted.spec, ..known };
            answer(hub.rollouts().replace(&name, &parameters, &changed)).await
        }
    }
}

/// For people.
fn text(plan: &PlanAnswer) -> String {
    let mut text = match &plan.revision {
        None => format!("{}: nothing to deliver\n", plan.name),
        Some(revision) => format!(
            "{}: revision {revision} for {} members in {} steps, which take at least {}\n",
            plan.name,
            plan.members,
            plan.steps.len(),
            time(plan.shortest_seconds)
        ),
    };
    // Writing to a String cannot fail.
    if let Some(waiting) = &plan.waiting_on {
        let _ = writeln!(text, "it would not start: {}: {}", waiting.reason, waiting.message);
    }
    if !plan.steps.is_empty() {
        text.push('\n');
        text.push_str(&steps(plan));
    }
    text.push_str(&objects(plan));
    if plan.delivers.len() > 1 {
        text.push('\n');
        text.push_str(&delivers(plan));
    }
    // Most often all gates are the same but for their members.
    let mut shown: Vec<&PlannedGate> = Vec::new();
    for (step, gate) in plan.steps.iter().filter_map(|step| Some((step, step.gate.as_ref()?))) {
        if !shown.iter().any(|other| alike(other, gate)) {
            text.push_str(&asked(step, gate));
            shown.push(gate);
        }
    }
    for note in &plan.notes {
        let _ = writeln!(text, "\nnote: {note}");
    }
    if let Some(test) = &plan.back_test {
        text.push_str(&tested(test));
    }
    text
}

fn steps(plan: &PlanAnswer) -> String {
    let header = ["STEP", "WEIGHT", "MEMBERS", "IN FLUX", "MAY FAIL", "PAUSE", "APPROVAL", "SERIES", "ADDS"];
    let mut lines = vec![header.map(str::to_owned)];
    for (index, step) in plan.steps.iter().enumerate() {
        let last = index + 1 == plan.steps.len();
        lines.push([
            step.number.to_string(),
            format!("{}%", step.weight),
            format!("{}/{}", step.members, plan.members),
            step.max_concurrency.to_string(),
            step.max_failures.to_string(),
            format!("{}{}", time(step.pause_seconds.into()), if last { " soak" } else { "" }),
            if step.approval.is_some() { "required" } else { "-" }.to_owned(),
            step.gate.as_ref().map_or("-".to_owned(), |gate| gate.series.to_string()),
            names(&step.adds),
        ]);
    }
    aligned(&lines)
}

fn delivers(plan: &PlanAnswer) -> String {
    let objects = plan.delivers.iter().any(|one| !one.objects.is_empty());
    let what = if objects { "PATCHES" } else { "IMAGES" };
    let mut lines = vec![[what, "MEMBERS", "THESE"].map(str::to_owned)];
    for one in &plan.delivers {
        let what = if objects { patches(one) } else { output::images(&one.images) };
        lines.push([what, one.members.len().to_string(), names(&one.members)]);
    }
    aligned(&lines)
}

/// "Deployment shop/checkout: replace /spec/replicas: 3", or "none".
fn patches(one: &PlannedContent) -> String {
    let patched = one.objects.iter().filter(|one| !one.patches.is_empty());
    let lines: Vec<String> = patched.map(|one| format!("{}: {}", one.object, one.patches.join(", "))).collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("; ") }
}

/// The objects, in the order in which they are written.
fn objects(plan: &PlanAnswer) -> String {
    let objects = plan.delivers.first().map(|one| one.objects.as_slice()).unwrap_or_default();
    let lines: Vec<String> = objects.iter().map(|one| format!("  {}", one.object)).collect();
    if lines.is_empty() { String::new() } else { format!("\nobjects:\n{}\n", lines.join("\n")) }
}

fn names(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 if names.is_empty() => "nobody".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn alike(one: &PlannedGate, other: &PlannedGate) -> bool {
    let metrics = |gate: &PlannedGate| -> Vec<(String, String)> {
        gate.metrics.iter().map(|metric| (metric.name.clone(), metric.must.clone())).collect()
    };
    metrics(one) == metrics(other) && one.source == other.source && one.from == other.from
}

fn asked(step: &PlannedStep, gate: &PlannedGate) -> String {
    let source = match (gate.from, gate.source.as_str()) {
        (MeasuredFrom::Member, _) => " of each member's own Prometheus".to_owned(),
        (MeasuredFrom::Hub, "") => String::new(),
        (MeasuredFrom::Hub, source) => format!(" of \"{source}\""),
    };
    let mut text = format!(
        "\nfrom step {} on each pause asks{source} every {} s, and needs {} measurements of each series:\n",
        step.number, gate.interval_seconds, gate.measurements
    );
    for metric in &gate.metrics {
        let _ = writeln!(text, "  {}: {}", metric.name, metric.must);
        let of = metric.member.as_ref().map_or_else(String::new, |member| format!(" (of {member})"));
        for query in &metric.queries {
            let _ = writeln!(text, "    {}{of}", query.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    text
}

fn tested(test: &BackTest) -> String {
    let mut text = format!("\nback-test from {} to {}, over what ran then:\n", test.from.0, test.to.0);
    let header = ["STEP", "MEMBERS", "PAUSES", "PASSED", "FAILED", "INCONCLUSIVE", "NO DATA"];
    let mut lines = vec![header.map(str::to_owned)];
    let share = |count: usize, gate: &BackTestedGate| match (count, gate.pauses) {
        (0, _) | (_, 0) => "0".to_owned(),
        (count, pauses) => format!("{count} ({}%)", count * 100 / pauses),
    };
    for gate in &test.gates {
        let counts = [gate.passed, gate.failed, gate.inconclusive, gate.no_data].map(|count| share(count, gate));
        let [passed, failed, inconclusive, no_data] = counts;
        let [step, members, pauses] = [gate.step, gate.members, gate.pauses].map(|count| count.to_string());
        lines.push([step, members, pauses, passed, failed, inconclusive, no_data]);
    }
    text.push_str(&aligned(&lines));
    for gate in &test.gates {
        for example in &gate.examples {
            let (at, verdict) = (example.began_at.0, example.verdict.as_str());
            let _ = writeln!(text, "  step {} at {at}: {verdict}: {}", gate.step, example.found);
        }
    }
    for note in &test.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// "90s", "5m", "1h 30m", as the longest two units say it.
fn time(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 if seconds % 60 == 0 => format!("{}m", seconds / 60),
        120..7_200 => format!("{}m {}s", seconds / 60, seconds % 60),
        7_200..172_800 if seconds % 3_600 < 60 => format!("{}h", seconds / 3_600),
        7_200..172_800 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A length of time: a whole number and s, m, h or d.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let unfit = || format!("\"{text}\" is no length of time: write for example 90m, 12h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(unfit)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(unfit()),
    };
    let number: u64 = number.parse().map_err(|_| unfit())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(unfit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit() {
        let seconds = |text: &str| parse_time(text).map(|time| time.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("7d"), Ok(604_800));
        for unfit in ["", "7", "d", "-1d", "1.5h", "1w", "999999999999999999d"] {
            assert!(seconds(unfit).is_err_and(|why| why.contains("7d")), "{unfit}");
        }
    }

    #[test]
    fn times_are_said_in_their_longest_units() {
        let said = [0, 119, 300, 330, 7_200, 9_000, 176_400].map(time);
        assert_eq!(said, ["0s", "119s", "5m", "5m 30s", "2h", "2h 30m", "2d 1h"]);
    }

    #[test]
    fn a_plan_shows_its_steps_what_is_asked_and_how_that_would_have_done() {
        let gate = |series: i32| {
            json!({"source": "central", "series": series, "intervalSeconds": 30, "measurements": 10, "metrics": [
                {"name": "success-rate", "member": "m1", "queries": ["good{c=\"m1\"}", "total{c=\"m1\"}"],
                 "must": "at least 99.5% of at least 100 requests succeed"}]})
        };
        let step = |number: i32, members: i32, adds: &[&str]| {
            json!({"number": number, "weight": members * 50, "members": members, "adds": adds, "maxConcurrency": 1,
                   "maxFailures": 0, "maxUnreachable": 0, "pauseSeconds": 300, "gate": gate(members)})
        };
        let plan: PlanAnswer = serde_json::from_value(json!({
            "name": "checkout", "revision": "abc", "members": 2, "shortestSeconds": 600,
            "waitingOn": {"reason": "Conflicted", "message": "why"},
            "steps": [step(1, 1, &["m1"]), step(2, 2, &["m2"])],
            "notes": ["mind this"],
            "backTest": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z", "notes": ["and that"], "gates": [
                {"step": 1, "members": 1, "pauses": 100, "passed": 97, "failed": 1, "inconclusive": 0, "noData": 2,
                 "intervalSeconds": 30, "examples": [
                    {"beganAt": "2026-01-02T03:04:05Z", "verdict": "Fail", "found": "success-rate on m1: 99%"}]}]},
        }))
        .unwrap();
        assert_eq!(
            text(&plan),
            "checkout: revision abc for 2 members in 2 steps, which take at least 10m\n\
             it would not start: Conflicted: why\n\
             \n\
             STEP   WEIGHT   MEMBERS   IN FLUX   MAY FAIL   PAUSE     APPROVAL   SERIES   ADDS\n\
             1      50%      1/2       1         0          5m        -          1        m1\n\
             2      100%     2/2       1         0          5m soak   -          2        m2\n\
             \n\
             from step 1 on each pause asks of \"central\" every 30 s, and needs 10 measurements of each series:\n\
             \x20 success-rate: at least 99.5% of at least 100 requests succeed\n\
             \x20   good{c=\"m1\"} (of m1)\n\
             \x20   total{c=\"m1\"} (of m1)\n\
             \n\
             note: mind this\n\
             \n\
             back-test from 2026-01-01T00:00:00Z to 2026-01-08T00:00:00Z, over what ran then:\n\
             STEP   MEMBERS   PAUSES   PASSED     FAILED   INCONCLUSIVE   NO DATA\n\
             1      1         100      97 (97%)   1 (1%)   0              2 (2%)\n\
             \x20 step 1 at 2026-01-02T03:04:05Z: Fail: success-rate on m1: 99%\n\
             note: and that\n"
        );
    }
}
