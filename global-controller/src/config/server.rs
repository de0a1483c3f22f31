//! What every server that the controller asks or tells is described by: where it is, and who we are to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::{self, HeaderName, HeaderValue};
use serde::Deserialize;

use super::Problems;

/// A tenant, a few tags of a proxy.
const MAX_HEADERS: usize = 16;
/// What the client itself writes, or what has a field of its own here and must not be in a plain file.
const RESERVED_HEADERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// A server that the controller asks or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Base URL, http or https, with or without a path.
    pub address: String,
    /// Certificates, for https.
    pub tls: ServerTls,
    /// Who we are.
    pub credentials: Credentials,
    /// Sent with each request.
    pub headers: Headers,
}

/// Files with certificates in PEM; they may change while the controller runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// Authorities that the server's certificate may be of; none: those of the system.
    pub authority: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where the credentials are; the configuration holds none itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The server asks for none.
    None,
    /// A file with a bearer token.
    BearerFile(PathBuf),
    /// User and password.
    Basic {
        /// Who.
        user: User,
        /// A file with the password.
        password: PathBuf,
    },
    /// A bearer token in a Secret of the controller's own namespace.
    Secret {
        /// Name of the Secret.
        name: String,
        /// Key in its data.
        key: String,
    },
}

/// The user of basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By name.
    Name(String),
    /// A file with the name.
    File(PathBuf),
}

/// Headers by name. Values may be confidential, so they are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub BTreeMap<String, String>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The fields of a server as they are written. They stand beside those that each kind of server has of its own.
pub(super) struct Written {
    pub address: String,
    pub tls: Option<TlsSection>,
    pub bearer_token_file: Option<PathBuf>,
    pub basic_auth: Option<BasicSection>,
    pub secret_ref: Option<SecretSection>,
    pub headers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    #[serde(default, rename = "caFile")]
    authority: Option<PathBuf>,
    #[serde(default, rename = "certFile")]
    certificate: Option<PathBuf>,
    #[serde(default, rename = "keyFile")]
    key: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BasicSection {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    username_file: Option<PathBuf>,
    password_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SecretSection {
    name: String,
    key: String,
}

impl Written {
    /// The server; `at` is the path of the fields.
    pub fn check(self, at: &str, problems: &mut Problems) -> Server {
        let Self { address, tls, bearer_token_file, basic_auth, secret_ref, headers } = self;
        let https = check_address(&address, at, problems);
        problems.require(https || tls.is_none(), &format!("{at}.tls"), || format!("'{address}' is no https address"));
        check_headers(&headers, at, problems);
        Server {
            tls: check_tls(tls.unwrap_or_default(), at, problems),
            credentials: check_credentials(bearer_token_file, basic_auth, secret_ref, at, problems),
            address,
            headers: Headers(headers),
        }
    }
}

/// Whether it is an https address. An unfit one is not shown whole: it may hold a password.
fn check_address(address: &str, at: &str, problems: &mut Problems) -> bool {
    let field = format!("{at}.address");
    let Ok(url) = Url::parse(address) else {
        problems.require(false, &field, || "must be a URL such as https://prometheus.example.com:9090".to_owned());
        return false;
    };
    problems.require(matches!(url.scheme(), "http" | "https") && url.has_host(), &field, || {
        format!("the scheme is '{}': must be http or https", url.scheme())
    });
    problems.require(url.username().is_empty() && url.password().is_none(), &field, || {
        "must not hold a user or password: use basicAuth".to_owned()
    });
    problems.require(url.query().is_none() && url.fragment().is_none(), &field, || {
        "must not have a query or fragment".to_owned()
    });
    url.scheme() == "https"
}

fn check_tls(section: TlsSection, at: &str, problems: &mut Problems) -> ServerTls {
    let TlsSection { authority, certificate, key } = section;
    problems.require(certificate.is_some() == key.is_some(), &format!("{at}.tls"), || {
        "certFile and keyFile go together, or neither".to_owned()
    });
    ServerTls { authority, identity: certificate.zip(key) }
}

pub(super) fn check_credentials(
    bearer: Option<PathBuf>,
    basic: Option<BasicSection>,
    secret: Option<SecretSection>,
    at: &str,
    problems: &mut Problems,
) -> Credentials {
    match (bearer, basic, secret) {
        (None, None, None) => Credentials::None,
        (Some(file), None, None) => Credentials::BearerFile(file),
        (None, Some(basic), None) => check_basic(basic, at, problems),
        (None, None, Some(SecretSection { name, key })) => {
            problems.require(!name.is_empty() && !key.is_empty(), &format!("{at}.secretRef"), || {
                "name and key must be set".to_owned()
            });
            Credentials::Secret { name, key }
        }
        _ => {
            problems.require(false, at, || "has several of bearerTokenFile, basicAuth and secretRef".to_owned());
            Credentials::None
        }
    }
}

fn check_basic(section: BasicSection, at: &str, problems: &mut Problems) -> Credentials {
    let BasicSection { username, username_file, password_file } = section;
    let user = match (username, username_file) {
        // A colon ends the name in what is sent.
        (Some(name), None) if !name.is_empty() && !name.contains(':') => User::Name(name),
        (None, Some(file)) => User::File(file),
        _ => {
            problems.require(false, &format!("{at}.basicAuth"), || {
                "must have either username, without a colon, or usernameFile".to_owned()
            });
            User::Name(String::new())
        }
    };
    Credentials::Basic { user, password: password_file }
}

fn check_headers(headers: &BTreeMap<String, String>, at: &str, problems: &mut Problems) {
    let field = format!("{at}.headers");
    problems.require(headers.len() <= MAX_HEADERS, &field, || {
        format!("{} headers: there can be at most {MAX_HEADERS}", headers.len())
    });
    for (name, value) in headers {
        let known = HeaderName::try_from(name.as_str());
        problems.require(known.is_ok(), &field, || format!("'{name}' is no name of a header"));
        problems.require(known.is_ok_and(|name| !RESERVED_HEADERS.contains(&name)), &field, || {
            format!("'{name}' can't be set here; credentials have fields of their own")
        });
        problems.require(HeaderValue::try_from(value.as_str()).is_ok(), &field, || {
            format!("the value of '{name}' is none that a header can have")
        });
    }
}

pub(super) fn between(value: u64, least: u64, most: u64, field: &str, problems: &mut Problems) {
    problems.require((least..=most).contains(&value), field, || format!("{value}: must be {least} to {most}"));
}
