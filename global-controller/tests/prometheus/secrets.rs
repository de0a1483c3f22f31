//! A token in a Secret of a real API server.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use e2e::control_plane::Role;
use e2e::harness::{self, TestFolder};
use global_controller::measure::{Answer, Failure};
use global_controller::remote::{SECRET_LABEL, Secrets};
use global_controller::{Credentials, SourceConfig};
use tokio::net::TcpListener;

use super::common::{ask, config, failure, sources_with};

#[tokio::test(flavor = "multi_thread")]
async fn semantics_46_a_secret_is_sent_only_when_it_carries_our_label() {
    let folder = TestFolder::new("secret").unwrap();
    let cluster = harness::start_cluster(folder.path(), "hub", Role::Hub).await.unwrap();
    let secret = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default, labels: {labels}}}\n\
             stringData: {{token: hunter2}}\n"
        )
    };
    let labelled = secret("labelled", &format!("{{{SECRET_LABEL}: prometheus}}"));
    cluster.kubectl().apply_server_side(&(labelled + &secret("plain", "{}"))).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(fake_that_wants_a_token)).await });
    let client = cluster.client().await.unwrap();
    let with = |name: &str, key: &str| {
        let credentials = Credentials::Secret { name: name.to_owned(), key: key.to_owned() };
        let config = SourceConfig { credentials, timeout: Duration::from_secs(5), ..config(&address) };
        sources_with(config, Secrets::of(client.clone(), "default"))
    };

    assert_eq!(ask(&with("labelled", "token"), "1").await, Answer::Scalar(1.0));
    for (name, key, words) in [
        ("plain", "token", "does not carry the label"),
        ("labelled", "other", "no key 'other'"),
        ("missing", "token", "failed to read Secret 'missing'"),
    ] {
        let failure = failure(&with(name, key), "1").await;
        let Failure::Misconfigured(said) = &failure else { panic!("{name}: {failure:?}") };
        assert!(said.contains(words), "{said}");
    }
    cluster.stop().await;
}

async fn fake_that_wants_a_token(request: Request) -> axum::response::Response {
    match request.headers().get(header::AUTHORIZATION) {
        Some(value) if value == "Bearer hunter2" => {
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#.into_response()
        }
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}
