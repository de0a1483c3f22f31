//! What an error of the etcd says about the request: not executed for certain, or perhaps.

use std::error::Error as StdError;

use etcd_client::Error;
use tonic::{Code, ConnectError};

/// What these say is decided before anything is proposed, or before it is applied. "database space exceeded" isn't one
/// of them: etcd's `quotaApplierV3` also says it of the transaction that goes beyond the quota, after applying it.
const NOT_EXECUTED: [&str; 3] =
    ["etcdserver: no leader", "etcdserver: too many requests", "etcdserver: revision of auth store is old"];

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It certainly wasn't executed, and may succeed when it is sent again.
    #[error("{0}")]
    NotSent(String),
    /// It certainly wasn't executed, and sending it again won't help.
    #[error("{0}")]
    Refused(String),
    /// It may have been executed.
    #[error("{0}")]
    Perhaps(String),
    /// The answer is larger than what is taken in.
    #[error("the etcd's answer is too large")]
    TooLarge,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        let Error::GRpcStatus(status) = error else {
            return match error {
                Error::InvalidArgs(_) | Error::InvalidUri(_) => Self::Refused(reason),
                _ => Self::Perhaps(reason),
            };
        };
        if is_connect_error(&status) || NOT_EXECUTED.contains(&status.message()) {
            return Self::NotSent(reason);
        }
        match status.code() {
            Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
                Self::Refused(reason)
            }
            // The client's own word for a message beyond its limit; the etcd uses it for revisions that aren't there.
            Code::OutOfRange if status.message().contains("message length too large") => Self::TooLarge,
            _ => Self::Perhaps(reason),
        }
    }
}

/// Whether there was no connection on which to send it.
fn is_connect_error(status: &tonic::Status) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    #[test]
    fn only_what_certainly_was_not_executed_is_called_so() {
        let of = |status: Status| Failure::from(Error::GRpcStatus(status));
        assert!(matches!(of(Status::unavailable("etcdserver: no leader")), Failure::NotSent(_)));
        assert!(matches!(of(Status::unauthenticated("etcdserver: invalid auth token")), Failure::Refused(_)));
        for lost in ["etcdserver: leader changed", "etcdserver: request timed out", "etcdserver: server stopped"] {
            assert!(matches!(of(Status::unavailable(lost)), Failure::Perhaps(_)), "{lost}");
        }
        let applied = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        assert!(matches!(of(applied), Failure::Perhaps(_)), "etcd says it after applying, too");
        assert!(matches!(of(Status::cancelled("")), Failure::Perhaps(_)));
        assert_eq!(of(Status::out_of_range("Error, decoded message length too large: found 9")), Failure::TooLarge);
    }
}
