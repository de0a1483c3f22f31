//! How often the control group's test errs and how fast it sees, beside a z-test that is looked at as often: `make
//! bench-gates`. Simulated requests from fixed seeds, so that each machine finds the same.
//!
//! Prints the tables, and writes them to `gates.md` and `gates.json` in the folder that `OUT` names.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "../tests/traffic/mod.rs"]
mod traffic;

use std::fmt::Write as _;
use std::path::PathBuf;

use rollout_core::{DropTest, Requests};
use serde_json::{Value, json};
use traffic::Random;

/// The drop that is allowed.
const MAX_DROP: f64 = 0.003;
/// Requests a second to each member.
const RATE: u32 = 20;
/// An hour.
const PAUSE_SECONDS: u32 = 3600;
const RUNS_FOR_ALARMS: u32 = 10_000;
const RUNS_FOR_DETECTION: u32 = 2000;
/// Of the standard normal distribution, one-sided: 5 % false alarms, if looked at once.
const Z: f64 = 1.644_853_626_951_472_2;

/// Members of each group, what fails there, and how often one looks.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    members: (u32, u32),
    failing: (f64, f64),
    interval: u32,
}

/// The test as gates use it, and the z-test on the same requests. Seconds until each saw a drop.
fn run(case: Case, random: &mut Random) -> [Option<u32>; 2] {
    let mut test = DropTest::default();
    let mut sums = [Requests::default(); 2];
    let mut certain = [Requests::default(); 2];
    let mut shown = [None; 2];
    for look in 1..=PAUSE_SECONDS / case.interval {
        let requests = |members: u32| members * RATE * case.interval;
        let new = [
            random.requests(requests(case.members.0), case.failing.0),
            random.requests(requests(case.members.1), case.failing.1),
        ];
        let mut block = [Requests::default(); 2];
        for group in 0..2 {
            sums[group].total += new[group].total;
            sums[group].failed += new[group].failed;
            // As gates do: an interval's worth of the window may be extrapolation, and counts for nothing.
            let part = f64::from(look - 1) / f64::from(look);
            let now = Requests { total: sums[group].total * part, failed: sums[group].failed * part };
            block[group].total = now.total - certain[group].total;
            block[group].failed = (now.failed - certain[group].failed).max(0.0);
            certain[group] = now;
        }
        test.observe(MAX_DROP, block[0], block[1]);
        let seconds = look * case.interval;
        shown[0] = shown[0].or_else(|| test.shows_drop().then_some(seconds));
        shown[1] = shown[1].or_else(|| z_shows_drop(sums).then_some(seconds));
        if shown.iter().all(Option::is_some) {
            break;
        }
    }
    shown
}

/// Two shares with their own variances.
fn z_shows_drop([control, updated]: [Requests; 2]) -> bool {
    let share = |group: Requests| group.failed / group.total;
    let variance = |group: Requests| share(group) * (1.0 - share(group)) / group.total;
    let deviation = (variance(control) + variance(updated)).sqrt();
    deviation > 0.0 && (share(updated) - share(control) - MAX_DROP) / deviation > Z
}

fn false_alarms(case: Case, random: &mut Random) -> Value {
    let mut alarms = [0u32; 2];
    for _ in 0..RUNS_FOR_ALARMS {
        for (count, shown) in alarms.iter_mut().zip(run(case, random)) {
            *count += u32::from(shown.is_some());
        }
    }
    let [ours, z] = alarms.map(|count| rounded(100.0 * f64::from(count) / f64::from(RUNS_FOR_ALARMS)));
    let looks = PAUSE_SECONDS / case.interval;
    json!({"measure": "false_alarms_percent", "case": case.name, "intervalSeconds": case.interval, "looks": looks,
           "runs": RUNS_FOR_ALARMS, "ours": ours, "zTest": z})
}

fn detection(case: Case, random: &mut Random) -> Value {
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..RUNS_FOR_DETECTION {
        for (all, shown) in found.iter_mut().zip(run(case, random)) {
            all.push(shown);
        }
    }
    let [ours, z] = found.map(|mut all| {
        // Those that saw nothing come last.
        all.sort_unstable_by_key(|shown| shown.unwrap_or(u32::MAX));
        let at = |part: usize| all.get(all.len() * part / 100).copied().flatten();
        json!({"medianSeconds": at(50), "p90Seconds": at(90)})
    });
    json!({"measure": "detection", "case": case.name, "intervalSeconds": case.interval,
           "membersControl": case.members.0, "membersUpdated": case.members.1, "runs": RUNS_FOR_DETECTION,
           "ours": ours, "zTest": z})
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

fn main() {
    let mut random = Random(20);
    let allowed = |name, members, failing: f64, interval| Case {
        name,
        members,
        failing: (failing, failing + MAX_DROP),
        interval,
    };
    let alarms: Vec<Value> = [
        allowed("99.9% and 99.6%, one member each", (1, 1), 0.001, 30),
        allowed("99.9% and 99.6%, one member each", (1, 1), 0.001, 10),
        allowed("99.9% and 99.6%, 20 against 1", (20, 1), 0.001, 30),
        allowed("100% and 99.7%, 5 each", (5, 5), 0.0, 30),
        allowed("98% and 97.7%, 5 each", (5, 5), 0.02, 30),
        Case { name: "99.9% and 99.9%, 5 each", members: (5, 5), failing: (0.001, 0.001), interval: 30 },
    ]
    .map(|case| false_alarms(case, &mut random))
    .into();
    let drops = [("99.9% to 99.0%", (0.001, 0.01)), ("99.95% to 99.55%", (0.0005, 0.0045))];
    let groups = [(1, 1), (5, 5), (20, 20), (20, 1)];
    let cases = drops.iter().flat_map(|(name, failing)| {
        let of = move |members| [10, 30].map(|interval| Case { name, members, failing: *failing, interval });
        groups.into_iter().flat_map(of)
    });
    let detections: Vec<Value> = cases.map(|case| detection(case, &mut random)).collect();
    let text = tables(&alarms, &detections);
    print!("{text}");
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/bench");
    let out = std::env::var_os("OUT").map_or(default, PathBuf::from);
    std::fs::write(out.join("gates.md"), text).unwrap();
    let all: Vec<Value> = alarms.into_iter().chain(detections).collect();
    std::fs::write(out.join("gates.json"), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

fn tables(alarms: &[Value], detections: &[Value]) -> String {
    let mut text = format!(
        "# The control group's test\n\nFrom `make bench-gates`: simulated requests, {RATE} a second to each member, `maxDrop` 0.3 %, pauses of an hour.\n\n"
    );
    let _ = write!(
        text,
        "## False alarms\n\nPauses, of {RUNS_FOR_ALARMS}, in which a drop of no more than is allowed was taken for more. Nominal: 5 %.\n\n\
         | control group and updated | looks | this test | z-test at each look |\n|---|---|---|---|\n"
    );
    for line in alarms {
        let (case, every) = (line["case"].as_str().unwrap_or_default(), &line["intervalSeconds"]);
        let _ = writeln!(
            text,
            "| {case} | {}, every {every} s | {} % | {} % |",
            line["looks"], line["ours"], line["zTest"]
        );
    }
    let _ = write!(
        text,
        "\n## Detection\n\nSeconds from the beginning of the pause, median and 90th percentile of {RUNS_FOR_DETECTION}. The z-test is \
         faster because it also finds what is not there.\n\n\
         | drop | members, control and updated | every | this test | z-test at each look |\n|---|---|---|---|---|\n"
    );
    for line in detections {
        let times = |which: &str| {
            let time = |name: &str| line[which][name].as_u64().map_or("over 3600".to_owned(), |time| time.to_string());
            format!("{}, {}", time("medianSeconds"), time("p90Seconds"))
        };
        let _ = writeln!(
            text,
            "| {} | {} and {} | {} s | {} | {} |",
            line["case"].as_str().unwrap_or_default(),
            line["membersControl"],
            line["membersUpdated"],
            line["intervalSeconds"],
            times("ours"),
            times("zTest")
        );
    }
    text
}
