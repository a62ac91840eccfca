//! Offsets that will never be read: kept as a row that says so, because nothing may be missing without a trace.
//!
//! The row is a rejection `offsets_lost` or `topic_made_anew`. Where the partition is stopped, the row stands in a
//! stream incarnation of its own (`<incarnation>+gap-<first>`), so the partition's position stays where it is. Where
//! the operator chose to go on, it stands in the partition itself, and its range covers what was lost.

use lake::Lake;
use lake::events::{self, EventBatch, Origin};
use lake::table::CommitOutcome;
use schemas::Row;
use schemas::decode::REJECTION;
use schemas::reject::Code;

use crate::start::Start;
use crate::{Feed, IngestError, now_us};

/// What a worker does at a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// Record it, stop the partition, and let a person decide.
    #[default]
    Stop,
    /// Record it and go on after it.
    Continue,
}

/// A gap that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) start: Start,
}

impl Gap {
    fn first(&self) -> i64 {
        match self.start {
            Start::Lost { first, .. } => first,
            Start::Ahead { high, .. } => high,
            Start::At(offset) => offset,
        }
    }

    fn code(&self) -> Code {
        if matches!(self.start, Start::Lost { .. }) { Code::OffsetsLost } else { Code::TopicMadeAnew }
    }

    /// What happened and what to do, in a sentence.
    pub(crate) fn reason(&self, on_gap: OnGap) -> String {
        let place = format!("`{}` partition {}", self.topic, self.partition);
        match (self.start, on_gap) {
            (Start::Lost { first, low }, OnGap::Stop) => format!(
                "{} records of {place}, offsets {first} to {}, were deleted by the broker before they were read; the partition is stopped. Set `on_gap = \"continue\"` under [ingest] to go on after them",
                low - first,
                low - 1
            ),
            (Start::Lost { first, low }, OnGap::Continue) => format!(
                "{} records of {place}, offsets {first} to {}, were deleted by the broker before they were read; reading went on after them",
                low - first,
                low - 1
            ),
            (Start::Ahead { recorded, high }, _) => format!(
                "{place} ends before offset {high}, but offset {recorded} was read from it: the topic was made anew, or another cluster answers. The partition is stopped. Raise `incarnation` of this [[source]] to read it from its start"
            ),
            (Start::At(offset), _) => format!("{place} goes on at {offset}"),
        }
    }
}

/// Commits the row of a gap, once, however often it is found.
///
/// # Errors
/// When the lake cannot be written.
pub(crate) fn record(lake: &Lake, feed: &Feed, origin: &Origin, gap: &Gap, on_gap: OnGap) -> Result<(), IngestError> {
    let (now, first) = (now_us(), gap.first());
    let mut batch = EventBatch::new(lake, now / 1000);
    let row = row(feed, origin, gap, on_gap, now);
    match (gap.start, on_gap) {
        (Start::Lost { low, .. }, OnGap::Continue) => batch.lost(origin, (first - 1, low - 1), row)?,
        _ => {
            let aside = Origin { incarnation: format!("{}+gap-{first}", origin.incarnation), ..origin.clone() };
            let row = Row { incarnation: Some(aside.incarnation.clone()), ..row };
            batch.lost(&aside, (first - 1, first), row)?;
        }
    }
    match batch.seal(now / 1000)?.commit(&events::open(lake)?)? {
        CommitOutcome::Committed { .. } | CommitOutcome::AlreadyCommitted => Ok(()),
        CommitOutcome::Refused(decision) => {
            tracing::warn!(?decision, "another worker goes on after the gap");
            Ok(())
        }
    }
}

fn row(feed: &Feed, origin: &Origin, gap: &Gap, on_gap: OnGap, now: i64) -> Row {
    Row {
        row_kind: Some(REJECTION.into()),
        ingest_date: Some(schemas::time::day_of(now)),
        ingest_time: Some(now),
        event_time: Some(now),
        event_date: Some(schemas::time::day_of(now)),
        schema_version: Some(1),
        tenant: Some(feed.source.tenant.clone()),
        environment: Some(feed.source.environment.clone()),
        source_instance: Some(feed.source.instance.clone()),
        adapter: Some(feed.source.adapter.name().into()),
        stream: Some(origin.stream.clone()),
        incarnation: Some(origin.incarnation.clone()),
        partition: Some(origin.partition),
        offset: Some(gap.first()),
        record_index: Some(0),
        kafka_topic: Some(gap.topic.clone()),
        kafka_partition: Some(gap.partition),
        kafka_offset: Some(gap.first()),
        parse_status: Some("rejected".into()),
        reason_code: Some(gap.code().as_str().into()),
        reason: Some(gap.reason(on_gap)),
        ..Row::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_is_missing_and_what_to_do() {
        let lost = Gap { topic: "t".into(), partition: 3, start: Start::Lost { first: 5, low: 9 } };
        let sentence = lost.reason(OnGap::Stop);
        assert!(sentence.contains("4 records") && sentence.contains("5 to 8") && sentence.contains("on_gap"), "{sentence}");
        let anew = Gap { topic: "t".into(), partition: 3, start: Start::Ahead { recorded: 7, high: 2 } };
        assert!(anew.reason(OnGap::Continue).contains("incarnation"));
    }
}
