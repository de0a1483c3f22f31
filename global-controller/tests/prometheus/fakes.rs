//! Against fakes: servers that do what no real Prometheus can be made to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use global_controller::measure::{Answer, Failure};
use global_controller::{Credentials, Headers, SourceConfig};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::common::{ask, config, failure, sources};

/// An answer that a Prometheus could give.
const ONE: &str = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;

/// A server on loopback that answers every request by `answer`. It ends with the test's runtime.
async fn fake<F, Fut>(answer: F) -> String
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

fn json(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

#[tokio::test]
async fn semantics_27_a_listener_that_never_answers_is_a_timeout_and_then_left_alone() {
    // Connections are accepted by the kernel, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let sources = sources(SourceConfig { timeout: Duration::from_secs(1), retries: 1, ..config(&address) });
    let started = Instant::now();
    assert_eq!(failure(&sources, "1").await, Failure::Timeout);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "two attempts took {took:?}");

    // The asker's deadline wins over timeouts and retries.
    let started = Instant::now();
    let answer = sources.ask("central", "1", 0, started + Duration::from_millis(500)).await;
    assert_eq!(answer, Answer::Failed(Failure::Timeout));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    // Two failures so far: one that the asker ended says nothing of the server. The fifth is the last.
    assert_eq!(failure(&sources, "1").await, Failure::Timeout);
    let started = Instant::now();
    assert_eq!(failure(&sources, "1").await, Failure::Timeout);
    assert!(started.elapsed() < Duration::from_secs(2), "there was a sixth attempt");
    assert_eq!(failure(&sources, "1").await, Failure::CircuitOpen);
}

#[tokio::test]
async fn a_server_that_fails_for_a_moment_is_tried_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let address = fake(move |_| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move { if number < 2 { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { json(ONE) } }
    })
    .await;
    let patient = sources(SourceConfig { retries: 2, ..config(&address) });
    assert_eq!(ask(&patient, "1").await, Answer::Scalar(1.0));
    assert_eq!(asked.load(Ordering::Relaxed), 3);

    asked.store(0, Ordering::Relaxed);
    let hasty = sources(SourceConfig { retries: 1, ..config(&address) });
    assert!(matches!(failure(&hasty, "1").await, Failure::Http { status: 503, .. }));
}

#[tokio::test]
async fn what_we_are_is_sent_and_a_refusal_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let address = fake(move |request: Request| {
        kept.lock().unwrap().push(request.headers().clone());
        async { (StatusCode::FORBIDDEN, "no").into_response() }
    })
    .await;
    let headers = Headers([("X-Scope-OrgID".to_owned(), "shop".to_owned())].into());
    let config = SourceConfig { credentials: Credentials::BearerFile(token), headers, retries: 5, ..config(&address) };
    let refused = failure(&sources(config), "1").await;
    assert!(matches!(refused, Failure::Http { status: 403, .. }), "{refused:?}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["authorization"], "Bearer hunter2");
    assert_eq!(seen[0]["x-scope-orgid"], "shop");
}

#[tokio::test]
async fn semantics_46_no_redirect_is_followed() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&elsewhere);
    let other = fake(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { json(ONE) }
    })
    .await;
    let address = fake(move |_| {
        let location = format!("{other}/api/v1/query");
        async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response() }
    })
    .await;
    let failure = failure(&sources(config(&address)), "1").await;
    assert!(matches!(failure, Failure::Http { status: 307, .. }), "{failure:?}");
    assert_eq!(elsewhere.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_server_that_takes_only_get_is_asked_by_get() {
    let address = fake(|request: Request| async move {
        let question = request.uri().query().unwrap_or_default().to_owned();
        match *request.method() {
            Method::GET if question.contains("query=up") && question.contains("time=1700000000.250") => json(ONE),
            Method::GET => StatusCode::BAD_REQUEST.into_response(),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    })
    .await;
    assert_eq!(ask(&sources(config(&address)), "up").await, Answer::Scalar(1.0));
}

#[tokio::test]
async fn a_page_to_log_in_is_no_answer_and_a_body_without_end_is_cut_off() {
    let address = fake(|_| async { "<html>log in</html>".into_response() }).await;
    assert!(matches!(failure(&sources(config(&address)), "1").await, Failure::NotUnderstood(_)));
    let address = fake(|_| async { json("x".repeat(5 * 1024 * 1024)) }).await;
    assert!(matches!(failure(&sources(config(&address)), "1").await, Failure::TooLarge { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_questions_than_allowed_are_under_way() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (current, peak) = (Arc::clone(&now), Arc::clone(&most));
    let address = fake(move |_| {
        let (current, peak) = (Arc::clone(&current), Arc::clone(&peak));
        async move {
            peak.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(50)).await;
            current.fetch_sub(1, Ordering::SeqCst);
            json(ONE)
        }
    })
    .await;
    let sources = sources(SourceConfig { max_concurrent: 3, ..config(&address) });
    let answers = futures::future::join_all((0..12).map(|_| ask(&sources, "1"))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Scalar(1.0)), "{answers:?}");
    assert_eq!(most.load(Ordering::SeqCst), 3);

    // Who finds no place until its deadline says so. The three before it take longer than that.
    let (soon, late) = (Duration::from_millis(20), Duration::from_secs(20));
    let crowd = [late, late, late, soon].map(|limit| sources.ask("central", "1", 0, Instant::now() + limit));
    let answers = futures::future::join_all(crowd).await;
    let one = Answer::Scalar(1.0);
    assert_eq!(answers, [one.clone(), one.clone(), one, Answer::Failed(Failure::Busy)]);
}
