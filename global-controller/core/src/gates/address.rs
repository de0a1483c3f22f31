//! Addresses of Prometheus servers that rollouts name themselves, in so narrow a form that nobody reads another origin in them
//! than we do.

use std::fmt;
use std::str::FromStr;

use super::as_text::as_text;

/// Longest address, in bytes.
const MAX_BYTES: usize = 512;

/// Base URL of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    origin: Origin,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be http:// or https:// in lower case, with a host name or IPv4 address, perhaps a port and a path of letters, digits and . _ ~ - /, and at most 512 bytes"
)]
pub struct AddressError;

impl Address {
    /// Whether its origin is one of these.
    pub fn is_among(&self, origins: &[Origin]) -> bool {
        origins.contains(&self.origin)
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError)?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(AddressError),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_host = host.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'-'))
            && [host.bytes().next(), host.bytes().next_back()].iter().all(|end| end.is_some_and(inner));
        let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-/".contains(&byte));
        let port = match port {
            None => default_port,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| AddressError)?,
            Some(_) => return Err(AddressError),
        };
        if !(is_host && is_path && port > 0 && text.len() <= MAX_BYTES) {
            return Err(AddressError);
        }
        let origin = Origin { scheme: scheme.to_owned(), host: host.to_owned(), port };
        Ok(Self { text: text.to_owned(), origin })
    }
}

impl FromStr for Origin {
    type Err = AddressError;

    /// An address without a path.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Address { text, origin } = text.parse()?;
        let bare = text.matches('/').count() == 2;
        if bare { Ok(origin) } else { Err(AddressError) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match (scheme.as_str(), port) {
            ("http", 80) | ("https", 443) => write!(f, "{scheme}://{host}"),
            _ => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

as_text!(Address);
as_text!(Origin);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn semantics_46_an_origin_is_scheme_host_and_port_whatever_the_path() {
        let allowed: Vec<Origin> =
            ["https://prometheus.example.com", "http://10.0.0.1:9090"].map(|text| text.parse().unwrap()).into();
        for (address, is_allowed) in [
            ("https://prometheus.example.com", true),
            ("https://prometheus.example.com:443/base/", true),
            ("http://10.0.0.1:9090", true),
            ("http://prometheus.example.com", false),
            ("https://prometheus.example.com:9090", false),
            ("https://prometheus.example.com.evil.org", false),
            ("https://evil.org/prometheus.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(address.parse::<Address>().unwrap().is_among(&allowed), is_allowed, "{address}");
        }
    }

    #[test]
    fn semantics_46_what_could_be_read_two_ways_is_no_address() {
        for text in [
            "",
            "prometheus:9090",
            "ftp://prometheus",
            "https://",
            "https://me:secret@prometheus",
            "https://prometheus\\@evil.org",
            "https://prometheus?x=1",
            "https://prometheus/#f",
            "https://prometheus/%2e",
            "https://Prometheus",
            "HTTPS://prometheus",
            "https://prometheus:",
            "https://prometheus:0",
            "https://prometheus:65536",
            "https://prometheus:+9090",
            "https://prometheus.",
            "https://[::1]",
            " https://prometheus",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
        assert!(
            "https://prometheus/base".parse::<Origin>().is_err() && "https://prometheus/".parse::<Origin>().is_err()
        );
    }

    #[test]
    fn an_origin_is_written_without_the_port_that_goes_without_saying() {
        for (text, written) in
            [("https://a:443", "https://a"), ("http://a:443", "http://a:443"), ("http://a", "http://a")]
        {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), written);
        }
    }
}
