//! What is wrong with a mapping file, and where.

/// What is wrong with a mapping file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Fault {
    /// Where in the file, such as `columns.delegator_id`.
    pub at: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

pub(super) fn fault(at: &str, what: &str) -> Fault {
    Fault { at: at.to_owned(), what: what.to_owned() }
}
