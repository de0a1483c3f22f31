//! What the etcd backend is told when it is opened. Always there, so that callers needn't know whether it is built in.

use std::fmt;
use std::time::Duration;

use crate::config::OpenError;

/// Longest prefix: with 100 keys of the greatest length, each named in up to three places, a transaction still fits
/// etcd's 1.5 MiB.
const MAX_PREFIX_BYTES: usize = 256;
/// Etcd raises leases shorter than one and a half of its election timeouts; below this one renewal hardly fits.
const MIN_LEASE: Duration = Duration::from_secs(2);
/// A dead leader is missed for this long at worst; more than a minute is a mistake.
const MAX_LEASE: Duration = Duration::from_mins(1);

/// What the etcd backend is told when it is opened.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Name of the store; part of the default prefix.
    pub cluster: String,
    /// Id of this controller replica.
    pub id: String,
    /// Where this controller replica is reached: `https://host:port`. Followers read it from the leader's key.
    pub url: String,
    /// Members of the etcd: `https://host:port`, `http://host:port`, or `host:port`, which is https exactly when `tls`
    /// is set.
    pub endpoints: Vec<String>,
    /// Before all keys, ending with a slash; by default `/clusterrollout/<cluster>/`.
    pub prefix: Option<String>,
    /// Authority and certificate; none: plain text.
    pub tls: Option<EtcdTls>,
    /// Who we are to an etcd with authentication.
    pub user: Option<EtcdUser>,
    /// How long leadership outlives a dead leader, in whole seconds. See [`EtcdConfig::LEASE`].
    pub lease: Duration,
}

/// Certificates in PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// The authority of the etcd's certificates.
    pub authority: Vec<u8>,
    /// Our certificate and its key, if the etcd asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").field("has_identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// A user of the etcd.
#[derive(Clone)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

impl EtcdConfig {
    /// Five seconds: a renewal goes out every 1.7 s, and has 2.3 s to be confirmed before leadership is given up.
    pub const LEASE: Duration = Duration::from_secs(5);

    /// The prefix of all keys.
    pub fn full_prefix(&self) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("/clusterrollout/{}/", self.cluster))
    }

    /// Names every problem.
    pub fn check(&self) -> Result<(), OpenError> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        require(!self.cluster.is_empty(), "the cluster has no name".to_owned());
        require(!self.id.is_empty(), "the replica has no id".to_owned());
        require(!self.endpoints.is_empty(), "no endpoint of the etcd is given".to_owned());
        for endpoint in &self.endpoints {
            let authority = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
            let known =
                !endpoint.contains("://") || endpoint.starts_with("http://") || endpoint.starts_with("https://");
            require(known && !authority.is_empty(), format!("the endpoint '{endpoint}' is not http(s)://host:port"));
            let secure = endpoint.starts_with("https://");
            require(!secure || self.tls.is_some(), format!("the endpoint '{endpoint}' needs an authority to trust"));
            let plain = endpoint.starts_with("http://");
            require(!plain || self.tls.is_none(), format!("the endpoint '{endpoint}' is plain text, tls is set"));
        }
        let prefix = self.full_prefix();
        let sound = prefix.ends_with('/') && prefix.len() <= MAX_PREFIX_BYTES;
        require(sound, format!("the prefix '{prefix}' must end with '/' and have at most {MAX_PREFIX_BYTES} bytes"));
        let sound = self.lease >= MIN_LEASE && self.lease <= MAX_LEASE && self.lease.subsec_nanos() == 0;
        require(sound, format!("the lease of {:?} must be 2 to 60 whole seconds", self.lease));
        if problems.is_empty() { Ok(()) } else { Err(OpenError::Config { problem: problems.join("; ") }) }
    }
}
