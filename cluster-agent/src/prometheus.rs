//! The Prometheus beside the agent, which a hub often can't reach: the hub says what to ask, the agent asks it and tells what it
//! said. What that means is not decided here. Client required.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crds::{Finding, Found, Inquiry};
use futures::{StreamExt as _, stream};
use prometheus_asker::{Answer, Failure, Health, Moments, Question, ask, shortened, with_causes};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use tokio::sync::{Mutex, Semaphore};

use crate::hub::Hub;
use crate::metrics::Metrics;

/// Queries under way at once: it serves this cluster, and has other things to do.
const AT_ONCE: usize = 8;
/// Longest time for one answer, as long as the hub waits at all less the way there and back.
const DEADLINE: Duration = Duration::from_secs(10);
/// For the way back of the answers.
const WAY_BACK: Duration = Duration::from_secs(1);
/// A handshake within the cluster.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Inquiries under way at once: each rollout has one at a time.
const MAX_INQUIRIES: usize = 16;
/// Queries of one inquiry, as the hub sends at most.
const MAX_QUERIES: usize = 64;
/// Series of one answer, as the hub takes at most.
const MAX_SERIES: usize = 1_000;
/// Largest token or certificate file that makes sense.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Base URL, http or https.
    pub url: Url,
    /// File with a bearer token; read again for each inquiry.
    pub token_file: Option<PathBuf>,
    /// File with the certificates that its own may be signed by; read again for each inquiry.
    pub ca_file: Option<PathBuf>,
}

/// Why it can't be asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to read '{path}'")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("'{0}' is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge(PathBuf),
    #[error("the token in '{0}' fits no header")]
    Token(PathBuf),
    #[error("failed to build the client")]
    Client(#[from] reqwest::Error),
}

/// Takes inquiries of the hub.
#[derive(Debug)]
pub struct Inquirer {
    member: String,
    hub: Arc<Hub>,
    beside: Option<Beside>,
    /// The client, and the certificates that it was made with.
    client: Mutex<Option<(Option<Vec<u8>>, Client)>>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Inquirer {
    /// Without `beside` every answer is that there is none.
    pub fn new(member: &str, hub: Arc<Hub>, beside: Option<Beside>, metrics: Arc<Metrics>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_INQUIRIES));
        Self { member: member.to_owned(), hub, beside, client: Mutex::default(), places, metrics }
    }

    /// Whether there is a Prometheus to ask.
    pub fn asks(&self) -> bool {
        self.beside.is_some()
    }

    /// Answers in a task of its own, so that the stream goes on. With too many under way it is dropped, and the hub asks
    /// again at its next measurement.
    pub fn take(self: &Arc<Self>, inquiry: Inquiry) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.inquired("dropped");
            return tracing::warn!(id = inquiry.id, "more than {MAX_INQUIRIES} inquiries at a time: dropped");
        };
        let inquirer = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let Inquiry { id, at_millis, within_millis, queries } = inquiry;
            let within = Duration::from_millis(within_millis);
            let limit = within.checked_sub(WAY_BACK).unwrap_or(within).min(DEADLINE);
            let answers = inquirer.answers(&queries, at_millis, limit).await;
            let finding = Finding { member: inquirer.member.clone(), id, answers };
            match inquirer.hub.post("/v1/samples", &finding).await {
                Ok(()) => inquirer.metrics.inquired("sent"),
                Err(error) => {
                    inquirer.metrics.inquired("failed");
                    tracing::warn!(error = with_causes(&error), "failed to tell the hub what the Prometheus said");
                }
            }
        });
    }

    async fn answers(&self, queries: &[String], at_millis: i64, limit: Duration) -> Vec<Found> {
        let all = |why: &str| queries.iter().map(|_| Found::Failed(why.to_owned())).collect();
        let Some(beside) = &self.beside else { return all("its agent has no --prometheus-url") };
        if queries.len() > MAX_QUERIES {
            return all("its agent takes 64 queries at most");
        }
        let (client, token) = match self.ready(beside).await {
            Ok(ready) => ready,
            Err(error) => return all(&shortened(&format!("its agent can't ask: {}", with_causes(&error)))),
        };
        let asked = queries.iter().map(|query| {
            let (client, token) = (client.clone(), token.clone());
            async move {
                let about = Moments::At(at_millis);
                let question = Question { query, about };
                let (reply, health) = ask(client, beside.url.as_str(), token, question, limit).await;
                // One moment has one answer.
                let answer = reply.at(about).pop().unwrap_or(Answer::Failed(Failure::Timeout));
                if health != Health::Well {
                    tracing::warn!(query, ?answer, "the Prometheus gave no answer");
                }
                found(answer)
            }
        });
        stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn ready(&self, beside: &Beside) -> Result<(Client, Option<HeaderValue>), Error> {
        let token = match &beside.token_file {
            Some(path) => Some(token(path).await?),
            None => None,
        };
        let authority = match &beside.ca_file {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let mut built = self.client.lock().await;
        if let Some((_, client)) = built.as_ref().filter(|(known, _)| *known == authority) {
            return Ok((client.clone(), token));
        }
        let client = build(&beside.url, authority.as_deref())?;
        Ok((built.insert((authority, client)).1.clone(), token))
    }
}

fn build(url: &Url, authority: Option<&[u8]>) -> Result<Client, Error> {
    // A redirect could lead anywhere, with the token.
    let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_DEADLINE);
    // Without TLS the system's authorities needn't be there.
    let authority = authority.or((url.scheme() == "http").then_some(&[]));
    if let Some(pem) = authority {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?);
    }
    Ok(builder.build()?)
}

async fn token(path: &PathBuf) -> Result<HeaderValue, Error> {
    let bytes = read(path).await?;
    let unfit = || Error::Token(path.clone());
    let text = std::str::from_utf8(&bytes).map_err(|_| unfit())?.trim();
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| unfit())?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.clone(), source };
    if tokio::fs::metadata(path).await.map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(Error::TooLarge(path.clone()));
    }
    tokio::fs::read(path).await.map_err(failed)
}

/// As it is told: which labels a series has plays no part.
fn found(answer: Answer) -> Found {
    match answer {
        Answer::Vector(series) if series.len() > MAX_SERIES => {
            Found::Failed(format!("{} series, at most {MAX_SERIES}: aggregate the query", series.len()))
        }
        Answer::Vector(series) => Found::values(series.into_iter().map(|(_, value)| value)),
        Answer::Scalar(value) => Found::values([value]),
        Answer::Failed(failure) => Found::Failed(shortened(&failure.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use prometheus_asker::{Failure, Labels};

    use super::*;

    const VECTOR: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]},{"metric":{"a":"b"},"value":[1,"NaN"]}]}}"#;

    fn inquirer(beside: Option<Beside>) -> Inquirer {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let hub = Arc::new(Hub::new(Client::new(), Vec::new()));
        Inquirer::new("m1", hub, beside, Arc::default())
    }

    /// A Prometheus that tells the time it is asked about, if the token is right.
    async fn prometheus() -> Url {
        async fn query(headers: HeaderMap, form: String) -> (StatusCode, String) {
            let is_known = headers.get("authorization").is_some_and(|value| value == "Bearer secret");
            match (is_known, form.contains("time=1700000000.250")) {
                (false, _) => (StatusCode::UNAUTHORIZED, "no".to_owned()),
                (true, true) => (StatusCode::OK, VECTOR.to_owned()),
                (true, false) => (StatusCode::BAD_REQUEST, "another time".to_owned()),
            }
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/base/api/v1/query", post(query));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/base").parse().unwrap()
    }

    #[tokio::test]
    async fn it_asks_about_the_moment_that_the_hub_names_with_the_token_of_the_file() {
        let folder = std::env::temp_dir().join(format!("cluster-agent-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let token_file = folder.join("token");
        std::fs::write(&token_file, "wrong\n").unwrap();
        let beside = Beside { url: prometheus().await, token_file: Some(token_file.clone()), ca_file: None };
        let inquirer = inquirer(Some(beside));
        let queries = ["up".to_owned()];
        let ask = || inquirer.answers(&queries, 1_700_000_000_250, Duration::from_secs(5));
        let Found::Failed(why) = ask().await.remove(0) else { unreachable!("the token is wrong") };
        assert!(why.contains("HTTP 401"), "{why}");
        std::fs::write(&token_file, "secret\n").unwrap();
        assert_eq!(ask().await, [Found::Values(vec!["0.5".to_owned(), "NaN".to_owned()])]);
        std::fs::remove_file(&token_file).unwrap();
        let Found::Failed(why) = ask().await.remove(0) else { unreachable!("there is no token") };
        assert!(why.starts_with("its agent can't ask: failed to read"), "{why}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn semantics_27_without_a_prometheus_that_is_said_for_each_query() {
        let queries = ["a".to_owned(), "b".to_owned()];
        let answers = inquirer(None).answers(&queries, 0, Duration::from_secs(1)).await;
        assert_eq!(answers, vec![Found::Failed("its agent has no --prometheus-url".to_owned()); 2]);
    }

    #[test]
    fn more_series_than_the_hub_takes_are_no_answer() {
        let many = (0..=MAX_SERIES).map(|number| (Labels::from([("n".to_owned(), number.to_string())]), 1.0));
        assert!(matches!(found(Answer::Vector(many.collect())), Found::Failed(why) if why.starts_with("1001 series")));
        assert_eq!(found(Answer::Failed(Failure::Timeout)), Found::Failed("no answer in time".to_owned()));
    }
}
