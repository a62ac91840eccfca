//! A value that an expression found, and what it is as text, number, time, truth value or list.

use crate::cell::Struct;
use crate::json::Json;
use crate::reader::TimeField;
use crate::time::{self, ReadTime, TimeError, TimeFormat};

/// Most texts in a list.
pub(crate) const MAX_TEXTS: usize = 256;

/// A value that was found.
#[derive(Debug)]
pub(crate) enum Found<'j> {
    /// As it stands in the element.
    There(&'j Json<'j>),
    /// Made from what stands there, or said by the mapping.
    Made(String),
    /// A time with the text it was read from.
    Time(TimeField),
    Flag(bool),
    Texts(Vec<String>),
    Structs(Vec<Struct>),
}

impl Found<'_> {
    /// As text; lists and objects have none.
    pub(crate) fn text(self) -> Option<String> {
        match self {
            Self::There(value) => value.scalar(),
            Self::Made(text) => Some(text),
            Self::Time(time) => Some(time.micros.to_string()),
            Self::Flag(flag) => Some(flag.to_string()),
            Self::Texts(_) | Self::Structs(_) => None,
        }
    }

    /// As a whole number.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::There(value) => value.integer(),
            Self::Made(text) => Json::Text(text.as_str().into()).integer(),
            Self::Time(time) => Some(time.micros),
            Self::Flag(_) | Self::Texts(_) | Self::Structs(_) => None,
        }
    }

    /// As a time in a format.
    pub(crate) fn time(self, format: TimeFormat) -> Option<Result<TimeField, TimeError>> {
        if let Self::Time(time) = self {
            return Some(Ok(time));
        }
        let raw = self.text()?;
        let field = |read: ReadTime| TimeField { micros: read.micros, zone_assumed: read.zone_assumed, raw: raw.clone() };
        Some(time::read_text(&raw, format).map(field))
    }

    /// As a float.
    pub(crate) fn double(&self) -> Option<f64> {
        match self {
            Self::There(value) => value.double(),
            Self::Made(text) => Json::Text(text.as_str().into()).double(),
            _ => None,
        }
    }

    /// As a truth value.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::There(value) => value.flag(),
            Self::Made(text) => Json::Text(text.as_str().into()).flag(),
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// As a list of texts, of at most 256; one text is split at spaces and commas where the column holds such lists.
    pub(crate) fn texts(self, split: bool) -> Option<Vec<String>> {
        let mut texts = match self {
            Self::Texts(texts) => texts,
            Self::There(value @ Json::Array(_)) => value.texts()?,
            other => {
                let text = other.text()?;
                if split { Json::Text(text.into()).texts()? } else { vec![text] }
            }
        };
        texts.truncate(MAX_TEXTS);
        Some(texts)
    }
}
