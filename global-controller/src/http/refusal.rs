//! Why a request was refused, as an answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Why a request was refused.
pub(crate) enum Refusal {
    /// The caller has not said who it is.
    Unauthorized(String),
    /// The caller may not do this.
    Forbidden(String),
    /// It asks for what it can't have.
    Unfit(String),
    /// It may be tried again, here or at another replica.
    Unavailable(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Unauthorized(reason) => (StatusCode::UNAUTHORIZED, reason),
            Self::Forbidden(reason) => (StatusCode::FORBIDDEN, reason),
            Self::Unfit(reason) => (StatusCode::UNPROCESSABLE_ENTITY, reason),
            Self::Unavailable(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        };
        tracing::debug!(status = status.as_u16(), reason, "refused a request");
        (status, reason).into_response()
    }
}
