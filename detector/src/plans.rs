//! Plans that a running detector keeps from step to step: planning is most of what a rule costs on a small batch.
//!
//! A statement that reads new events and the inventory only, and names no moment, is the same text at each step; its
//! optimized plan is kept, over a slot that the new events of the step are put into. What reads anything else is planned each time,
//! because its tables are other ones. The kept plans are for one set of rules and one inventory. A statement that names a moment is
//! another text each time: its plan is never asked for again, and goes when there are too many.
//!
//! Limits: 256 plans; then all of them go and are made anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use lake::slot::Slot;
use lake::snapshot::session_config;
use lake::words::Words;

use crate::rule::Rule;
use crate::run::words_of;
use crate::{inventory, lint};

const NEW_EVENTS: &str = "new_events";
const MAX_PLANS: usize = 256;

/// Kept plans, an extension of the configuration of sessions.
#[derive(Debug)]
pub struct Plans {
    /// What the rules name, also those that are not due.
    pub(crate) words: Words,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    new_events: Option<Arc<Slot>>,
    by_sql: BTreeMap<String, Arc<LogicalPlan>>,
}

impl Plans {
    /// None yet, for these rules.
    pub fn of(rules: &[Rule]) -> Self {
        Self { words: words_of(rules.iter()), kept: Mutex::default() }
    }

    /// How sessions are made that keep plans here. A batch of half a second is not worth being divided among cores.
    pub fn config(self: &Arc<Self>) -> SessionConfig {
        session_config().with_target_partitions(1).with_extension(Arc::clone(self))
    }

    /// Puts the new events of a session where the kept plans read them.
    pub(crate) async fn take_over(&self, context: &SessionContext) -> Result<(), DataFusionError> {
        let table = context.table_provider(NEW_EVENTS).await?;
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            match &kept.new_events {
                Some(slot) if slot.replace(&table) => Arc::clone(slot),
                _ => {
                    let slot = Arc::new(Slot::new(table));
                    *kept = Kept { new_events: Some(Arc::clone(&slot)), by_sql: BTreeMap::new() };
                    slot
                }
            }
        };
        context.deregister_table(NEW_EVENTS)?;
        context.register_table(NEW_EVENTS, slot).map(drop)
    }

    fn get(&self, sql: &str) -> Option<Arc<LogicalPlan>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_sql.get(sql).cloned()
    }

    fn keep(&self, sql: &str, plan: &Arc<LogicalPlan>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_sql.len() >= MAX_PLANS {
            kept.by_sql.clear();
        }
        kept.by_sql.insert(sql.to_owned(), Arc::clone(plan));
    }
}

/// How a statement will run; a query, and nothing that changes anything.
pub(crate) async fn physical(context: &SessionContext, sql: &str, options: SQLOptions) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let state = context.state();
    let plans = state.config().get_extension::<Plans>();
    let plan = match plans.as_ref().and_then(|plans| plans.get(sql)) {
        Some(plan) => plan,
        None => {
            let (written, as_written) = context.sql_with_options(sql, options).await?.into_parts();
            let plan = Arc::new(written.optimize(&as_written)?);
            if let Some(plans) = plans.filter(|_| is_lasting(&as_written).unwrap_or(false)) {
                plans.keep(sql, &plan);
            }
            plan
        }
    };
    state.query_planner().create_physical_plan(&plan, &state).await
}

/// Whether a plan, as it is written, reads nothing but the slot and the inventory, and asks for nothing that differs from run to run:
/// the optimizer puts the moment of planning in the place of `now()`.
fn is_lasting(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut is_lasting = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = scan.table_name.table();
            is_lasting &= name == NEW_EVENTS || inventory::has_table(name);
        }
        node.apply_expressions(|expression| {
            is_lasting &= !lint::has_volatile(expression)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if is_lasting { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_lasting)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;
    use lake::Lake;

    use super::*;
    use crate::inventory::Inventory;
    use crate::rule::{self, Reach};
    use crate::run::Detector;

    /// A session of a step whose new events are these numbers.
    async fn step(plans: &Arc<Plans>, numbers: &[i64]) -> SessionContext {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(numbers.to_vec()))]).unwrap();
        let context = SessionContext::new_with_config(plans.config());
        context.register_table(NEW_EVENTS, Arc::new(MemTable::try_new(schema.clone(), vec![vec![rows.clone()]]).unwrap())).unwrap();
        context.register_table("events", Arc::new(MemTable::try_new(schema, vec![vec![rows]]).unwrap())).unwrap();
        plans.take_over(&context).await.unwrap();
        context
    }

    async fn sum(context: &SessionContext, sql: &str) -> i64 {
        let plan = physical(context, sql, SQLOptions::new()).await.unwrap();
        let rows = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
        rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
    }

    #[tokio::test]
    async fn a_kept_plan_reads_what_came_since() {
        let plans = Arc::new(Plans::of(&[]));
        for (number, numbers) in [[1, 2], [30, 40], [500, 600]].iter().enumerate() {
            let context = step(&plans, numbers).await;
            assert_eq!(sum(&context, "SELECT SUM(n) FROM new_events").await, numbers.iter().sum::<i64>());
            // What reads history is planned each time, and reads it as it is.
            assert_eq!(sum(&context, "SELECT SUM(e.n) FROM events e JOIN new_events w ON w.n = e.n").await, numbers.iter().sum::<i64>());
            assert_eq!(plans.kept.lock().unwrap().by_sql.len(), 1, "step {number}");
        }
    }

    #[tokio::test]
    async fn what_lasts_is_planned_before_there_is_any_event() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_or_create(folder.path().join("lake").to_string_lossy(), "development").unwrap();
        let mut rules = rule::pack().unwrap();
        rules.retain(|rule| rule.reach() == Reach::NewEvents);
        let (plans, inventory) = (Arc::new(Plans::of(&rules)), Inventory::default());
        let new = Detector::new(&lake, &rules, &inventory);
        Detector { config: plans.config(), learns: false, ..new }.warm_up().await.unwrap();
        assert!(plans.kept.lock().unwrap().by_sql.len() >= rules.len(), "of {} rules", rules.len());
    }

    #[tokio::test]
    async fn a_statement_that_asks_for_the_time_is_planned_each_time() {
        let plans = Arc::new(Plans::of(&[]));
        let context = step(&plans, &[1]).await;
        assert_eq!(sum(&context, "SELECT SUM(n) FROM new_events WHERE now() > to_timestamp(0)").await, 1);
        assert!(plans.kept.lock().unwrap().by_sql.is_empty());
    }

    #[tokio::test]
    async fn texts_that_differ_each_time_do_not_pile_up() {
        let plans = Arc::new(Plans::of(&[]));
        for moment in 0..MAX_PLANS + 10 {
            let context = step(&plans, &[1]).await;
            assert_eq!(sum(&context, &format!("SELECT SUM(n) + {moment} FROM new_events")).await, 1 + i64::try_from(moment).unwrap());
        }
        assert!(plans.kept.lock().unwrap().by_sql.len() <= MAX_PLANS);
    }
}
