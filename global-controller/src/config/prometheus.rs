//! The part of the configuration about Prometheus servers: checked, every problem named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crds::{MAX_NAME_BYTES, is_dns_label};
use serde::Deserialize;

use super::Problems;
use super::server::{
    BasicSection, Credentials, Headers, SecretSection, Server, ServerTls, TlsSection, Written, between,
};

/// Each has connections and figures of its own; fleets have a handful of servers.
const MAX_SOURCES: usize = 32;
/// A Prometheus server, or what speaks its API, that gates may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// How rollouts name it: a DNS label.
    pub name: String,
    /// Base URL, http or https, with or without a path.
    pub address: String,
    /// Certificates, for https.
    pub tls: ServerTls,
    /// Who we are.
    pub credentials: Credentials,
    /// Sent with each question.
    pub headers: Headers,
    /// How long one attempt may take, 1 to 60 s.
    pub timeout: Duration,
    /// Further attempts after one that got no answer, 0 to 5.
    pub retries: u32,
    /// Questions under way at a time, 1 to 64.
    pub max_concurrent: usize,
}

impl SourceConfig {
    /// One that a rollout names by its address: nobody has given credentials for it.
    pub(crate) fn of_address(address: &str) -> Self {
        Self {
            name: address.to_owned(),
            address: address.to_owned(),
            tls: ServerTls::default(),
            credentials: Credentials::None,
            headers: Headers::default(),
            timeout: Duration::from_secs(default_timeout()),
            retries: default_retries(),
            max_concurrent: default_concurrency(),
        }
    }
}

/// `prometheus` as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    sources: Vec<SourceSection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceSection {
    name: String,
    address: String,
    #[serde(default)]
    tls: Option<TlsSection>,
    #[serde(default)]
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    basic_auth: Option<BasicSection>,
    #[serde(default)]
    secret_ref: Option<SecretSection>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "default_timeout")]
    timeout_seconds: u64,
    #[serde(default = "default_retries")]
    retries: u32,
    #[serde(default = "default_concurrency")]
    max_concurrent: usize,
}

fn default_timeout() -> u64 {
    10
}

fn default_retries() -> u32 {
    2
}

fn default_concurrency() -> usize {
    8
}

/// The servers of the section, in its order.
pub(super) fn check(section: Section, problems: &mut Problems) -> Vec<SourceConfig> {
    let Section { sources } = section;
    problems.require(sources.len() <= MAX_SOURCES, "prometheus.sources", || {
        format!("{} servers: there can be at most {MAX_SOURCES}", sources.len())
    });
    let mut names = BTreeSet::new();
    for (index, source) in sources.iter().enumerate() {
        problems.require(names.insert(source.name.clone()), &format!("prometheus.sources[{index}].name"), || {
            format!("'{}' is used twice", source.name)
        });
    }
    let numbered = sources.into_iter().enumerate();
    numbered.map(|(index, source)| check_source(source, &format!("prometheus.sources[{index}]"), problems)).collect()
}

fn check_source(source: SourceSection, at: &str, problems: &mut Problems) -> SourceConfig {
    let SourceSection {
        name,
        address,
        tls,
        bearer_token_file,
        basic_auth,
        secret_ref,
        headers,
        timeout_seconds,
        retries,
        max_concurrent,
    } = source;
    problems.require(is_dns_label(&name), &format!("{at}.name"), || {
        format!("'{name}' must be a DNS label: at most {MAX_NAME_BYTES} of a-z, 0-9 and '-'")
    });
    let written = Written { address, tls, bearer_token_file, basic_auth, secret_ref, headers };
    let Server { address, tls, credentials, headers } = written.check(at, problems);
    between(timeout_seconds, 1, 60, &format!("{at}.timeoutSeconds"), problems);
    between(u64::from(retries), 0, 5, &format!("{at}.retries"), problems);
    between(max_concurrent as u64, 1, 64, &format!("{at}.maxConcurrent"), problems);
    SourceConfig {
        name,
        address,
        tls,
        credentials,
        headers,
        timeout: Duration::from_secs(timeout_seconds),
        retries,
        max_concurrent,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::server::User;
    use super::*;

    fn read(text: &str) -> (Vec<SourceConfig>, String) {
        let mut problems = Problems::default();
        let sources = check(crds::yaml::from_str(text).unwrap(), &mut problems);
        (sources, problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let (sources, problems) = read("{sources: [{name: central, address: 'http://prometheus:9090/base'}]}");
        assert_eq!(problems, "");
        let expected = SourceConfig {
            name: "central".into(),
            address: "http://prometheus:9090/base".into(),
            tls: ServerTls::default(),
            credentials: Credentials::None,
            headers: Headers::default(),
            timeout: Duration::from_secs(10),
            retries: 2,
            max_concurrent: 8,
        };
        assert_eq!(sources, [expected]);
    }

    #[test]
    fn every_way_to_say_who_we_are_is_taken() {
        let with = |more: &str| {
            let (sources, problems) = read(&format!("{{sources: [{{name: a, address: 'https://a', {more}}}]}}"));
            assert_eq!(problems, "");
            sources.into_iter().next().unwrap()
        };
        assert_eq!(with("bearerTokenFile: /t").credentials, Credentials::BearerFile("/t".into()));
        let secret = Credentials::Secret { name: "s".into(), key: "k".into() };
        assert_eq!(with("secretRef: {name: s, key: k}").credentials, secret);
        let basic = |user| Credentials::Basic { user, password: "/p".into() };
        assert_eq!(with("basicAuth: {username: me, passwordFile: /p}").credentials, basic(User::Name("me".into())));
        assert_eq!(with("basicAuth: {usernameFile: /u, passwordFile: /p}").credentials, basic(User::File("/u".into())));
        let tls = with("tls: {caFile: /ca, certFile: /c, keyFile: /k}").tls;
        assert_eq!(tls.authority, Some("/ca".into()));
        assert_eq!(tls.identity, Some(("/c".into(), "/k".into())));
    }

    #[test]
    fn all_problems_are_named_with_their_fields() {
        let (_, problems) = read(
            "sources:
- {name: A, address: 'ftp://a', timeoutSeconds: 61, retries: 6, maxConcurrent: 0}
- {name: b, address: nowhere, bearerTokenFile: /t, secretRef: {name: s, key: k}}
- {name: b, address: 'http://a?x=1', tls: {certFile: /c}, basicAuth: {passwordFile: /p}}
- {name: c, address: 'https://a', headers: {Authorization: x, 'a b': c, fine: \"a\\nb\"}, secretRef: {name: '', key: k}}
",
        );
        for words in [
            "prometheus.sources[0].name: 'A' must be a DNS label",
            "prometheus.sources[0].address: the scheme is 'ftp'",
            "prometheus.sources[0].timeoutSeconds: 61: must be 1 to 60",
            "prometheus.sources[0].retries: 6: must be 0 to 5",
            "prometheus.sources[0].maxConcurrent: 0: must be 1 to 64",
            "prometheus.sources[1].address: must be a URL",
            "prometheus.sources[1]: has several of",
            "prometheus.sources[2].name: 'b' is used twice",
            "prometheus.sources[2].address: must not have a query",
            "prometheus.sources[2].tls: 'http://a?x=1' is no https address",
            "prometheus.sources[2].tls: certFile and keyFile go together",
            "prometheus.sources[2].basicAuth: must have either username",
            "prometheus.sources[3].headers: 'Authorization' can't be set here",
            "prometheus.sources[3].headers: 'a b' is no name",
            "prometheus.sources[3].headers: the value of 'fine'",
            "prometheus.sources[3].secretRef: name and key must be set",
        ] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
    }

    #[test]
    fn semantics_46_an_address_carries_no_credentials_and_nothing_prints_them() {
        let (sources, problems) =
            read("{sources: [{name: a, address: 'https://me:hunter2@a', headers: {X-Key: hunter2}}]}");
        assert!(problems.contains("must not hold a user or password"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
        assert!(!format!("{:?}", sources[0].headers).contains("hunter2"));
    }
}
