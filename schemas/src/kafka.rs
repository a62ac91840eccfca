//! What Kafka adds to a record, as columns: topic, position, time, key and headers, the last two redacted.
//!
//! Limits: of the key and of all headers 4 KiB each are kept, and 64 headers; what is cut is said on the row.

use crate::cell::{Member, Struct};
use crate::columns::Row;
use crate::decode::{Record, not_kept};
use crate::keys::hex;
use crate::redact::Redactor;
use crate::{kept, time};

/// Most bytes kept of the key, and of all headers together; every row of a record repeats them.
const MAX_KAFKA_BYTES: usize = 4 << 10;
/// Most headers kept.
const MAX_HEADERS: usize = 64;

/// Sets the columns of what Kafka says of a record, redacted.
pub(crate) fn stamp(row: &mut Row, record: &Record<'_>, redactor: &Redactor<'_>) {
    let Some(kafka) = &record.kafka else { return };
    row.kafka_topic = Some(kafka.topic.into());
    row.kafka_partition = Some(record.partition);
    row.kafka_offset = Some(record.offset);
    row.kafka_timestamp = kafka.timestamp_us.filter(|us| time::is_kept(*us));
    row.kafka_timestamp_type = Some(if kafka.log_append { "log_append_time" } else { "create_time" }.into());
    row.kafka_key = kafka.key.map(|key| kept::refused(redactor, key)).map(|key| cut_to(&key, MAX_KAFKA_BYTES).to_vec());
    let (headers, cut) = headers_kept(kafka.headers, redactor);
    row.kafka_headers = (!headers.is_empty()).then_some(headers);
    if let (Some(us), None) = (kafka.timestamp_us, row.kafka_timestamp) {
        not_kept(row, format!("the Kafka timestamp of {us} µs lies outside the years 1970 to 9999"));
    }
    if let Some(key) = kafka.key.filter(|key| key.len() > MAX_KAFKA_BYTES) {
        not_kept(row, format!("of the Kafka key's {} bytes the first {MAX_KAFKA_BYTES} are kept", key.len()));
    }
    if cut > 0 {
        not_kept(row, format!("{cut} of {} Kafka headers were cut or left out", kafka.headers.len()));
    }
}

/// Redacted headers in order, as many as fit, and how many were cut or left out.
fn headers_kept(headers: &[(String, Vec<u8>)], redactor: &Redactor<'_>) -> (Vec<Struct>, usize) {
    let mut left = MAX_KAFKA_BYTES;
    let mut cut = headers.len().saturating_sub(MAX_HEADERS);
    let mut kept = Vec::new();
    for (key, value) in headers.iter().take(MAX_HEADERS) {
        let text = match std::str::from_utf8(value) {
            Ok(text) => redactor.named(key, text),
            Err(_) => format!("hex:{}", hex(cut_to(&kept::refused(redactor, value), left))),
        };
        let name = &key[..key.floor_char_boundary(left)];
        let text_kept = &text[..text.floor_char_boundary(left - name.len())];
        left -= name.len() + text_kept.len();
        cut += usize::from(name.len() < key.len() || text_kept.len() < text.len());
        if !name.is_empty() {
            kept.push(vec![Member::Text(name.into()), Member::Text(text_kept.into())]);
        }
    }
    (kept, cut)
}

fn cut_to(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}
