//! Certificates: one authority, and what it signs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Organization of the controller's replicas.
pub const REPLICA_ORGANIZATION: &str = "rollout.example.com:replicas";
/// Organization of members' agents.
pub const MEMBER_ORGANIZATION: &str = "rollout.example.com:members";

/// A certificate authority whose key lives in this process only.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

impl Authority {
    /// A new authority. Certificates get rcgen's validity, which outlives any playground.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("failed to make the key of an authority")?;
        let certificate = params.self_signed(&key).context("failed to sign an authority")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for a server on this machine that is also a client.
    pub fn issue(&self, organization: &str, common_name: &str) -> Result<Pair> {
        self.issue_with(organization, common_name, &[])
    }

    /// As `issue`, with further names that the server may be called by.
    pub fn issue_with(&self, organization: &str, common_name: &str, names: &[&str]) -> Result<Pair> {
        let all = ["127.0.0.1", "localhost"].iter().chain(names).map(|name| (*name).to_owned());
        let mut params =
            CertificateParams::new(all.collect::<Vec<_>>()).context("a name that no certificate can hold")?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("failed to make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("failed to sign a certificate")?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Writes `ca.crt`, `tls.crt` and `tls.key`, named as in a `kubernetes.io/tls` Secret, into `folder`.
    pub fn write(&self, pair: &Pair, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create \"{}\"", folder.display()))?;
        write_secret(&folder.join("ca.crt"), &self.certificate)?;
        write_secret(&folder.join("tls.crt"), &pair.certificate)?;
        write_secret(&folder.join("tls.key"), &pair.key)
    }
}

/// A key pair for signing service account tokens, as (private, public) PEM.
pub fn signing_key() -> Result<(String, String)> {
    let key = KeyPair::generate().context("failed to make a signing key")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let say = || format!("failed to write \"{}\"", path.display());
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(path).with_context(say)?.write_all(text.as_bytes()).with_context(say)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_of_credentials_is_complete_and_private() {
        let authority = Authority::new("test").unwrap();
        let pair = authority.issue(MEMBER_ORGANIZATION, "member-1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        authority.write(&pair, folder.path()).unwrap();
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
