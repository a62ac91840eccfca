//! What is wrong with a rule before it runs: every statement is planned against an empty lake, and the plan is looked at.
//!
//! Refused are SQL that does not plan, anything but a query, joins that pair everything with everything or rows of two
//! tenants, groups and windows over rows of several tenants, functions whose answer differs from run to run, and tables that rules may not read.
//!
//! Not seen: a subquery that drops it before a join, and `IN` or `EXISTS` without it.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, JoinType, LogicalPlan, Operator, Volatility};
use datafusion::prelude::{SQLOptions, SessionContext};
use lake::views;

use crate::rule::{Moments, Rule};

/// The key whose rows are alerts; the others beside it count identities over all tenants.
const QUERY: &str = "query";
/// A column that joins must agree on.
const TENANT: &str = "tenant";
/// Window functions that only number rows.
const NUMBERS: [&str; 3] = ["row_number", "rank", "dense_rank"];
/// A table of one row, which may be paired with everything.
const ONE_ROW: &str = "defaults";
/// Names that are for the views only.
const STORED: &str = "stored_";
/// Some moment; plans do not depend on which.
const MOMENT_US: i64 = 1_790_000_000_000_000;

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key of the rule file that it is in.
    pub at: String,
    /// What is wrong, and how to mend it.
    pub what: String,
}

/// Faults of a rule's SQL. The session is one of the detector over a lake, which may be empty.
pub async fn faults(rule: &Rule, context: &SessionContext) -> Vec<Fault> {
    let moments = Moments { as_of_us: MOMENT_US, new_from_us: MOMENT_US, new_to_us: MOMENT_US };
    let mut found = unknown_fields(rule, context).await;
    let mut made = Vec::new();
    for table in &rule.tables {
        let at = format!("tables.{}", table.name);
        match planned(context, &rule.filled(&table.sql, moments)).await {
            Err(what) => found.push(Fault { at, what }),
            Ok(plans) => {
                found.extend(of_rows(&plans).into_iter().map(|what| Fault { at: at.clone(), what }));
                let schema = plans.as_written.schema().inner().clone();
                if context.table_exist(table.name.as_str()).unwrap_or(true) {
                    found.push(Fault { at, what: format!("there is a table `{}` already; name its own another way", table.name) });
                } else if let Err(error) = views::register_rows(context, &table.name, schema, Vec::new()) {
                    found.push(Fault { at, what: error.to_string() });
                } else {
                    made.push(table.name.as_str());
                }
            }
        }
    }
    let others = [
        (QUERY, Some(&rule.query)),
        ("learning", rule.learning.as_ref()),
        ("excluded", rule.excluded.as_ref()),
        ("blind", rule.blind.as_ref()),
    ];
    for (at, sql) in others.into_iter().filter_map(|(at, sql)| Some((at, sql?))) {
        let faults = match planned(context, &rule.filled(sql, moments)).await {
            Err(what) => vec![what],
            Ok(plans) if at == QUERY => of_rows(&plans),
            Ok(plans) => of_plans(&plans),
        };
        found.extend(faults.into_iter().map(|what| Fault { at: at.into(), what }));
    }
    for name in made {
        // It was just made.
        let _ = context.deregister_table(name);
    }
    found
}

/// Required fields that no event and no rejection has: such a rule would never be called blind.
async fn unknown_fields(rule: &Rule, context: &SessionContext) -> Vec<Fault> {
    let mut columns = Vec::new();
    for view in ["new_events", "new_rejections"] {
        if let Ok(provider) = context.table_provider(view).await {
            columns.extend(provider.schema().fields().iter().map(|field| field.name().clone()));
        }
    }
    let unknown = rule.required_fields.iter().filter(|field| !columns.contains(field));
    unknown
        .map(|field| Fault { at: "required_fields".into(), what: format!("there is no column `{field}`; docs/events.md lists them") })
        .collect()
}

/// A statement as it is written, which still has every column, and as it will run, which shows what its joins come to.
struct Plans {
    as_written: LogicalPlan,
    optimized: LogicalPlan,
}

async fn planned(context: &SessionContext, sql: &str) -> Result<Plans, String> {
    if sql.to_ascii_lowercase().contains(STORED) {
        return Err(format!("it reads a table whose name begins with `{STORED}`; read the view without it"));
    }
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(sql, options).await.map_err(|e| short(&e.strip_backtrace()))?;
    let as_written = frame.logical_plan().clone();
    let optimized = context.state().optimize(&as_written).map_err(|e| short(&e.strip_backtrace()))?;
    Ok(Plans { as_written, optimized })
}

/// Without the list of all columns.
fn short(error: &str) -> String {
    error.split("Valid fields are").next().unwrap_or_default().trim_end().to_owned()
}

/// As [`of_plans`], of a statement whose rows are of one tenant each.
fn of_rows(plans: &Plans) -> Vec<String> {
    let mut found = of_plans(plans);
    found.extend(walked(&plans.as_written, forgets_tenant));
    found.sort();
    found.dedup();
    found
}

fn of_plans(plans: &Plans) -> Vec<String> {
    let mut found = walked(&plans.as_written, mixes_tenants);
    found.extend(walked(&plans.optimized, of_node));
    found.sort();
    found.dedup();
    found
}

fn walked(plan: &LogicalPlan, of_node: impl Fn(&LogicalPlan) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let walked = plan.apply_with_subqueries(|node| {
        found.extend(of_node(node));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                found.extend(volatile(part));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if let Err(error) = walked {
        found.push(error.strip_backtrace());
    }
    found
}

/// A join of two tables with a tenant whose condition does not compare them. Joins that only ask whether there is a row
/// (`IN`, `EXISTS`, the one that takes copies out) show nothing of the other tenant, and are left alone.
fn mixes_tenants(node: &LogicalPlan) -> Option<String> {
    let LogicalPlan::Join(join) = node else { return None };
    let shows_both = matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let is_equal = |left: &Expr, right: &Expr| names_tenant(left) && names_tenant(right);
    let in_filter = join.filter.iter().flat_map(split_conjunction).any(|part| match part {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => is_equal(left, right),
        _ => false,
    });
    let compared = in_filter || join.on.iter().any(|(left, right)| is_equal(left, right));
    let is_mixed = shows_both && has_tenant(&join.left) && has_tenant(&join.right) && !compared;
    is_mixed
        .then(|| "a join of two tables with a tenant does not say that the tenants are equal; add `a.tenant = b.tenant` to its ON".into())
}

/// A group or a window over rows that have a tenant, and not by it: what one tenant does would count for another.
fn forgets_tenant(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::Aggregate(aggregate) if has_tenant(&aggregate.input) => {
            let is_by_tenant = aggregate.group_expr.iter().any(names_tenant);
            (!is_by_tenant).then(|| "a group counts rows of several tenants as one; add `tenant` to its GROUP BY".into())
        }
        LogicalPlan::Window(window) if has_tenant(&window.input) => {
            let is_by_tenant = |expression: &Expr| match expression.clone().unalias() {
                Expr::WindowFunction(function) => {
                    let WindowFunctionParams { partition_by, order_by, .. } = &function.params;
                    // A number that is given in the order of tenants is of one of them, and says nothing of the others.
                    let is_number = NUMBERS.contains(&function.fun.name()) && order_by.first().is_some_and(|sort| names_tenant(&sort.expr));
                    is_number || partition_by.iter().any(names_tenant)
                }
                _ => true,
            };
            let forgets = !window.window_expr.iter().all(is_by_tenant);
            forgets.then(|| "a window looks at rows of several tenants; add `tenant` to its PARTITION BY".into())
        }
        _ => None,
    }
}

fn has_tenant(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| field.name() == TENANT)
}

fn of_node(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::Join(join) if join.on.is_empty() => {
            let pairs_all = !reads_one_row(&join.left) && !reads_one_row(&join.right);
            pairs_all.then(|| "a join without an equality pairs everything with everything; join on tenant and a key".into())
        }
        LogicalPlan::TableScan(scan) if scan.table_name.table().contains('(') => {
            Some(format!("it makes rows with `{}`; rules read what happened", scan.table_name.table()))
        }
        _ => None,
    }
}

/// One row, because it is the table of defaults or an aggregate of everything.
fn reads_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table() == ONE_ROW,
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            plan.inputs().iter().all(|input| reads_one_row(input))
        }
        _ => false,
    }
}

fn names_tenant(expression: &Expr) -> bool {
    expression.column_refs().iter().any(|column| column.name == TENANT)
}

/// Whether a part of an expression gives another answer each time.
pub(crate) fn has_volatile(expression: &Expr) -> datafusion::error::Result<bool> {
    expression.exists(|part| Ok(volatile(part).is_some()))
}

fn volatile(expression: &Expr) -> Option<String> {
    let Expr::ScalarFunction(call) = expression else { return None };
    // One that is stable in a query differs from run to run all the same, as now() does.
    let differs = call.func.signature().volatility != Volatility::Immutable;
    differs.then(|| format!("`{}` gives another answer each time, and the same events must give the same alerts", call.func.name()))
}
