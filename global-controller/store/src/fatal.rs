//! Ending the process when going on would break a promise.

/// Logs and ends the process at once, without running anything that could still write or send.
pub(crate) fn end(what: &str, error: &dyn std::error::Error) -> ! {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = text, "{what}: the process ends");
    eprintln!("{what}: {text}: the process ends");
    std::process::abort()
}

/// Ends the process when its thread panics: the others must not go on without it.
pub(crate) struct PanicGuard(pub(crate) &'static str);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(thread = self.0, "a thread of the store panicked: the process ends");
            eprintln!("the store's {} panicked: the process ends", self.0);
            std::process::abort();
        }
    }
}
