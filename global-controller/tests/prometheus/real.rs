//! Against real Prometheus servers.

use std::path::Path;
use std::time::Duration;

use e2e::assets::{Assets, Program};
use e2e::harness::{TestFolder, wait_for};
use e2e::pki::Authority;
use e2e::progress::Progress;
use e2e::prometheus::{Prometheus, Setup};
use global_controller::measure::{Answer, Failure, Labels};
use global_controller::{Credentials, ServerTls, SourceConfig, User};
use tokio::time::Instant;

use super::common::{PATIENCE, ask, config, failure, sources, values};

/// bcrypt of "open sesame", with few rounds.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";

async fn start(folder: &Path, web: Option<&str>) -> Prometheus {
    let assets = Assets::ensure(&[Program::Prometheus], &Progress::stderr()).await.unwrap();
    let setup = Setup { dir: &folder.join("prometheus"), logs: folder, targets: &[], web };
    let prometheus = Prometheus::prepare(&assets, &setup).unwrap();
    prometheus.part().start().await.unwrap();
    prometheus
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_answers_are_plain_values_and_what_is_no_number_stays_none() {
    let folder = TestFolder::new("answers").unwrap();
    let prometheus = start(folder.path(), None).await;
    let sources = sources(config(prometheus.url()));

    assert_eq!(ask(&sources, "vector(2) / 8").await, Answer::Vector(vec![(Labels::new(), 0.25)]));
    assert_eq!(ask(&sources, "1 + 1").await, Answer::Scalar(2.0));
    assert_eq!(ask(&sources, "no_such_series").await, Answer::Vector(Vec::new()));
    assert!(values(&ask(&sources, "vector(0) / 0").await)[0].is_nan());
    assert_eq!(values(&ask(&sources, "vector(1) / 0").await), [f64::INFINITY]);
    assert_eq!(values(&ask(&sources, "vector(-1) / 0").await), [f64::NEG_INFINITY]);
    assert!(matches!(ask(&sources, "0 / 0").await, Answer::Scalar(value) if value.is_nan()));

    let several =
        r#"label_replace(vector(1), "cluster", "b", "", "") or label_replace(vector(2), "cluster", "a", "", "")"#;
    let of = |cluster: &str| Labels::from([("cluster".to_owned(), cluster.to_owned())]);
    assert_eq!(ask(&sources, several).await, Answer::Vector(vec![(of("a"), 2.0), (of("b"), 1.0)]));

    // The moment is the asker's, to the millisecond.
    assert_eq!(ask(&sources, "time()").await, Answer::Scalar(1_700_000_000.25));
    prometheus.part().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_a_query_that_is_wrong_is_refused_in_prometheus_own_words() {
    let folder = TestFolder::new("queries").unwrap();
    let prometheus = start(folder.path(), None).await;
    let sources = sources(config(prometheus.url()));

    let Failure::BadQuery(words) = failure(&sources, "rate(").await else { panic!() };
    assert!(words.contains("parse error"), "{words}");
    let many = r#"vector(1) * on() (vector(1) or label_replace(vector(2), "a", "b", "", ""))"#;
    let Failure::BadQuery(words) = failure(&sources, many).await else { panic!() };
    assert!(words.contains("many-to-many") || words.contains("multiple matches"), "{words}");
    assert!(matches!(failure(&sources, "up[5m]").await, Failure::BadQuery(_)));
    // However often that happens, the server is not left alone for it.
    for _ in 0..20 {
        assert!(matches!(failure(&sources, "rate(").await, Failure::BadQuery(_)));
    }
    assert_eq!(ask(&sources, "1").await, Answer::Scalar(1.0));

    // Fifty times the same hundred thousand letters.
    let long = format!(r#"label_replace(vector(1), "a", "{}", "", "")"#, "x".repeat(100_000));
    let joined = format!(r#"label_join({long}, "b", "",{})"#, vec![r#""a""#; 50].join(","));
    assert!(matches!(failure(&sources, &joined).await, Failure::TooLarge { .. }));
    let wrong_path = super::common::sources(config(&format!("{}/elsewhere", prometheus.url())));
    assert!(matches!(failure(&wrong_path, "1").await, Failure::Http { status: 404, .. }));
    prometheus.part().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_a_server_that_is_gone_is_unreachable_then_left_alone_and_asked_again_when_it_is_back() {
    let folder = TestFolder::new("outage").unwrap();
    let prometheus = start(folder.path(), None).await;
    let sources = sources(config(prometheus.url()));
    assert_eq!(ask(&sources, "1").await, Answer::Scalar(1.0));

    prometheus.part().stop().await;
    for _ in 0..5 {
        let failure = failure(&sources, "1").await;
        let Failure::Unreachable(words) = &failure else { panic!("{failure:?}") };
        assert!(words.to_lowercase().contains("refused"), "{words}");
    }
    assert_eq!(failure(&sources, "1").await, Failure::CircuitOpen);

    prometheus.part().start().await.unwrap();
    wait_for("the source to be asked again", PATIENCE, || async {
        let answer = ask(&sources, "1").await;
        Ok(if answer == Answer::Scalar(1.0) { Ok(()) } else { Err(format!("{answer:?}")) })
    })
    .await
    .unwrap();
    prometheus.part().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_a_query_that_takes_too_long_is_a_timeout_and_the_server_stays_in_use() {
    let folder = TestFolder::new("slow").unwrap();
    let prometheus = start(folder.path(), None).await;
    let slow = SourceConfig { timeout: Duration::from_secs(1), ..config(prometheus.url()) };
    let sources = sources(slow);
    // Half a million steps of a thousand sums each: a minute of work.
    let heavy = format!("sum_over_time(({})[500s:1ms])", vec!["vector(time())"; 1000].join("+"));
    for _ in 0..6 {
        let started = Instant::now();
        let failure = failure(&sources, &heavy).await;
        assert_eq!(failure, Failure::Timeout);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    assert_eq!(ask(&sources, "1").await, Answer::Scalar(1.0));
    prometheus.part().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_46_certificates_and_passwords_are_checked_on_both_sides() {
    let folder = TestFolder::new("protected").unwrap();
    let authority = Authority::new("prometheus").unwrap();
    let tls = folder.path().join("tls");
    authority.write(&authority.issue("test", "prometheus").unwrap(), &tls).unwrap();
    let file = |name: &str| tls.join(name);
    let web = format!(
        "tls_server_config: {{cert_file: {}, key_file: {}, client_ca_file: {}, client_auth_type: \
         RequireAndVerifyClientCert}}\nbasic_auth_users: {{aladdin: \"{PASSWORD_HASH}\"}}\n",
        file("tls.crt").display(),
        file("tls.key").display(),
        file("ca.crt").display()
    );
    let prometheus = start(folder.path(), Some(&web)).await;
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let identity = Some((file("tls.crt"), file("tls.key")));
    let full = SourceConfig {
        tls: ServerTls { authority: Some(file("ca.crt")), identity: identity.clone() },
        credentials: Credentials::Basic { user: User::Name("aladdin".into()), password: password.clone() },
        ..config(prometheus.url())
    };
    let good = sources(full.clone());
    wait_for("the protected Prometheus", PATIENCE, || async {
        let answer = ask(&good, "1").await;
        Ok(if answer == Answer::Scalar(1.0) { Ok(()) } else { Err(format!("{answer:?}")) })
    })
    .await
    .unwrap();

    // A stranger's authority, no certificate of our own, no password: each is refused.
    let tls = ServerTls { authority: None, identity };
    let refused = failure(&sources(SourceConfig { tls, ..full.clone() }), "1").await;
    let Failure::Unreachable(words) = refused else { panic!("{refused:?}") };
    assert!(words.contains("certificate"), "{words}");
    let tls = ServerTls { authority: full.tls.authority.clone(), identity: None };
    assert!(matches!(failure(&sources(SourceConfig { tls, ..full.clone() }), "1").await, Failure::Unreachable(_)));
    let nobody = SourceConfig { credentials: Credentials::None, ..full.clone() };
    assert!(matches!(failure(&sources(nobody), "1").await, Failure::Http { status: 401, .. }));

    // A wrong password is read again at once when it was refused.
    std::fs::write(&password, "open barley").unwrap();
    let rotated = sources(full);
    let refused = failure(&rotated, "1").await;
    assert!(matches!(refused, Failure::Http { status: 401, .. }), "{refused:?}");
    assert!(!refused.to_string().contains("barley"));
    std::fs::write(&password, "open sesame").unwrap();
    assert_eq!(ask(&rotated, "1").await, Answer::Scalar(1.0));
    prometheus.part().stop().await;
}
