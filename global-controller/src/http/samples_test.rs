#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::{Extension, Router};
use crds::{AssignmentEvent, Found, Inquiry};
use futures::StreamExt as _;
use mutual_tls::Peer;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::config::Settings;
use crate::remote::Secrets;
use crate::store::fixtures::leading;
use crate::{http, notices};

async fn open(folder: &std::path::Path) -> Arc<World> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = leading(folder).await;
    let (events, _notices) = notices::queue();
    Arc::new(World::new("c".to_owned(), store, Settings::default(), Secrets::none(), events))
}

/// The agents' routes, as this member's certificate opens them.
fn routes(world: &Arc<World>, role: Role, name: &str) -> Router {
    let peer = Peer { role, name: name.to_owned() };
    http::agents::router(Arc::clone(world), reqwest::Client::new()).layer(Extension(peer))
}

async fn post(router: Router, finding: &Finding) -> StatusCode {
    let request = Request::builder().method(Method::POST).uri("/v1/samples");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = Body::from(serde_json::to_vec(finding).unwrap());
    router.oneshot(request.body(body).unwrap()).await.unwrap().status()
}

/// The next inquiry on a stream of assignments.
async fn inquiry(lines: &mut axum::body::BodyDataStream) -> Inquiry {
    loop {
        let line = tokio::time::timeout(Duration::from_secs(5), lines.next()).await.unwrap().unwrap().unwrap();
        if let AssignmentEvent::Ask(inquiry) = serde_json::from_slice(&line).unwrap() {
            return inquiry;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_asked_over_its_stream_and_answers_for_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = open(folder.path()).await;
    let stream = Request::builder().uri("/v1/assignments").body(Body::empty()).unwrap();
    let answer = routes(&world, Role::Member, "m1").oneshot(stream).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut lines = answer.into_body().into_data_stream();

    let waiting = world.inquiries.open("c-1", "m1", (vec!["up".to_owned()], 7), Instant::now()).unwrap();
    world.wake("m1");
    let Inquiry { id, at_millis, queries, .. } = inquiry(&mut lines).await;
    assert_eq!((at_millis, queries), (7, vec!["up".to_owned()]));

    let found = vec![Found::Values(vec!["1".to_owned()])];
    let finding = Finding { member: "m1".to_owned(), id, answers: found.clone() };
    assert_eq!(post(routes(&world, Role::Member, "m2"), &finding).await, StatusCode::FORBIDDEN);
    let foreign = Finding { member: "m2".to_owned(), ..finding.clone() };
    assert_eq!(
        post(routes(&world, Role::Member, "m2"), &foreign).await,
        StatusCode::NO_CONTENT,
        "and counts for nothing"
    );
    // As a follower hands it on.
    assert_eq!(post(routes(&world, Role::Replica, "c2"), &finding).await, StatusCode::NO_CONTENT);
    assert_eq!(waiting.answers(Duration::from_secs(1)).await, Ok(found));
    let many = Finding { answers: vec![Found::Values(Vec::new()); MAX_ANSWERS + 1], ..finding };
    assert_eq!(post(routes(&world, Role::Member, "m1"), &many).await, StatusCode::UNPROCESSABLE_ENTITY);
    world.store.clone().close().await;
}
