//! A name in a session whose table can be replaced, so that a plan made once reads what came since.
//!
//! Plans hold the provider that they were made with. Over a slot they hold the slot, which asks the table of the moment. All
//! tables of one slot have the same columns. Limits: filters are all *inexact*, because the next table may use none of them.

use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// The place of a table.
#[derive(Debug)]
pub struct Slot {
    schema: SchemaRef,
    table: RwLock<Arc<dyn TableProvider>>,
}

impl Slot {
    /// A slot with its first table.
    pub fn new(table: Arc<dyn TableProvider>) -> Self {
        Self { schema: table.schema(), table: RwLock::new(table) }
    }

    /// Puts another table there. False when its columns differ, and then nothing changes.
    pub fn replace(&self, table: &Arc<dyn TableProvider>) -> bool {
        let is_same = table.schema() == self.schema;
        if is_same {
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(table);
        }
        is_same
    }
}

#[async_trait]
impl TableProvider for Slot {
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
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        table.scan(state, projection, filters, limit).await
    }
}
