//! What a measuring round over a fleet costs the controller: many members in a question, beside a question for each.
//!
//! `make bench-rounds`. A real Prometheus that scrapes counters of all members every second, the default success rate (two
//! queries a member), rounds one after the other. Processor time is that of the thread that asks, so neither the
//! Prometheus nor the target counts. The last column is the share of a core at one round in 30 seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

#[allow(dead_code)] // What the tests need beside.
#[path = "../tests/prometheus/common.rs"]
mod common;
#[path = "../tests/prometheus/exporter.rs"]
mod exporter;

use std::time::{Duration, Instant};

use e2e::harness::TestFolder;
use e2e::process::processor_seconds;
use global_controller::SourceConfig;
use global_controller::measure::{Answer, Figures, Moments, Sources, Wanted, answers};
use global_controller::remote::Secrets;
use rollout_core::{About, MEMBER_MARK, Query};

const FLEETS: [usize; 3] = [50, 500, 2000];
/// Of one measurement.
const ROUNDS: u32 = 10;
/// Counters are there, and long enough for the window.
const WARM_UP: Duration = Duration::from_secs(15);
/// Seconds between rounds, by default.
const INTERVAL: f64 = 30.0;

const GOOD: &str = r#"sum(increase(requests_total{cluster="$",code!~"5.."}[10s])) or vector(0)"#;
const TOTAL: &str = r#"sum(increase(requests_total{cluster="$"}[10s]))"#;

/// What a round took.
struct Cost {
    seconds: f64,
    processor: f64,
    questions: f64,
}

fn main() {
    // The target has a runtime of its own, so that this thread's processor time is that of the questions alone.
    let others = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:>8} {:>22} {:>10} {:>12} {:>14} {:>16}",
        "members", "asked", "questions", "s a round", "processor ms", "% of a core"
    );
    for members in FLEETS {
        let folder = TestFolder::new("rounds").unwrap();
        let prometheus = others.block_on(exporter::scraping(&folder, members));
        std::thread::sleep(WARM_UP);
        let config = SourceConfig { retries: 2, ..common::config(prometheus.url()) };
        let asked = common::counted(config, Secrets::none());
        let together = asking.block_on(measure(&asked, members, true));
        let each = asking.block_on(measure(&asked, members, false));
        for (word, cost) in [("many in a question", &together), ("a question for each", &each)] {
            println!(
                "{members:>8} {word:>22} {:>10.0} {:>12.3} {:>14.1} {:>16.2}",
                cost.questions,
                cost.seconds,
                cost.processor * 1000.0,
                100.0 * cost.processor / INTERVAL
            );
        }
        println!(
            "{members:>8} {:>22} {:>10.3} {:>12.3} {:>14.3}",
            "ratio",
            together.questions / each.questions,
            together.seconds / each.seconds,
            together.processor / each.processor
        );
        others.block_on(prometheus.part().stop());
    }
}

async fn measure((sources, figures): &(Sources, Figures), members: usize, together: bool) -> Cost {
    let about = |template: &str, member: usize| About {
        marked: template.replace('$', MEMBER_MARK),
        value: exporter::name(member),
    };
    let query = |template: &str, member: usize| Query {
        text: template.replace('$', &exporter::name(member)),
        about: together.then(|| about(template, member)),
    };
    let queries: Vec<Query> = (0..members).flat_map(|member| [query(GOOD, member), query(TOTAL, member)]).collect();
    let processor_seconds = || processor_seconds("thread-self").unwrap();
    let (began, processor, asked) = (Instant::now(), processor_seconds(), figures.answered("central"));
    for _ in 0..ROUNDS {
        let at = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let wanted: Vec<Wanted<'_>> =
            queries.iter().map(|query| Wanted { source: "central", query, about: Moments::At(at) }).collect();
        for answer in answers(sources, &wanted).await.into_iter().flatten() {
            assert!(matches!(answer, Answer::Vector(_)), "{answer:?}");
        }
    }
    let rounds = f64::from(ROUNDS);
    Cost {
        seconds: began.elapsed().as_secs_f64() / rounds,
        processor: (processor_seconds() - processor) / rounds,
        questions: (figures.answered("central") - asked) as f64 / rounds,
    }
}
