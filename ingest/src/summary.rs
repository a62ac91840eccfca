//! What a run did, as one object that adds up.

use lake::events::Counts;
use lake::follow::Duplicates;
use serde::Serialize;

/// Summary of an ingest or import run. The four classes of records are disjoint and sum to `records`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Records read and committed.
    pub records: u64,
    /// Records with at least one event that was new.
    pub records_with_events: u64,
    /// Records that gave rejections only.
    pub records_rejected: u64,
    /// Records all of whose events were copies.
    pub records_duplicate: u64,
    /// Records that held nothing.
    pub records_empty: u64,
    /// Offsets that hold no record.
    pub offsets_without_record: u64,
    /// Events stored, copies included.
    pub events: u64,
    /// Rejections stored.
    pub rejections: u64,
    /// Events that are copies of an earlier one.
    pub duplicates: u64,
    /// Commits made.
    pub commits: u64,
    /// Partitions that were stopped because offsets are missing; see the log.
    pub partitions_stopped: u64,
}

impl Summary {
    pub(crate) fn of(counts: Counts, duplicates: Duplicates, commits: u64, partitions_stopped: u64) -> Self {
        Self {
            records: counts.records,
            records_with_events: counts.with_events - duplicates.records,
            records_rejected: counts.rejected,
            records_duplicate: duplicates.records,
            records_empty: counts.empty,
            offsets_without_record: counts.no_record,
            events: counts.events,
            rejections: counts.rejections,
            duplicates: duplicates.events,
            commits,
            partitions_stopped,
        }
    }
}
