//! `events` as DataFusion sees it: the stored rows that are events, each once, without copies and revisions.
//!
//! A provider and not a view in SQL: a view would put all two hundred columns into each plan that reads three of them, and
//! planning is most of what a rule costs on a small batch. Copies are taken away by an anti-join that reads the five columns
//! which name a row, and only where there are copies.
//!
//! Filters are all *inexact*: they prune files and rows, and DataFusion applies them again.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, JoinType, NullEquality, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::expressions;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use schemas::columns::name;
use schemas::decode::EVENT;
use schemas::{COLUMNS, Column};

use crate::held::Held;
use crate::snapshot::Snapshot;
use crate::words::Words;

/// What names a row, in `events` and in the table of copies.
const ROW_KEY: [&str; 5] = [name::stream, name::incarnation, name::partition, name::offset, name::record_index];
/// Columns that only rejections fill.
const OF_REJECTIONS: [&str; 3] = [name::row_kind, name::reason_code, name::reason];

/// The columns of an event: all but those that only rejections have.
pub(crate) fn columns() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(|column| !OF_REJECTIONS.contains(&column.name))
}

/// Events of a snapshot, each at its first arrival.
#[derive(Debug, Clone)]
pub(crate) struct FirstArrivals {
    stored: Arc<Snapshot>,
    /// Events of other files, in addition to these.
    held: Option<Arc<Held>>,
    /// Rows that are taken away; `None` when there are none.
    copies: Option<Arc<Snapshot>>,
    /// With it, events of this category only.
    category: Option<&'static str>,
    schema: SchemaRef,
    /// Where each column stands in the snapshot.
    places: Vec<usize>,
}

impl FirstArrivals {
    /// With the columns that are named, and the time.
    pub(crate) fn new(stored: Snapshot, copies: Option<Arc<Snapshot>>, words: &Words) -> Self {
        let stored = Arc::new(stored.of_partition(name::row_kind, EVENT));
        let all = stored.schema();
        let columns = columns().filter(|column| column.name == name::event_time || words.has(column.name));
        let places: Vec<usize> = columns.filter_map(|column| all.index_of(column.name).ok()).collect();
        let schema = Arc::new(Schema::new(places.iter().map(|place| Arc::clone(&all.fields()[*place])).collect::<Vec<_>>()));
        Self { stored, held: None, copies, category: None, schema, places }
    }

    /// The same events, of which those of some files are held.
    pub(crate) fn with(self, held: Option<Arc<Held>>) -> Self {
        let Some(held) = held else { return self };
        let stored = Snapshot::clone(&self.stored).without(&held.files().stored);
        Self { stored: Arc::new(stored), held: Some(held), ..self }
    }

    /// The same, of one category only.
    pub(crate) fn of_category(&self, category: &'static str) -> Self {
        Self { category: Some(category), ..self.clone() }
    }

    /// Some of its files, evenly spread, each on its own.
    pub(crate) fn some_files(&self, count: usize) -> Vec<Self> {
        self.stored.some_files(count).into_iter().map(|file| Self { stored: Arc::new(file), ..self.clone() }).collect()
    }

    /// Columns of the snapshot by place: those that are wanted, then what the rest of the plan needs.
    fn read(&self, wanted: &[usize]) -> Vec<usize> {
        let mut read: Vec<usize> = wanted.iter().map(|column| self.places[*column]).collect();
        let keys = self.copies.iter().flat_map(|_| ROW_KEY);
        let category = self.category.map(|_| name::category);
        for needed in keys.chain(category) {
            if let Ok(place) = self.stored.schema().index_of(needed)
                && !read.contains(&place)
            {
                read.push(place);
            }
        }
        read
    }
}

#[async_trait]
impl TableProvider for FirstArrivals {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = projection.map_or_else(|| (0..self.places.len()).collect(), Clone::clone);
        let Some(held) = &self.held else { return self.scan_files(state, &wanted, filters, limit).await };
        let of_held = held.scan_of(self.category, state, &wanted, filters).await?;
        if self.stored.file_count() == 0 {
            return Ok(of_held);
        }
        UnionExec::try_new(vec![self.scan_files(state, &wanted, filters, None).await?, of_held])
    }
}

impl FirstArrivals {
    async fn scan_files(
        &self,
        state: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let of_category = self.category.map(|category| col(name::category).eq(lit(category)));
        let filters: Vec<Expr> = filters.iter().cloned().chain(of_category.clone()).collect();
        let is_plain = self.copies.is_none() && self.category.is_none();
        let mut plan = self.stored.scan(state, Some(&self.read(wanted)), &filters, limit.filter(|_| is_plain)).await?;
        if let Some(copies) = &self.copies {
            plan = without(plan, copies, state).await?;
        }
        let out: Vec<usize> = (0..wanted.len()).collect();
        if let Some(condition) = of_category {
            let condition = state.create_physical_expr(condition, &DFSchema::try_from(plan.schema())?)?;
            return Ok(Arc::new(FilterExecBuilder::new(condition, plan).apply_projection(Some(out))?.build()?));
        }
        projected(plan, out)
    }
}

/// A plan without the rows that are copies.
async fn without(plan: Arc<dyn ExecutionPlan>, copies: &Snapshot, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = copies.schema();
    let keys: Result<Vec<usize>, _> = ROW_KEY.iter().map(|key| schema.index_of(key)).collect();
    let copies = copies.scan(state, Some(&keys?), &[], None).await?;
    let side = |plan: &Arc<dyn ExecutionPlan>, key: &str| {
        expressions::Column::new_with_schema(key, &plan.schema()).map(|column| Arc::new(column) as _)
    };
    let on: Result<Vec<_>> = ROW_KEY.iter().map(|key| Ok((side(&copies, key)?, side(&plan, key)?))).collect();
    let (mode, nulls) = (PartitionMode::CollectLeft, NullEquality::NullEqualsNothing);
    Ok(Arc::new(HashJoinExec::try_new(copies, plan, on?, None, &JoinType::RightAnti, None, mode, nulls, false)?))
}

/// The first columns of a plan, which are those that were asked for.
fn projected(plan: Arc<dyn ExecutionPlan>, out: Vec<usize>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    if out.len() == schema.fields().len() {
        return Ok(plan);
    }
    let column = |i: usize| (Arc::new(expressions::Column::new(schema.field(i).name(), i)) as _, schema.field(i).name().clone());
    Ok(Arc::new(ProjectionExec::try_new(out.into_iter().map(column).collect::<Vec<_>>(), plan)?))
}
