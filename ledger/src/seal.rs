//! The seal: what the ledger says of one batch, as one line of text in the commit.
//!
//! The text is canonical (one spelling for one seal) and is itself what the public log commits to:
//!
//! ```text
//! vialog-seal-v1 <batch id> events=<n> rejections=<n> empty=<n> no_record=<n> root=<hex> ranges=<stream>|<incarnation>|<partition>|<from>|<to>,...
//! ```
//! `%`, `|`, `,` and white space in names are percent-encoded. `from` is the offset before the first
//! one that counts, `to` the last: the half-open range `(from, to]`.

use crate::{Hash, hex, unhex};

/// First word of a seal.
pub const SEAL_FORMAT: &str = "vialog-seal-v1";

/// Offsets of one partition that a batch covers: `(from, to]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Stream name.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: String,
    /// Partition.
    pub partition: i32,
    /// Offset before the first that counts; -1 at the start.
    pub from: i64,
    /// Last offset that counts.
    pub to: i64,
}

/// Seal of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Batch id.
    pub batch_id: String,
    /// Rows that are events.
    pub events: u64,
    /// Rows that are rejections.
    pub rejections: u64,
    /// Records that held nothing (tombstones, empty uploads).
    pub empty: u64,
    /// Offsets in the ranges that hold no record (compacted away, transaction markers).
    pub no_record: u64,
    /// Merkle root over the leaves of all rows.
    pub root: Hash,
    /// Offsets covered, sorted.
    pub ranges: Vec<Range>,
}

/// A text that is no seal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a seal: {0}")]
pub struct SealError(&'static str);

impl Seal {
    /// The text form.
    pub fn print(&self) -> String {
        let ranges: Vec<String> = self.ranges.iter().map(print_range).collect();
        format!(
            "{SEAL_FORMAT} {} events={} rejections={} empty={} no_record={} root={} ranges={}",
            escape(&self.batch_id),
            self.events,
            self.rejections,
            self.empty,
            self.no_record,
            hex(&self.root),
            ranges.join(",")
        )
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When a part is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [format, batch_id, events, rejections, empty, no_record, root, ranges] = parts[..] else {
            return Err(SealError("it has not eight parts"));
        };
        if format != SEAL_FORMAT {
            return Err(SealError("another format"));
        }
        let root = field(root, "root=").and_then(unhex).and_then(|r| r.try_into().ok()).ok_or(SealError("its root"))?;
        let ranges = field(ranges, "ranges=").ok_or(SealError("its ranges"))?;
        let ranges: Option<Vec<Range>> = ranges.split(',').filter(|r| !r.is_empty()).map(parse_range).collect();
        Ok(Self {
            batch_id: unescape(batch_id),
            events: count(events, "events=")?,
            rejections: count(rejections, "rejections=")?,
            empty: count(empty, "empty=")?,
            no_record: count(no_record, "no_record=")?,
            root,
            ranges: ranges.ok_or(SealError("a range"))?,
        })
    }
}

fn print_range(range: &Range) -> String {
    format!("{}|{}|{}|{}|{}", escape(&range.stream), escape(&range.incarnation), range.partition, range.from, range.to)
}

fn parse_range(text: &str) -> Option<Range> {
    let parts: Vec<&str> = text.split('|').collect();
    let [stream, incarnation, partition, from, to] = parts[..] else { return None };
    Some(Range {
        stream: unescape(stream),
        incarnation: unescape(incarnation),
        partition: partition.parse().ok()?,
        from: from.parse().ok()?,
        to: to.parse().ok()?,
    })
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)
}

fn count(text: &str, name: &str) -> Result<u64, SealError> {
    field(text, name).and_then(|n| n.parse().ok()).ok_or(SealError("a count"))
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '|' => "%7C".to_owned(),
            ',' => "%2C".to_owned(),
            c if c.is_whitespace() || c.is_control() => c.to_string().bytes().map(|b| format!("%{b:02X}")).collect(),
            c => c.to_string(),
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back_as_it_was_printed() {
        let seal = Seal {
            batch_id: "b-1".into(),
            events: 3,
            rejections: 1,
            empty: 0,
            no_record: 2,
            root: [5; 32],
            ranges: vec![
                Range { stream: "kafka:main/odd name,|%".into(), incarnation: "i1".into(), partition: 2, from: -1, to: 5 },
                Range { stream: "kafka:main/y".into(), incarnation: String::new(), partition: 0, from: 7, to: 9 },
            ],
        };
        assert_eq!(Seal::parse(&seal.print()), Ok(seal));
        assert!(Seal::parse("vialog-seal-v2 b").is_err());
    }
}
