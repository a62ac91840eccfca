//! What a person at the terminal sees: results on standard output, errors with their whole chain on standard error.

use std::io::Write;

use schemas::decode::DEFAULT_TENANT;

/// Prints an error with its causes, one a line.
pub(crate) fn error(error: &anyhow::Error) {
    let mut err = std::io::stderr().lock();
    // Where even standard error is gone there is nobody to tell.
    let _ = writeln!(err, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(err, "  because: {cause}");
    }
}

/// Prints one line of result. What events say in it can neither begin a line nor steer the terminal.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", query::harmless(text))?)
}

/// How a tenant is named before what is of it: not at all, where it is the usual one.
pub(crate) fn of_tenant(tenant: &str) -> String {
    if tenant == DEFAULT_TENANT { String::new() } else { format!("[{tenant}] ") }
}

/// Prints text of several lines that is our own, such as a document.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Prints one JSON object.
pub(crate) fn object(value: &impl serde::Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string(value)?)
}
