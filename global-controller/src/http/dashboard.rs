//! The dashboard's files, compiled into the program.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::get;

/// The page loads nothing from elsewhere and runs no script of its text: an image's name can't become code.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// Routes of the page.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| {
        let headers: [(HeaderName, &'static str); 4] = [
            (header::CONTENT_TYPE, kind),
            // After an upgrade the old page must not stay.
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        get(move || async move { (headers, text) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("../dashboard/index.html")))
        .route("/app.js", file("text/javascript; charset=utf-8", include_str!("../dashboard/app.js")))
        .route("/style.css", file("text/css; charset=utf-8", include_str!("../dashboard/style.css")))
}
