//! The part of the configuration about an etcd as the store: checked, every problem named.

use std::path::PathBuf;

use serde::Deserialize;

use super::Problems;

/// Scheme of the command line's `--store`.
const SCHEME: &str = "etcd://";
/// The store refuses a longer one.
const MAX_PREFIX_BYTES: usize = 256;

/// An etcd as the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Its members: `host:port`, with or without `https://` or `http://`.
    pub endpoints: Vec<String>,
    /// Before all keys; by default `/clusterrollout/<cluster>/`.
    pub prefix: Option<String>,
    /// Certificates; none: plain text.
    pub tls: Option<EtcdTls>,
    /// User and the file with the password.
    pub user: Option<(String, PathBuf)>,
}

/// Files with certificates in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authority of the etcd's certificates.
    pub authority: PathBuf,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// `store.etcd` as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    tls: Option<TlsSection>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsSection {
    #[serde(default)]
    dir: Option<PathBuf>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    cert: Option<PathBuf>,
    #[serde(default)]
    key: Option<PathBuf>,
}

/// The etcd of the file's section and the command line's `--store`, whose endpoints win. Neither: no etcd.
pub(super) fn check(section: Option<Section>, argument: Option<&str>, problems: &mut Problems) -> Option<Etcd> {
    let endpoints_field = if argument.is_some() { "--store" } else { "store.etcd.endpoints" };
    let given = argument.map(|argument| {
        let listed = argument.strip_prefix(SCHEME);
        problems
            .require(listed.is_some(), "--store", || format!("'{argument}' must be {SCHEME}host:port[,host:port]..."));
        listed.unwrap_or_default().split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    if section.is_none() && given.is_none() {
        return None;
    }
    problems.require(cfg!(feature = "etcd"), "store.etcd", || federated_store::OpenError::NoEtcd.to_string());
    let Section { endpoints, prefix, tls, user, password_file } = section.unwrap_or_default();
    let endpoints = given.unwrap_or(endpoints);
    problems.require(!endpoints.is_empty(), endpoints_field, || "must name at least one member".to_owned());
    for endpoint in &endpoints {
        check_endpoint(endpoint, endpoints_field, tls.is_some(), problems);
    }
    if let Some(prefix) = &prefix {
        let sound = prefix.ends_with('/') && prefix.len() <= MAX_PREFIX_BYTES;
        problems.require(sound, "store.etcd.prefix", || {
            format!("'{prefix}' must end with '/' and have at most {MAX_PREFIX_BYTES} bytes")
        });
    }
    let tls = tls.and_then(|tls| check_tls(tls, problems));
    Some(Etcd { endpoints, prefix, tls, user: check_user(user, password_file, problems) })
}

fn check_endpoint(endpoint: &str, field: &str, tls: bool, problems: &mut Problems) {
    let (scheme, address) = match endpoint.split_once("://") {
        Some((scheme, address)) => (Some(scheme), address),
        None => (None, endpoint),
    };
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let sound = matches!(scheme, None | Some("http" | "https"))
        && !host.is_empty()
        && !host.contains('/')
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    problems.require(sound, field, || format!("'{endpoint}' must be [http[s]://]host:port"));
    problems.require(scheme != Some("https") || tls, field, || format!("'{endpoint}' needs store.etcd.tls"));
    problems.require(scheme != Some("http") || !tls, field, || {
        format!("'{endpoint}' is plain text, but tls is configured")
    });
}

fn check_tls(section: TlsSection, problems: &mut Problems) -> Option<EtcdTls> {
    const FIELD: &str = "store.etcd.tls";
    match section {
        TlsSection { dir: Some(dir), ca: None, cert: None, key: None } => {
            let identity = Some((dir.join("tls.crt"), dir.join("tls.key")));
            Some(EtcdTls { authority: dir.join("ca.crt"), identity })
        }
        TlsSection { dir: None, ca: Some(authority), cert, key } => {
            problems
                .require(cert.is_some() == key.is_some(), FIELD, || "cert and key go together, or neither".to_owned());
            Some(EtcdTls { authority, identity: cert.zip(key) })
        }
        _ => {
            problems.require(false, FIELD, || "must have either dir, or ca and perhaps cert and key".to_owned());
            None
        }
    }
}

fn check_user(user: Option<String>, file: Option<PathBuf>, problems: &mut Problems) -> Option<(String, PathBuf)> {
    let together = user.as_ref().is_none_or(|user| !user.is_empty()) && user.is_some() == file.is_some();
    problems.require(together, "store.etcd.user", || "user and passwordFile go together, or neither".to_owned());
    user.zip(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str, argument: Option<&str>) -> (Option<Etcd>, String) {
        let mut problems = Problems::default();
        let section = (!text.is_empty()).then(|| crds::yaml::from_str(text).unwrap());
        let etcd = check(section, argument, &mut problems);
        // Whether it is built in is another matter than what is written.
        let problems = problems.0.into_iter().filter(|problem| problem.field != "store.etcd");
        (etcd, problems.map(|problem| problem.to_string()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn without_a_word_of_it_there_is_no_etcd() {
        assert_eq!(read("", None), (None, String::new()));
    }

    #[test]
    fn a_folder_of_certificates_and_a_user_are_taken() {
        let text = "{endpoints: ['a:2379', 'https://b:2379'], prefix: /x/, tls: {dir: /t}, user: me, passwordFile: /p}";
        let (etcd, problems) = read(text, None);
        assert_eq!(problems, "");
        let identity = Some(("/t/tls.crt".into(), "/t/tls.key".into()));
        let expected = Etcd {
            endpoints: vec!["a:2379".into(), "https://b:2379".into()],
            prefix: Some("/x/".into()),
            tls: Some(EtcdTls { authority: "/t/ca.crt".into(), identity }),
            user: Some(("me".into(), "/p".into())),
        };
        assert_eq!(etcd, Some(expected));
    }

    #[test]
    fn the_command_line_names_the_members_and_the_file_the_rest() {
        let (etcd, problems) = read("{endpoints: ['a:2379'], tls: {ca: /ca}}", Some("etcd://b:1,c:2"));
        assert_eq!(problems, "");
        let etcd = etcd.unwrap();
        assert_eq!(etcd.endpoints, ["b:1", "c:2"]);
        assert_eq!(etcd.tls, Some(EtcdTls { authority: "/ca".into(), identity: None }));
        assert!(read("", Some("zookeeper://a:1")).1.contains("'zookeeper://a:1' must be etcd://host:port"));
    }

    #[test]
    fn all_problems_are_named() {
        let text = "{endpoints: ['a', 'ftp://a:1', 'http://a:1', ':1', 'a:0'], prefix: x, \
                     tls: {dir: /t, ca: /c}, user: me}";
        let (_, problems) = read(text, None);
        for words in ["'a' must", "'ftp://a:1' must", "'http://a:1' is plain", "':1' must", "'a:0' must", "'x' must"] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
        for words in ["either dir, or ca", "user and passwordFile go together"] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
        assert!(read("{endpoints: ['https://a:1']}", None).1.contains("needs store.etcd.tls"));
        assert!(read("{endpoints: ['a:1'], tls: {ca: /c, key: /k}}", None).1.contains("cert and key go together"));
        assert!(read("{endpoints: []}", None).1.contains("at least one member"));
    }
}
