//! Plans that a running detector keeps from step to step: planning is most of what a rule costs on a small batch.
//!
//! A statement that reads new events and the inventory only, and names no moment, is the same text at each step; its
//! optimized plan is kept, over a slot that the new events of the step are put into. What reads anything else is planned each time,
//! because its tables are other ones. The kept plans are for one set of rules and one inventory.

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

use crate::inventory;
use crate::rule::Rule;
use crate::run::words_of;

const NEW_EVENTS: &str = "new_events";

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
        Self { words: words_of(rules), kept: Mutex::default() }
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

    fn keep(&self, sql: &str, plan: &Arc<LogicalPlan>) -> Result<(), DataFusionError> {
        if is_lasting(plan)? {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_sql.insert(sql.to_owned(), Arc::clone(plan));
        }
        Ok(())
    }
}

/// How a statement will run; a query, and nothing that changes anything.
pub(crate) async fn physical(context: &SessionContext, sql: &str, options: SQLOptions) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let state = context.state();
    let plans = state.config().get_extension::<Plans>();
    let plan = match plans.as_ref().and_then(|plans| plans.get(sql)) {
        Some(plan) => plan,
        None => {
            let (written, plan) = context.sql_with_options(sql, options).await?.into_parts();
            let plan = Arc::new(written.optimize(&plan)?);
            plans.map_or(Ok(()), |plans| plans.keep(sql, &plan))?;
            plan
        }
    };
    state.query_planner().create_physical_plan(&plan, &state).await
}

/// Whether a plan reads nothing but the slot and the inventory.
fn is_lasting(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut is_lasting = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = scan.table_name.table();
            is_lasting &= name == NEW_EVENTS || inventory::has_table(name);
        }
        Ok(if is_lasting { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_lasting)
}
