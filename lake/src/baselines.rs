//! Baseline tables: what is known of each identity, in rows of one UTC day that are merged by SUM, MIN and MAX.
//!
//! A late event is a small row more, and a baseline *as of* any day is a range read. All values are integers,
//! because a sum of floats depends on its order. Each row says which version of `events` it came from.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::decide::Step;
use crate::table::{CommitOutcome, Table, TableSpec};
use crate::{Lake, LakeError, TableName};

/// Kinds of baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Events by identity, UTC day and five minutes: `tenant, identity, day, at, n`.
    Hours,
    /// Volume by identity and day: `tenant, identity, day, calls, rows_out, bytes_out, max_rows, max_bytes`.
    Volumes,
    /// Terms by identity and day: `tenant, identity, kind, term, day, n`.
    Terms,
    /// What holds from a moment on, and is asked for however long ago it was said:
    /// `tenant, identity, kind, value, day, first_at, last_at, event_id, n`.
    Facts,
    /// Sketch of the different resources of a type that an identity read on a day, merged by MIN of the weight:
    /// `tenant, identity, type, day, register, weight`.
    Resources,
}

/// The column that all kinds have statistics of: bound it by a literal, and files of other days stay unread.
pub(crate) const DAY: &str = "day";

/// Name in SQL of the view of releases.
pub const RELEASES: &str = "releases";

/// The first day of each version and model of an agent, and how many days after whichever of either kind came before; NULL of the
/// first of each kind. One that comes back is no release. In the order in which they were learnt: what comes later,
/// however it is dated, does not change what is said of earlier ones.
pub(crate) const RELEASES_SQL: &str = "
WITH firsts AS (
  SELECT tenant, identity, kind, value, MIN(day) AS day, MIN(first_at) AS first_at, MIN(events_version) AS learnt FROM baseline_facts WHERE kind IN ('version', 'model') GROUP BY 1, 2, 3, 4
),
days AS (
  SELECT tenant, identity, learnt, day,
    MAX(CAST(day AS INT)) OVER (PARTITION BY tenant, identity ORDER BY learnt, day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM (SELECT DISTINCT tenant, identity, learnt, day FROM firsts) d
)
SELECT f.tenant, f.identity, f.kind, f.value, f.day,
  CASE WHEN row_number() OVER (PARTITION BY f.tenant, f.identity, f.kind ORDER BY f.learnt, f.day, f.first_at, f.value) = 1 THEN NULL
    WHEN row_number() OVER (PARTITION BY f.tenant, f.identity, f.kind, f.learnt, f.day ORDER BY f.first_at, f.value) > 1 THEN 0
    ELSE CAST(f.day AS INT) - d.before END AS after_days
FROM firsts f JOIN days d ON d.tenant = f.tenant AND d.identity = f.identity AND d.learnt = f.learnt AND d.day = f.day";

impl Baseline {
    /// All kinds.
    pub const ALL: &'static [Baseline] = &[Self::Hours, Self::Volumes, Self::Terms, Self::Facts, Self::Resources];

    pub(crate) fn table(self) -> TableName {
        match self {
            Self::Hours => TableName::BaselineHours,
            Self::Volumes => TableName::BaselineVolumes,
            Self::Terms => TableName::BaselineTerms,
            Self::Facts => TableName::BaselineFacts,
            Self::Resources => TableName::BaselineResources,
        }
    }

    /// Name in SQL.
    pub fn table_name(self) -> &'static str {
        self.table().as_str()
    }

    /// Columns.
    pub fn schema(self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let long = |name: &str| Field::new(name, DataType::Int64, true);
        let day = Field::new(DAY, DataType::Date32, true);
        let moment = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
        let version = long("events_version");
        let fields = match self {
            Self::Hours => {
                vec![text("tenant"), text("identity"), day, moment("at"), long("n"), version]
            }
            Self::Volumes => vec![
                text("tenant"),
                text("identity"),
                day,
                long("calls"),
                long("rows_out"),
                long("bytes_out"),
                long("max_rows"),
                long("max_bytes"),
                version,
            ],
            Self::Terms => vec![text("tenant"), text("identity"), text("kind"), text("term"), day, long("n"), version],
            Self::Resources => vec![text("tenant"), text("identity"), text("type"), day, long("register"), long("weight"), version],
            Self::Facts => vec![
                text("tenant"),
                text("identity"),
                text("kind"),
                text("value"),
                day,
                moment("first_at"),
                moment("last_at"),
                text("event_id"),
                long("n"),
                version,
            ],
        };
        Arc::new(Schema::new(fields))
    }

    /// The table.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn open(self, lake: &Lake) -> Result<Table, LakeError> {
        lake.table(self.table(), TableSpec { schema: self.schema(), partition_columns: &[], stats_columns: DAY })
    }

    /// Version of `events` that it covers.
    pub fn cursor(self, table: &Table) -> Option<u64> {
        table.cursor(self.table_name())
    }

    /// Appends rows and moves the cursor, in one commit.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn append(self, table: &Table, from: Option<u64>, to: u64, rows: &[RecordBatch], now_ms: i64) -> Result<CommitOutcome, LakeError> {
        let batch = arrow::compute::concat_batches(&self.schema(), rows).map_err(|e| LakeError::Rows(Box::new(e)))?;
        table.append(&batch, vec![Step::follow(self.table_name(), from, to)], now_ms)
    }
}
