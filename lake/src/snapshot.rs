//! Tables as DataFusion sees them: a fixed list of files, pruned by partition and time, read as Parquet.
//!
//! A provider is a snapshot: it never changes, and a query over it sees one version of the table. Pruning
//! uses the partition columns and the statistics in the log; Parquet's own statistics do the rest. Filters
//! are all *inexact*: DataFusion applies them again.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::NaiveDate;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use schemas::columns::name;

use crate::baselines;
use crate::delta::Add;
use crate::parquet_file::Logged;
use crate::place::Place;
use crate::table::{Table, TableFile, TableSpec};

/// A table at one version, or some files of it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    place: Place,
    schema: SchemaRef,
    files: Vec<File>,
    partitions: Vec<FieldRef>,
    file_schema: SchemaRef,
}

#[derive(Debug, Clone)]
struct File {
    path: String,
    size: u64,
    partition: Vec<ScalarValue>,
    partition_texts: Vec<(String, String)>,
    /// Rows, when known.
    rows: Option<u64>,
    /// Lowest and highest event time, microseconds, when known.
    times: Option<(i64, i64)>,
    /// Lowest and highest day of a baseline's rows, days since 1970, when known.
    days: Option<(i64, i64)>,
}

impl Snapshot {
    /// The files of a table that came in versions of at most `up_to`; `None` is all.
    pub fn of(table: &Table, up_to: Option<u64>) -> Self {
        let files = table.data_files();
        let adds = files.into_iter().filter(|f| up_to.is_none_or(|v| f.version <= v)).map(|f| f.add);
        Self::new(table, adds.collect())
    }

    /// The files of a table that came after version `after` and not after `up_to`.
    pub fn between(table: &Table, after: Option<u64>, up_to: u64) -> Self {
        Self::among(table, &table.data_files(), after, up_to)
    }

    /// Those of these files that came after version `after` and not after `up_to`: of one list, for a merge may come between two.
    pub(crate) fn among(table: &Table, files: &[TableFile], after: Option<u64>, up_to: u64) -> Self {
        let adds = files.iter().filter(|file| file.came_between(after, up_to)).map(|file| file.add.clone());
        Self::new(table, adds.collect())
    }

    /// These files of a table.
    pub(crate) fn files(table: &Table, files: Vec<Add>) -> Self {
        Self::new(table, files)
    }

    /// No files: the table before its first commit.
    pub fn nothing(table: &Table) -> Self {
        Self::new(table, Vec::new())
    }

    fn new(table: &Table, adds: Vec<Add>) -> Self {
        let TableSpec { schema, partition_columns, .. } = table.spec();
        let is_partition = |f: &FieldRef| partition_columns.contains(&f.name().as_str());
        let of = |name: &&str| Arc::new(schema.field_with_name(name).cloned().unwrap_or_else(|_| Field::new(*name, DataType::Utf8, true)));
        let partitions: Vec<FieldRef> = partition_columns.iter().map(of).collect();
        let file_fields: Vec<FieldRef> = schema.fields().iter().filter(|f| !is_partition(f)).cloned().collect();
        let all: Vec<FieldRef> = file_fields.iter().chain(&partitions).cloned().collect();
        let files = adds.iter().map(|add| File::new(add, &partitions)).collect();
        Self {
            place: table.place().clone(),
            schema: Arc::new(Schema::new(all)),
            files,
            partitions,
            file_schema: Arc::new(Schema::new(file_fields)),
        }
    }

    /// The files of one partition.
    pub(crate) fn of_partition(mut self, column: &str, value: &str) -> Self {
        self.files.retain(|file| file.partition_texts.iter().any(|(c, v)| c == column && v == value));
        self
    }

    /// Without the files of another one.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        let others: BTreeSet<&str> = other.files.iter().map(|file| file.path.as_str()).collect();
        self.files.retain(|file| !others.contains(file.path.as_str()));
        self
    }

    /// Some of its files, evenly spread, each on its own.
    pub(crate) fn some_files(&self, count: usize) -> Vec<Self> {
        let every = self.files.len().div_ceil(count.max(1)).max(1);
        self.files.iter().step_by(every).map(|file| Self { files: vec![file.clone()], ..self.clone() }).collect()
    }

    /// Rows of its files, as far as the log knows them.
    pub(crate) fn row_count(&self) -> u64 {
        self.files.iter().filter_map(|file| file.rows).sum()
    }

    /// Bytes of its files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Number of files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }
}

#[async_trait]
impl TableProvider for Snapshot {
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
        let bounds = Bounds::of(filters);
        self.place.register(state.runtime_env());
        let (store, root) = self.place.scanned();
        let wanted = self.files.iter().filter(|file| bounds.may_hold(file)).map(|file| file.to_scan(&root));
        let groups = spread(wanted.collect(), state.config().target_partitions());
        let table_schema = TableSchema::builder(Arc::clone(&self.file_schema)).with_table_partition_cols(self.partitions.clone()).build();
        // A file never changes, and what its footer says of two hundred columns is asked for by every rule.
        let runtime = state.runtime_env();
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(runtime.object_store(&store)?, footers);
        let mut source = ParquetSource::new(table_schema)
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_parquet_file_reader_factory(Arc::new(reader));
        if let Some(filter) = conjunction(filters.to_vec()) {
            let df_schema = DFSchema::try_from(Arc::clone(&self.schema))?;
            source = source.with_predicate(state.create_physical_expr(filter, &df_schema)?);
        }
        let config = FileScanConfigBuilder::new(store, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// A session whose rows have the types of the tables: plain strings, no views.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.schema_force_view_types = false;
    // The columns that filters name are decoded first, the others where a row is left: most rules look for a category.
    parquet.pushdown_filters = true;
    config
}

/// The rows of these files, with all columns in the table's order.
pub(crate) async fn read(table: &Table, files: Vec<Add>) -> Result<Vec<RecordBatch>> {
    read_without(table, files, &[]).await
}

/// As [`read`], less some columns.
pub(crate) async fn read_without(table: &Table, files: Vec<Add>, left_out: &[&str]) -> Result<Vec<RecordBatch>> {
    let context = SessionContext::new_with_config(session_config().with_target_partitions(1));
    let names = table.spec().schema.fields().iter().map(|f| f.name().as_str()).filter(|name| !left_out.contains(name));
    let columns = names.map(|name| Expr::Column(Column::from_name(name)));
    context.read_table(Arc::new(Snapshot::files(table, files)))?.select(columns.collect::<Vec<_>>())?.collect().await
}

impl File {
    fn new(add: &Add, partitions: &[FieldRef]) -> Self {
        let text = |field: &FieldRef| add.partition_values.get(field.name()).cloned().flatten();
        let logged = Logged::of(add.stats.as_deref());
        let texts: Vec<(String, String)> = partitions.iter().filter_map(|f| Some((f.name().clone(), text(f)?))).collect();
        Self {
            path: add.path.clone(),
            size: u64::try_from(add.size).unwrap_or(0),
            partition: partitions.iter().map(|field| partition_value(field, text(field).as_deref())).collect(),
            partition_texts: texts,
            rows: logged.as_ref().and_then(Logged::rows),
            times: logged.as_ref().and_then(|logged| logged.bounds_us(name::event_time)),
            days: logged.as_ref().and_then(|logged| logged.bounds_days(baselines::DAY)),
        }
    }

    fn to_scan(&self, root: &str) -> PartitionedFile {
        let path = format!("{root}/{}", self.path);
        let mut file = PartitionedFile::new(path, self.size);
        file.partition_values.clone_from(&self.partition);
        file
    }
}

fn partition_value(field: &Field, text: Option<&str>) -> ScalarValue {
    match (field.data_type(), text) {
        (DataType::Date32, Some(text)) => {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            let days = day.and_then(|d| i32::try_from((d - NaiveDate::default()).num_days()).ok());
            ScalarValue::Date32(days)
        }
        (DataType::Date32, None) => ScalarValue::Date32(None),
        (_, text) => ScalarValue::Utf8(text.map(str::to_owned)),
    }
}

fn spread(files: Vec<PartitionedFile>, parts: usize) -> Vec<FileGroup> {
    let parts = parts.clamp(1, files.len().max(1));
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); parts];
    for (i, file) in files.into_iter().enumerate() {
        groups[i % parts].push(file);
    }
    groups.into_iter().map(FileGroup::new).collect()
}

/// What the filters say of partitions, of event time and of a baseline's day.
#[derive(Debug, Default)]
struct Bounds {
    equal: Vec<(String, String)>,
    times: Range,
    days: Range,
}

/// Bounds of one column; open ones are taken as closed: a file too many is read, never one too few.
#[derive(Debug, Default)]
struct Range {
    not_before: Option<i64>,
    not_after: Option<i64>,
}

impl Range {
    fn narrow(&mut self, op: Operator, value: i64) {
        if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) {
            self.not_before = Some(self.not_before.map_or(value, |old| old.max(value)));
        }
        if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq) {
            self.not_after = Some(self.not_after.map_or(value, |old| old.min(value)));
        }
    }

    fn meets(&self, known: Option<(i64, i64)>) -> bool {
        let Some((low, high)) = known else { return true };
        self.not_before.is_none_or(|bound| high >= bound) && self.not_after.is_none_or(|bound| low <= bound)
    }
}

impl Bounds {
    fn of(filters: &[Expr]) -> Self {
        let mut bounds = Self::default();
        filters.iter().for_each(|filter| bounds.take(filter));
        bounds
    }

    fn take(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.take(left);
                self.take(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
                (Expr::Column(column), Expr::Literal(value, _)) => self.compare(&column.name, *op, value),
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    if let Some(op) = op.swap() {
                        self.compare(&column.name, op, value);
                    }
                }
                _ => {}
            },
            Expr::Between(between) if !between.negated => {
                if let (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) =
                    (&*between.expr, &*between.low, &*between.high)
                {
                    self.compare(&column.name, Operator::GtEq, low);
                    self.compare(&column.name, Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, column: &str, op: Operator, value: &ScalarValue) {
        if let (Operator::Eq, Some(Some(text))) = (op, value.try_as_str()) {
            self.equal.push((column.to_owned(), text.to_owned()));
            return;
        }
        match value {
            ScalarValue::TimestampMicrosecond(Some(micros), _) if column == name::event_time => self.times.narrow(op, *micros),
            ScalarValue::Date32(Some(days)) if column == baselines::DAY => self.days.narrow(op, i64::from(*days)),
            _ => {}
        }
    }

    fn may_hold(&self, file: &File) -> bool {
        let differs = |(column, wanted): &(String, String)| file.partition_texts.iter().any(|(c, v)| c == column && v != wanted);
        !self.equal.iter().any(differs) && self.times.meets(file.times) && self.days.meets(file.days)
    }
}
