//! Reading: SQL over the views of a lake, read-only by construction.
//!
//! One [`Session`] is the only door: it plans, refuses anything but a query, bounds memory, and prints. A
//! statement that would write, define or set something is refused with the reason.

mod print;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::prelude::{SQLOptions, SessionContext};
use lake::snapshot::session_config;
use lake::views::{self, Window};
use lake::{Lake, joined};

pub use print::{Format, UnknownFormat, harmless, print};

/// A failure of a query.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The lake cannot be read.
    #[error("the lake cannot be read")]
    Lake(#[from] lake::LakeError),
    /// The SQL is wrong or not allowed.
    #[error("{}", advice(.0))]
    Sql(Box<DataFusionError>),
    /// The result cannot be written.
    #[error("the result cannot be written")]
    Output(#[from] std::io::Error),
    /// Arrow or Parquet failed.
    #[error("the result cannot be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The database's own words, and what to do next.
fn advice(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    // The list of all columns would hide the suggestion before it.
    if let Some((said, _)) = text.split_once("Valid fields are ") {
        return format!("{}\nthe columns of a view: DESCRIBE events", said.trim_end());
    }
    if text.contains("not found") && text.contains("table") {
        return format!("{text}\nthe views are: {}", views::VIEWS.join(", "));
    }
    text
}

/// A text as SQL writes it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A session over one snapshot of a lake.
pub struct Session {
    context: SessionContext,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn open(lake: &Lake) -> Result<Self, QueryError> {
        // Plain strings: what is printed and exported is what the tables hold.
        Ok(Self { context: views::session(lake, session_config(), Window::default()).await? })
    }

    /// Runs a query to its end.
    ///
    /// # Errors
    /// When the SQL is wrong, not a query, or fails.
    pub async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), QueryError> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let failed = |e| QueryError::Sql(Box::new(e));
        // They take time to plan, so only a query that names one pays for it.
        if joined::is_named_in(sql) && !self.context.table_exist("acts").map_err(failed)? {
            joined::register(&self.context).await?;
        }
        let frame = self.context.sql_with_options(sql, options).await.map_err(failed)?;
        let schema = Arc::clone(frame.schema().inner());
        Ok((schema, frame.collect().await.map_err(failed)?))
    }

    /// Columns of a view.
    ///
    /// # Errors
    /// When there is no such view.
    pub async fn columns(&self, view: &str) -> Result<Vec<String>, QueryError> {
        let provider = self.context.table_provider(view).await.map_err(|e| QueryError::Sql(Box::new(e)))?;
        Ok(provider.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    /// Rows of a query as texts; NULL is empty. For reports of a few rows.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn texts(&self, sql: &str) -> Result<Vec<Vec<String>>, QueryError> {
        let (_, batches) = self.query(sql).await?;
        let mut rows = Vec::new();
        for batch in &batches {
            let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect::<Result<Vec<_>, _>>();
            let columns = columns.map_err(|e| QueryError::Encode(Box::new(e)))?;
            let text =
                |column: &ArrayRef, row| column.as_string_opt::<i32>().filter(|c| c.is_valid(row)).map_or("", |c| c.value(row)).to_owned();
            rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect()));
        }
        Ok(rows)
    }
}
