//! The vocabulary: what an event is, column by column, and how vendor bytes become events.
//!
//! No IO, no clock, no DataFusion: bytes and facts come in, rows go out. In reading order:
//! [`columns`] (what is kept), [`decode`] (one record to rows), [`adapters`] (one vendor each),
//! [`envelope`], [`json`], [`time`] (how bytes are read), [`redact`], [`privacy`] and [`keys`] (what
//! is never stored), [`batch`] (rows to Arrow).

pub mod adapters;
mod amounts;
pub mod batch;
pub mod cell;
pub mod columns;
pub mod decode;
mod derive;
mod destinations;
pub mod draft;
mod encoded;
pub mod envelope;
mod iban;
pub mod json;
mod kafka;
mod kept;
pub mod keys;
pub mod mapping;
mod otlp;
mod personal;
pub mod privacy;
pub mod protobuf;
pub mod reader;
pub mod redact;
pub mod reject;
mod run;
mod secrets;
mod spots;
pub mod time;
mod way;

pub use columns::{COLUMNS, Column, Row};
