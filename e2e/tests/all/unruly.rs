//! A Prometheus that hangs, refuses, or answers what is no answer: nothing of that passes or fails, each is named, and each
//! is over by itself. What misbehaves is a proxy in front of a real one.

use crate::common;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{apply, members_with, rollout, until, until_described, until_phase, up};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use crds::{ClusterScopeRolloutStatus, Phase, Verdict};
use e2e::harness::TestFolder;
use e2e::playground::{Options, Playground};
use tokio::net::TcpListener;

const CANARY: &str = "member-1";
const IMAGE: &str = "registry.example.com/checkout:v2-e0";
/// Far more than there can be while the test runs: nothing but the end of it lets the gate pass.
const NEVER_ENOUGH: &str = "{interval: 5, minSamples: 1000}";

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Hangs,
    Answers { status: u16, body: &'static str },
}

const HTML: &str = "<html>log in</html>";
const REFUSED: &str = r#"{"status":"error","errorType":"execution","error":"many-to-many matching"}"#;
const NAN: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}"#;
const NONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
const TWO: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"a":"1"},"value":[1,"500"]},{"metric":{"a":"2"},"value":[1,"500"]}]}}"#;

/// Mood, verdict of the gate, and words of the condition.
const CASES: [(Mood, Verdict, &str); 7] = [
    (Mood::Answers { status: 500, body: "" }, Verdict::Inconclusive, "the server answered with HTTP 500"),
    (Mood::Answers { status: 422, body: REFUSED }, Verdict::Inconclusive, "many-to-many matching"),
    (Mood::Answers { status: 200, body: HTML }, Verdict::Inconclusive, "the answer can't be read"),
    (Mood::Answers { status: 200, body: NAN }, Verdict::NoData, "not a number (NaN)"),
    (Mood::Answers { status: 200, body: NONE }, Verdict::NoData, "no series"),
    (Mood::Answers { status: 200, body: TWO }, Verdict::Inconclusive, "2 series where one is meant"),
    (Mood::Hangs, Verdict::Inconclusive, "no answer in time"),
];

#[derive(Clone)]
struct Proxy {
    mood: Arc<Mutex<Mood>>,
    real: String,
    client: reqwest::Client,
}

impl Proxy {
    /// In front of a real one; its own base URL beside it.
    async fn start(real: &str) -> (Self, String) {
        let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let proxy = Self { mood: Arc::new(Mutex::new(Mood::Well)), real: real.to_owned(), client };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/v1/query", axum::routing::post(answer)).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (proxy, url)
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

async fn answer(State(proxy): State<Proxy>, body: Bytes) -> Response {
    let mood = *proxy.mood.lock().unwrap();
    match mood {
        Mood::Well => {
            let request = proxy.client.post(format!("{}/api/v1/query", proxy.real)).body(body);
            let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let answer = request.send().await.unwrap();
            let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
            (status, answer.bytes().await.unwrap()).into_response()
        }
        Mood::Hangs => std::future::pending().await,
        Mood::Answers { status, body } => (StatusCode::from_u16(status).unwrap(), body).into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_what_is_no_answer_neither_passes_nor_fails_is_named_and_over_by_itself() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("unruly").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).with_prometheus()).await;
    let real = playground.prometheus().unwrap().url().to_owned();
    let (proxy, url) = Proxy::start(&real).await;
    let config = folder.path().join("controllers/controller-1/config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    // A hanging server is to be given up soon; and no attempt is repeated, which would only take longer.
    let impatient = format!("address: {url}\n    timeoutSeconds: 2\n    retries: 0");
    std::fs::write(&config, text.replace(&format!("address: {real}"), &impatient)).unwrap();

    apply(&playground, &checkout(NEVER_ENOUGH)).await;
    until_found(&playground, None, "100% of ").await;
    for (mood, verdict, words) in CASES {
        proxy.set(mood);
        until_found(&playground, Some(verdict), words).await;
        if matches!(mood, Mood::Answers { status: 500, .. } | Mood::Hangs) {
            until_described(&playground, "checkout", &["GateInconclusive", words]).await;
        }
        assert_eq!(members_with(&playground, IMAGE).await, [CANARY], "{mood:?} neither passes nor fails");
        proxy.set(Mood::Well);
        until_found(&playground, None, "100% of ").await;
    }
    apply(&playground, &checkout("{interval: 5}")).await;
    let done = until_phase(&playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (2, 0));
    common::down(playground).await;
}

fn checkout(analysis: &str) -> String {
    let targets = format!("targetClusters: [member-1, member-2]\n  analysis: {analysis}");
    rollout("checkout", &targets, IMAGE, "{canary: {steps: [{setWeight: 50, pause: 5}], soakSeconds: 1}}")
}

/// Waits until the gate says this, and, with a verdict, the run holds by it.
async fn until_found(playground: &Playground, verdict: Option<Verdict>, words: &str) {
    let says = |status: &ClusterScopeRolloutStatus| {
        let holds = status.phase == Some(Phase::Holding);
        let gate = status.gate.as_ref();
        gate.is_some_and(|gate| gate.verdict == verdict && gate.message.contains(words))
            && (verdict.is_none() || holds && status.quarantined_revisions.is_empty())
    };
    tokio::time::timeout(Duration::from_mins(2), until(playground, "checkout", words, says)).await.unwrap();
}
