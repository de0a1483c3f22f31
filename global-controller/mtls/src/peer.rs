//! Who a certificate names.

use rustls::pki_types::CertificateDer;

/// Organization in the certificates of the controller's replicas.
pub const REPLICA_ORGANIZATION: &str = "rollout.example.com:replicas";
/// Organization in the certificates of members' agents.
pub const MEMBER_ORGANIZATION: &str = "rollout.example.com:members";

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica of the controller.
    Replica,
    /// The agent of a member.
    Member,
}

impl Role {
    /// The role as a certificate's organization.
    pub fn organization(self) -> &'static str {
        match self {
            Self::Replica => REPLICA_ORGANIZATION,
            Self::Member => MEMBER_ORGANIZATION,
        }
    }
}

/// Who is at the other end of a connection. A request's extensions hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// Id of the replica, or name of the member.
    pub name: String,
}

impl Peer {
    /// Reads a certificate's subject. `None`: it names no role of ours, more than one, or no name. Names are
    /// compared whole everywhere: a prefix proves nothing.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let subject = parsed.subject();
        let organization = single(subject.iter_organization().map(|attribute| attribute.as_str().ok()))?;
        let name = single(subject.iter_common_name().map(|attribute| attribute.as_str().ok()))?;
        let role = [Role::Replica, Role::Member].into_iter().find(|role| role.organization() == organization)?;
        (!name.is_empty()).then(|| Self { role, name: name.to_owned() })
    }
}

fn single<'a>(mut values: impl Iterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let first = values.next()??;
    values.next().is_none().then_some(first)
}
