//! Why a record, or a part of one, could not become an event.
//!
//! The codes are a contract: rules, reports and people filter on them. The sentence says what to do.

/// A sentence takes no more faults beyond this length, bytes.
const MAX_REASON_BYTES: usize = 512;

/// A refusal with its code and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Machine-readable code.
    pub code: Code,
    /// What was wrong and where, in a sentence.
    pub reason: String,
}

/// Codes of rejections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The bytes are not JSON (or not UTF-8).
    NotJson,
    /// Compressed data is damaged or cut.
    DamagedCompression,
    /// The record unpacks to too much, or has too many elements or values.
    TooLarge,
    /// Nested too deep.
    TooDeep,
    /// Protobuf that cannot be read.
    NotProtobuf,
    /// JSON, but not of the shape that the adapter knows.
    UnknownShape,
    /// A field that every event needs is missing.
    MissingField,
    /// No time could be read and none came with the record.
    BadTime,
    /// The record says it belongs to another environment.
    WrongEnvironment,
    /// Offsets that the broker deleted before they were read.
    OffsetsLost,
    /// The table is ahead of the topic: it was made anew.
    TopicMadeAnew,
}

impl Code {
    /// The code as stored in `reason_code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::DamagedCompression => "damaged_compression",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::NotProtobuf => "not_protobuf",
            Self::UnknownShape => "unknown_shape",
            Self::MissingField => "missing_field",
            Self::BadTime => "bad_time",
            Self::WrongEnvironment => "wrong_environment",
            Self::OffsetsLost => "offsets_lost",
            Self::TopicMadeAnew => "topic_made_anew",
        }
    }
}

impl Reject {
    /// A refusal.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The same, which also says what could not be read of the event where that is why it is refused: as many faults as go
    /// into a sentence.
    pub(crate) fn with_faults(mut self, faults: &[String]) -> Self {
        if !matches!(self.code, Code::BadTime | Code::MissingField) {
            return self;
        }
        for (index, fault) in faults.iter().enumerate() {
            if self.reason.len() + fault.len() > MAX_REASON_BYTES {
                break;
            }
            self.reason.push_str(if index == 0 { ": " } else { "; " });
            self.reason.push_str(fault);
        }
        self
    }
}

impl From<crate::json::JsonError> for Reject {
    fn from(error: crate::json::JsonError) -> Self {
        use crate::json::JsonError;
        let code = match error {
            JsonError::NotUtf8(_) | JsonError::Syntax { .. } => Code::NotJson,
            JsonError::TooDeep => Code::TooDeep,
            JsonError::TooMany | JsonError::TooManyElements => Code::TooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<crate::envelope::UnpackError> for Reject {
    fn from(error: crate::envelope::UnpackError) -> Self {
        use crate::envelope::UnpackError;
        match &error {
            UnpackError::Damaged(_, source) => Self::new(Code::DamagedCompression, format!("{error}: {source}")),
            UnpackError::TooManyLayers => Self::new(Code::TooDeep, error.to_string()),
            UnpackError::TooLarge(_) => Self::new(Code::TooLarge, error.to_string()),
        }
    }
}
