//! Many members in one question, against a real Prometheus: each gets what a question of its own would have yielded.

use e2e::harness::{TestFolder, wait_for};
use global_controller::measure::{Answer, Labels, Moments, Wanted, answers};
use global_controller::remote::Secrets;
use rollout_core::{About, MEMBER_MARK, Query};
use tokio::time::Instant;

use super::common::{PATIENCE, config, counted};
use super::exporter::{name, scraping};

const MEMBERS: usize = 250;
/// Queries about one member, with `$` for its name.
const QUERIES: [&str; 16] = [
    r#"sum(increase(requests_total{cluster="$",code!~"5.."}[8s])) or vector(0)"#,
    r#"sum(increase(requests_total{cluster="$"}[8s]))"#,
    r#"sum(rate(requests_total{cluster="$",code=~"5.."}[8s])) / sum(rate(requests_total{cluster="$"}[8s]))"#,
    r#"requests_total{cluster="$",code="200"}"#,
    r#"requests_total{cluster="$"}"#,
    r#"max by (code) (requests_total{cluster="$"})"#,
    r#"count without (code) (requests_total{cluster="$"})"#,
    r#"histogram_quantile(0.9, sum by (le) (rate(latency_bucket{cluster="$"}[8s])))"#,
    r#"requests_total{cluster="$"} / ignoring (code) group_left () sum by (job) (requests_total{cluster="$"})"#,
    r#"requests_total{cluster="$",code="500"} / on (job) requests_total{cluster="$",code="200"}"#,
    r#"time() - max(timestamp(requests_total{cluster="$"}))"#,
    r#"max(max_over_time(rate(requests_total{cluster="$"}[4s])[8s:2s])) > 0"#,
    r#"quantile(0.5, requests_total{cluster="$"}) * 2"#,
    r#"sum(requests_total{cluster="$",code="500"}) or sum(requests_total{cluster="$",code="200"})"#,
    // Asked of each, as one question would yield something else.
    r#"absent(requests_total{cluster="$"})"#,
    r#"topk(1, requests_total{cluster="$"})"#,
];

fn query(template: &str, member: usize) -> Query {
    let about = About { marked: template.replace('$', MEMBER_MARK), value: name(member) };
    Query { text: template.replace('$', &name(member)), about: Some(about) }
}

/// NaN is equal to itself here. The label that names the member plays no part: who asks knows it.
fn comparable(answer: &Answer) -> String {
    match answer {
        Answer::Vector(series) => {
            let bare = |(labels, value): &(Labels, f64)| {
                let others = labels.iter().filter(|(name, _)| name.as_str() != "cluster");
                (others.map(|(name, value)| (name.clone(), value.clone())).collect::<Labels>(), *value)
            };
            format!("{:?}", series.iter().map(bare).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_23_many_members_in_one_question_get_what_each_would_have_got_alone() {
    let folder = TestFolder::new("vectors").unwrap();
    let prometheus = scraping(&folder, MEMBERS).await;
    wait_for("ten scrapes", PATIENCE, || async {
        let found = prometheus.query("count_over_time(requests_total{cluster=\"m-1\",code=\"200\"}[1m])").await?;
        let enough = found.first().is_some_and(|series| series.value >= 10.0);
        Ok(if enough { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
    .unwrap();

    let (sources, figures) = counted(config(prometheus.url()), Secrets::none());
    // Behind the latest scrape, so that all are asked about the same samples.
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let (first, step, count) = ((now - 4) * 1000, 1000, 3);
    let at = first + (count - 1) * step;
    let queries: Vec<Query> =
        QUERIES.iter().flat_map(|template| (0..MEMBERS).map(|member| query(template, member))).collect();
    let wanted: Vec<Wanted<'_>> =
        queries.iter().map(|query| Wanted { source: "central", query, about: Moments::At(at) }).collect();
    let together: Vec<Answer> = answers(&sources, &wanted).await.into_iter().flatten().collect();
    assert_eq!(together.len(), wanted.len());
    // Three for each query, or one for each member where it has to be.
    assert_eq!(figures.answered("central"), 14 * 3 + 2 * 250, "questions");
    let mut with_series = 0;
    for (one, together) in wanted.iter().zip(&together) {
        let alone = sources.ask(one.source, &one.query.text, at, Instant::now() + PATIENCE).await;
        assert_eq!(comparable(together), comparable(&alone), "{}", one.query.text);
        with_series += usize::from(matches!(alone, Answer::Vector(series) if !series.is_empty()));
    }
    assert!(with_series > wanted.len() / 2, "{with_series} of {} have series", wanted.len());

    // Asked about several moments at once, each says what it says when asked about that moment.
    let about = Moments::Each { first, step, count };
    let over: Vec<Wanted<'_>> = wanted.iter().map(|one| Wanted { about, ..*one }).collect();
    for (one, over) in wanted.iter().zip(answers(&sources, &over).await).step_by(7) {
        for (at, over) in about.all().into_iter().zip(&over) {
            let alone = sources.ask(one.source, &one.query.text, at, Instant::now() + PATIENCE).await;
            assert_eq!(comparable(over), comparable(&alone), "{} at {at}", one.query.text);
        }
    }
    prometheus.part().stop().await;
}
