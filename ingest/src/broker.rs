//! What the worker asks of the Kafka client: a message as rows, positions, ends, and what an error means.

use std::collections::BTreeMap;
use std::time::Duration;

use lake::events::Origin;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, Timestamp};
use schemas::decode::{Decoder, KafkaFacts, Record};

use crate::assignment::{Context, WATERMARK_TIMEOUT};
use crate::{IngestError, WorkerConfig};

/// How long a poll waits.
pub(crate) const POLL: Duration = Duration::from_millis(50);
const SEEK_TRIES: u32 = 20;
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

/// Moves the fetch position; a partition that was assigned a moment ago may need more than one try.
pub(crate) fn seek(consumer: &BaseConsumer<Context>, topic: &str, partition: i32, offset: i64) -> Result<(), IngestError> {
    let mut tries = 0;
    loop {
        match consumer.seek(topic, partition, Offset::Offset(offset), SEEK_TIMEOUT) {
            Ok(()) => return Ok(()),
            Err(error) if tries < SEEK_TRIES => {
                tracing::debug!(%error, topic, partition, "seek is tried again");
                tries += 1;
                std::thread::sleep(POLL);
            }
            Err(source) => return Err(IngestError::Kafka { action: "go back to the recorded position", source }),
        }
    }
}

/// The rows of a message that was received at `now_us`.
pub(crate) fn decode(decoder: &Decoder<'_>, origin: &Origin, message: &BorrowedMessage<'_>, now_us: i64) -> Vec<Box<schemas::Row>> {
    let headers: Vec<(String, Vec<u8>)> = message
        .headers()
        .map(|all| all.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect())
        .unwrap_or_default();
    let (timestamp_ms, log_append) = match message.timestamp() {
        Timestamp::CreateTime(ms) => (Some(ms), false),
        Timestamp::LogAppendTime(ms) => (Some(ms), true),
        Timestamp::NotAvailable => (None, false),
    };
    let kafka = KafkaFacts {
        topic: message.topic(),
        timestamp_us: timestamp_ms.filter(|ms| *ms >= 0).map(|ms| ms.saturating_mul(1000)),
        log_append,
        key: message.key(),
        headers: &headers,
    };
    let record = Record {
        stream: &origin.stream,
        incarnation: &origin.incarnation,
        partition: origin.partition,
        offset: message.offset(),
        kafka: Some(kafka),
        payload: message.payload(),
    };
    decoder.decode(&record, now_us)
}

/// What was to be read next is not there: with `auto.offset.reset = error` librdkafka says so and stands still.
pub(crate) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange))
}

/// Records came that cannot be read: their checksum is wrong, they cannot be unpacked, or they have a form of no known
/// version. librdkafka says so once and goes on behind them.
pub(crate) fn is_damaged(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::NotImplemented))
}

pub(crate) fn report(error: &KafkaError) {
    match error.rdkafka_error_code() {
        // librdkafka reconnects by itself.
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
            tracing::debug!(%error, "the broker does not answer")
        }
        _ => tracing::warn!(%error, "Kafka reports"),
    }
}

/// Offsets behind the last of each partition.
pub(crate) type Ends = BTreeMap<(String, i32), i64>;

/// End offsets of every partition of every feed, as they are now.
pub(crate) fn end_offsets(consumer: &BaseConsumer<Context>, config: &WorkerConfig) -> Result<Ends, IngestError> {
    let mut ends = BTreeMap::new();
    for feed in &config.feeds {
        let metadata = consumer.fetch_metadata(Some(&feed.topic), WATERMARK_TIMEOUT);
        let metadata = metadata.map_err(|source| {
            IngestError::Refused(format!(
                "no Kafka broker answers at {} ({source}); is it running, and is [kafka] brokers right?",
                config.brokers
            ))
        })?;
        let partitions = metadata.topics().first().map(|t| t.partitions().iter().map(|p| p.id()).collect::<Vec<_>>()).unwrap_or_default();
        if partitions.is_empty() {
            return Err(IngestError::Refused(format!("topic `{}` does not exist on {}", feed.topic, config.brokers)));
        }
        for partition in partitions {
            let (low, high) = consumer
                .fetch_watermarks(&feed.topic, partition, WATERMARK_TIMEOUT)
                .map_err(|source| IngestError::Kafka { action: "read the end offsets", source })?;
            ends.insert((feed.topic.clone(), partition), if high > low { high } else { 0 });
        }
    }
    Ok(ends)
}
