//! Why a Sigma document cannot become a rule.

/// Why a Sigma document cannot become a rule, and which one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Sigma {document}")]
pub struct SigmaError {
    /// Its title, else its place in the text.
    pub document: String,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no YAML.
    #[error("no YAML: {0}")]
    Yaml(String),
    /// It breaks the specification.
    #[error("{0}")]
    Invalid(String),
    /// It is right, and beyond this importer.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// No mapping for its log source.
    #[error("no mapping for the log source {0}")]
    LogSource(String),
    /// Fields without a column.
    #[error("no column for the field(s) {}", .0.join(", "))]
    Fields(Vec<String>),
    /// A placeholder without values.
    #[error("no values for the placeholder `%{0}%`")]
    Placeholder(String),
}
