//! What holds of the rows of any record whatever, and how a test or a fuzz target gets them.

use schemas::Row;
use schemas::adapters::Adapter;
use schemas::decode::{Decoder, KafkaFacts, Record, Source};
use schemas::keys::Keys;
use schemas::privacy::Privacy;

/// When the synthetic records are decoded: 2026-11-23T00:00:00Z.
pub(crate) const NOW_US: i64 = 1_795_392_000_000_000;
/// The Kafka timestamp of the synthetic records: a second before.
pub(crate) const KAFKA_US: i64 = NOW_US - 1_000_000;
/// A synthetic secret; it must not be in any row.
pub(crate) const CANARY: &str = "Bearer canary0123456789abcdef";
/// Most bytes that one row may keep of its element.
const MAX_RAW_BYTES: usize = 1 << 20;
/// Most bytes of a sentence for a person.
const MAX_SENTENCE_BYTES: usize = 1024;

/// What comes with a record beside its payload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) timestamp_us: Option<i64>,
}

/// The rows of a payload, after the law was held against them.
pub(crate) fn decode(adapter: Adapter, payload: Option<&[u8]>, beside: &Beside) -> Vec<Box<Row>> {
    let source =
        Source { adapter, tenant: "default".into(), instance: "one".into(), environment: "prod".into(), privacy: Privacy::default() };
    let keys = Keys::from_master(&[7; 32]);
    let kafka = KafkaFacts {
        topic: "audit",
        timestamp_us: beside.timestamp_us,
        log_append: false,
        key: beside.key.as_deref(),
        headers: &beside.headers,
    };
    let record = Record { stream: "kafka:audit", incarnation: "0", partition: 3, offset: 41, kafka: Some(kafka), payload };
    let rows = Decoder { source: &source, keys: &keys }.decode(&record, NOW_US);
    hold(&rows, payload.unwrap_or_default());
    rows
}

/// Fails when the rows of a payload break the law.
pub(crate) fn hold(rows: &[Box<Row>], payload: &[u8]) {
    assert_eq!(rows.is_empty(), payload.is_empty(), "a record that has bytes gives rows");
    let mut kept = 0;
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.record_index, Some(i32::try_from(index).unwrap()));
        assert_eq!(row.raw_bytes, Some(i64::try_from(payload.len()).unwrap()));
        assert_eq!((row.partition, row.offset, row.ingest_time), (Some(3), Some(41), Some(NOW_US)));
        assert!(row.payload_mac.is_some() && row.raw_sha256.is_some() && row.raw_truncated.is_some() && row.event_date.is_some());
        let raw = row.raw_payload.as_ref().expect("raw bytes are kept");
        assert!(raw.len() <= MAX_RAW_BYTES);
        kept += raw.len();
        let errors = row.parse_errors.iter().flatten();
        assert!(errors.chain(&row.reason).all(|sentence| !sentence.is_empty() && sentence.len() <= MAX_SENTENCE_BYTES));
        assert!((0..=253_402_300_799_999_999).contains(&row.event_time.expect("every row has a time")));
        match row.row_kind.as_deref() {
            Some("event") => hold_event(row),
            Some("rejection") => {
                assert!(row.reason_code.is_some() && row.reason.is_some(), "a rejection says why");
                assert!(row.event_id.is_none());
                assert_eq!(row.parse_status.as_deref(), Some("rejected"));
            }
            other => panic!("a row of kind {other:?}"),
        }
    }
    assert!(kept <= payload.len().max(1 << 17) * 1100 + (64 << 20), "{kept} bytes are kept of {}", payload.len());
}

fn hold_event(row: &Row) {
    assert!(row.event_id.is_some() && row.event_id_kind.is_some());
    assert!(row.category.is_some() && row.activity.is_some() && row.outcome.is_some() && row.source_vendor.is_some());
    assert!(row.reason_code.is_none());
    assert_eq!(row.parse_status.as_deref(), Some(if row.parse_errors.is_some() { "partial" } else { "ok" }));
    let amounts = [row.duration_us, row.params_bytes, row.result_rows, row.result_bytes, row.tokens_in, row.tokens_out];
    assert!(amounts.iter().flatten().all(|amount| *amount >= 0), "amounts are never below zero: {amounts:?}");
    if let Some(ext) = &row.ext {
        let paths: std::collections::BTreeSet<&str> = ext.iter().map(|(path, _)| path).collect();
        assert_eq!(paths.len(), ext.len(), "each path of ext stands once");
        assert!(ext.len() <= 64 && ext.iter().all(|(path, text)| path.len() <= 300 && text.len() <= 1024));
    }
}

/// Whether a text stands anywhere in a row.
pub(crate) fn holds_text(row: &Row, text: &str) -> bool {
    let mut found = format!("{row:?}").contains(text);
    row.for_each_value(|_, cell| {
        if let schemas::cell::Cell::Bytes(bytes) = cell {
            found |= bytes.windows(text.len()).any(|w| w == text.as_bytes());
        }
    });
    found
}
