//! One record to rows: envelope, redaction, adapter, then what every row has in common.
//!
//! Pure: the record's bytes and facts and the time of decoding come in, rows go out; the same input
//! gives the same rows. A record gives events, rejections, or both (one bad element does not fail its
//! neighbours). Only a record of no bytes (a tombstone) gives nothing. It never fails as a whole.
//!
//! Limits: a record above 32 MiB is rejected with its first 64 KiB kept; `raw_payload` is cut at
//! 1 MiB an element; of the key and the headers 4 KiB each are kept.

use crate::adapters::Adapter;
use crate::cell::TextMap;
use crate::columns::Row;
use crate::derive::{ocsf, principal_path};
use crate::draft::{Draft, Input};
use crate::envelope::{self, Element};
use crate::json::Json;
use crate::kept::{self, Allowance, MAX_RAW_BYTES, Raw, Sha256Digest, Whole};
use crate::keys::Keys;
use crate::privacy::Privacy;
use crate::reader::Reader;
use crate::redact::Redactor;
use crate::reject::{Code, Reject};
use crate::{amounts, kafka, time};

/// Version of the event schema.
pub const SCHEMA_VERSION: i32 = 1;
/// Largest record that is decoded, bytes.
pub const MAX_RECORD_BYTES: usize = 32 << 20;
/// Most bytes kept of a record that is too large.
const MAX_RAW_OF_OVERSIZE: usize = 64 << 10;
/// Most bytes of input that a sentence quotes.
const MAX_QUOTED: usize = 128;
/// `row_kind` of events.
pub const EVENT: &str = "event";
/// `row_kind` of rejections.
pub const REJECTION: &str = "rejection";
/// The tenant where none is named.
pub const DEFAULT_TENANT: &str = "default";
/// Kafka header with which a producer may name the environment.
pub const ENVIRONMENT_HEADER: &str = "environment";
/// An event this much older than its Kafka timestamp is late.
const LATE_AFTER_US: i64 = 3_600_000_000;

/// One record as it came.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Stream name.
    pub stream: &'a str,
    /// Which life of the stream.
    pub incarnation: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka facts, for records that came through Kafka.
    pub kafka: Option<KafkaFacts<'a>>,
    /// The bytes; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    fn headers(&self) -> &'a [(String, Vec<u8>)] {
        self.kafka.map_or(&[], |kafka| kafka.headers)
    }
}

/// What Kafka adds to a record.
#[derive(Debug, Clone, Copy)]
pub struct KafkaFacts<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Timestamp, microseconds.
    pub timestamp_us: Option<i64>,
    /// True when the broker set the timestamp.
    pub log_append: bool,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(String, Vec<u8>)],
}

/// What is configured for a feed.
#[derive(Debug, Clone)]
pub struct Source {
    /// How to decode it.
    pub adapter: Adapter,
    /// Tenant.
    pub tenant: String,
    /// Instance: part of every event id.
    pub instance: String,
    /// Environment of the lake.
    pub environment: String,
    /// What personal data is taken out.
    pub privacy: Privacy,
}

/// Decodes records of one feed.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a> {
    /// The feed.
    pub source: &'a Source,
    /// Keys of the lake.
    pub keys: &'a Keys,
}

impl Decoder<'_> {
    /// The rows of one record, in `record_index` order; none when it is empty or a tombstone.
    pub fn decode(&self, record: &Record<'_>, now_us: i64) -> Vec<Box<Row>> {
        let payload = record.payload.unwrap_or_default();
        if payload.is_empty() {
            return Vec::new();
        }
        // Once a record: for each row it would be quadratic.
        let sha256 = kept::sha256_of_new(payload);
        let payload_mac = self.keys.payload_mac(&sha256);
        let mut rows = self.parts(record, payload, sha256);
        for (index, row) in rows.iter_mut().enumerate() {
            row.raw_bytes = i64::try_from(payload.len()).ok();
            row.payload_mac = Some(payload_mac.clone());
            self.stamp(row, record, index, now_us);
        }
        rows
    }

    fn parts(&self, record: &Record<'_>, payload: &[u8], sha256: Sha256Digest) -> Vec<Box<Row>> {
        if payload.len() > MAX_RECORD_BYTES {
            let reason = format!("the record has {} bytes, more than {MAX_RECORD_BYTES}", payload.len());
            let mut row = self.rejection(&Reject::new(Code::TooLarge, reason), &payload[..MAX_RAW_OF_OVERSIZE]);
            row.raw_truncated = Some(true);
            return vec![row];
        }
        // Unpacked before anything can be refused, so that secrets are found in what is kept.
        let unpacked = match envelope::unpack(payload) {
            Ok(unpacked) => unpacked,
            Err(error) => return vec![self.rejection(&error.into(), payload)],
        };
        if let Some(reject) = self.wrong_environment(record) {
            return vec![self.rejection(&reject, &unpacked.bytes)];
        }
        let whole = Whole { record, payload, sha256, redactor: self.redactor() };
        if let Some((form, json)) = self.source.adapter.other_form(&unpacked.bytes, record.headers()) {
            let taken_off: Vec<&'static str> = unpacked.taken_off.iter().copied().chain([form]).collect();
            return match json.and_then(|json| Ok(envelope::elements_of(json)?)) {
                Ok(elements) => elements.into_iter().flat_map(|e| self.part(e, &taken_off, &whole)).collect(),
                Err(reject) => vec![self.rejection(&reject, &unpacked.bytes)],
            };
        }
        // Not for another form, whose bytes do not show what a number in them says.
        let whole = Whole { redactor: self.redactor().of_record(&unpacked.bytes), ..whole };
        match envelope::elements(&unpacked.bytes, self.source.adapter.kept_wrappers()) {
            Err(error) => vec![self.rejection(&kept::explained(error, &unpacked.bytes), &unpacked.bytes)],
            Ok(elements) if elements.is_empty() => {
                let reject = Reject::new(Code::UnknownShape, "the record holds no event: it is white space or an empty list");
                vec![self.rejection(&reject, &unpacked.bytes)]
            }
            Ok(elements) => elements.into_iter().flat_map(|e| self.part(e, &unpacked.taken_off, &whole)).collect(),
        }
    }

    fn part(&self, element: Element<'_>, taken_off: &[&'static str], whole: &Whole<'_>) -> Vec<Box<Row>> {
        match element {
            Element::Bad { bytes, error } => vec![self.rejection(&error.into(), &bytes)],
            Element::Good { json, envelope, text, may_repeat } => {
                let envelope = taken_off.iter().copied().chain(envelope).collect();
                self.element(json, Came { text, envelope, may_repeat }, whole)
            }
        }
    }

    fn element(&self, mut json: Json<'_>, came: Came<'_>, whole: &Whole<'_>) -> Vec<Box<Row>> {
        let Whole { record, ref redactor, .. } = *whole;
        let is_unpacked = self.source.adapter.unpack(&mut json);
        let text = came.text.filter(|_| !is_unpacked);
        let params = self.source.adapter.params_as_came(&json, self.keys);
        let content_id = self.source.adapter.needs_content_id(&json).then(|| self.content_id(&json));
        let repeated = if came.may_repeat || is_unpacked { json.repeated_key() } else { None };
        let repeated = repeated.map(|key| redactor.text(key).into_owned());
        let mut redacted_paths = redactor.at_paths(&mut json);
        redacted_paths.extend(self.source.adapter.redact(&mut json, redactor));
        let reader = Reader::new(&json);
        let input = Input { reader: &reader, params, headers: record.headers(), keys: self.keys };
        let drafts = match self.source.adapter.adapt(&input) {
            Ok(drafts) => drafts,
            Err(reject) => return vec![self.rejection(&reject, json.compact().as_bytes())],
        };
        let (mut faults, is_repetitive) = (reader.faults(), repeated.is_some());
        faults.extend(repeated.map(|key| format!("key `{}` stands twice in one object; the last was read", quoted(&key))));
        let mut beside = Beside { envelope: came.envelope.join("+"), faults, rest: reader.rest(is_repetitive), redacted_paths };
        let raw = whole.raw(text.filter(|_| beside.redacted_paths.is_empty()), &json);
        let kafka_time = record.kafka.and_then(|k| k.timestamp_us).filter(|us| time::is_kept(*us));
        let (mut allowance, mut rows) = (Allowance::new(), Vec::with_capacity(drafts.len()));
        let mut left = drafts.len();
        for draft in drafts {
            left -= 1;
            rows.push(match self.event(draft, content_id.as_deref(), kafka_time) {
                Ok(mut row) => {
                    // The one that comes last, and most have one only, need not be copied.
                    let mine = if left == 0 { std::mem::take(&mut beside) } else { beside.clone() };
                    mine.move_to(&mut row, &raw, allowance.next(raw.bytes().len()));
                    row
                }
                Err(reject) => self.rejection(&reject.with_faults(&beside.faults), raw.bytes()),
            });
        }
        rows
    }

    /// Id and time of one draft.
    fn event(&self, draft: Draft, content_id: Option<&str>, kafka_time: Option<i64>) -> Result<Box<Row>, Reject> {
        let mut row = draft.row;
        if row.environment.as_deref().is_some_and(|e| e != self.source.environment) {
            let reason =
                format!("the event is of environment `{}`, the lake of `{}`", row.environment.unwrap_or_default(), self.source.environment);
            return Err(Reject::new(Code::WrongEnvironment, reason));
        }
        if row.event_time.is_none() {
            row.event_time = kafka_time;
            row.event_time_source = Some("kafka".into());
        }
        if row.event_time.is_none() {
            return Err(Reject::new(Code::BadTime, "the event has no time that could be read, and the record has none"));
        }
        let vendor = row.source_vendor.get_or_insert_with(|| self.source.adapter.name().into());
        let path = draft.path.as_ref().map_or(String::new(), |p| format!("#{p}"));
        let (id, kind) = match (&draft.native_id, content_id) {
            (Some(native), _) => (native.clone(), "native"),
            (None, Some(hash)) => (hash.to_owned(), "content_hash"),
            (None, None) => return Err(Reject::new(Code::MissingField, "the event has no id")),
        };
        let parent = format!("{vendor}:{}:{}:{id}", self.source.instance, draft.kind);
        row.event_id = Some(format!("{parent}{path}"));
        row.event_id_kind = Some(kind.into());
        row.parent_event_id = draft.path.is_some().then_some(parent);
        row.explode_path = draft.path;
        row.row_kind = Some(EVENT.into());
        Ok(row)
    }

    fn redactor(&self) -> Redactor<'_> {
        Redactor::new(self.keys, &self.source.tenant, &self.source.privacy)
    }

    fn content_id(&self, json: &Json<'_>) -> String {
        self.keys.content_id(self.source.adapter.name(), &json.canonical())
    }

    fn wrong_environment(&self, record: &Record<'_>) -> Option<Reject> {
        let headers = record.kafka?.headers;
        // Whichever of several headers names another one: the record is not ours.
        let named = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(ENVIRONMENT_HEADER));
        let (_, value) = named.into_iter().find(|(_, value)| value != self.source.environment.as_bytes())?;
        let said = String::from_utf8_lossy(&value[..value.len().min(MAX_QUOTED * 4)]);
        let reason = format!("the record's header says environment `{}`, the lake is `{}`", quoted(&said), self.source.environment);
        Some(Reject::new(Code::WrongEnvironment, reason))
    }

    fn rejection(&self, reject: &Reject, bytes: &[u8]) -> Box<Row> {
        let redactor = self.redactor();
        let mut row = Box::new(Row {
            row_kind: Some(REJECTION.into()),
            reason_code: Some(reject.code.as_str().into()),
            reason: Some(redactor.loose_text(&reject.reason).into_owned()),
            parse_status: Some("rejected".into()),
            ..Row::default()
        });
        Raw::new(kept::refused(&redactor, bytes)).keep(&mut row, MAX_RAW_BYTES);
        row
    }

    /// What every row has: where it came from, when, whose it is.
    fn stamp(&self, row: &mut Row, record: &Record<'_>, index: usize, now_us: i64) {
        let source = self.source;
        row.schema_version = Some(SCHEMA_VERSION);
        row.tenant = Some(source.tenant.clone());
        row.stream = Some(record.stream.into());
        row.incarnation = Some(record.incarnation.into());
        row.partition = Some(record.partition);
        row.offset = Some(record.offset);
        row.record_index = i32::try_from(index).ok();
        row.source_instance = Some(source.instance.clone());
        row.adapter = Some(source.adapter.name().into());
        row.adapter_version = Some(source.adapter.version().into());
        row.environment = Some(source.environment.clone());
        row.ingest_time = Some(now_us);
        row.ingest_date = Some(time::day_of(now_us));
        kafka::stamp(row, record, &self.redactor());
        let event_time = *row.event_time.get_or_insert(row.kafka_timestamp.unwrap_or(now_us));
        row.event_date = Some(time::day_of(event_time));
        if let Some(kafka_time) = row.kafka_timestamp {
            row.clock_skew_ms = Some(event_time.saturating_sub(kafka_time) / 1000);
            row.is_late = Some(kafka_time.saturating_sub(event_time) > LATE_AFTER_US);
        }
        if row.row_kind.as_deref() == Some(EVENT) {
            amounts::check(row);
            name_the_unknown(row);
            row.event_time_tz_assumed.get_or_insert(false);
            row.revision = Some(0);
            row.principal_path = principal_path(row);
            (row.ocsf_class_uid, row.ocsf_activity_id) = ocsf(row);
        }
    }
}

/// What every event says, even where its source does not: rules and people ask for it by name.
fn name_the_unknown(row: &mut Row) {
    for (column, word) in [(&mut row.category, "session"), (&mut row.activity, "unknown"), (&mut row.outcome, "unknown")] {
        column.get_or_insert_with(|| word.into());
    }
}

/// How an element came.
struct Came<'a> {
    /// Its text, where that is what is printed of it.
    text: Option<&'a [u8]>,
    /// Names of what was taken off, outermost first.
    envelope: Vec<&'static str>,
    /// False when no key stands twice in one object of it.
    may_repeat: bool,
}

/// What all events of one element have in common.
#[derive(Debug, Clone, Default)]
struct Beside {
    envelope: String,
    faults: Vec<String>,
    rest: TextMap,
    redacted_paths: Vec<String>,
}

impl Beside {
    fn move_to(self, row: &mut Row, raw: &Raw<'_>, limit: usize) {
        row.envelope = (!self.envelope.is_empty()).then_some(self.envelope);
        row.parse_status = Some(if self.faults.is_empty() { "ok" } else { "partial" }.into());
        row.parse_errors = (!self.faults.is_empty()).then_some(self.faults);
        row.ext = (!self.rest.is_empty()).then_some(self.rest);
        // After those that the source says it took out itself.
        for path in self.redacted_paths {
            let paths = row.params_redacted_paths.get_or_insert_default();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        raw.keep(row, limit);
    }
}

/// Says on a row that a part of what came was not kept.
pub(crate) fn not_kept(row: &mut Row, sentence: String) {
    row.parse_errors.get_or_insert_default().push(sentence);
    if row.parse_status.as_deref() == Some("ok") {
        row.parse_status = Some("partial".into());
    }
}

/// The beginning of a text that a sentence quotes.
fn quoted(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_QUOTED)]
}
