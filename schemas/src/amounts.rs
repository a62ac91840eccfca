//! Amounts cannot be below zero: lengths of time, sizes, counts, money.
//!
//! A source that says so is wrong, or lies: sums over a day would be smaller by it, and a bulk export beside it unseen. What
//! it said stays in the raw payload; the column is NULL, and the row says why.

use crate::columns::Row;
use crate::decode::not_kept;

/// Takes amounts below zero out of a row.
pub(crate) fn check(row: &mut Row) {
    let mut below = Vec::new();
    let whole = [
        ("duration_us", &mut row.duration_us),
        ("params_bytes", &mut row.params_bytes),
        ("result_rows", &mut row.result_rows),
        ("result_bytes", &mut row.result_bytes),
        ("tokens_in", &mut row.tokens_in),
        ("tokens_out", &mut row.tokens_out),
    ];
    for (column, amount) in whole {
        below.extend(amount.take_if(|amount| *amount < 0).map(|amount| (column, amount.to_string())));
    }
    below.extend(row.cost_usd.take_if(|amount| *amount < 0.0).map(|amount| ("cost_usd", amount.to_string())));
    for (column, amount) in below {
        not_kept(row, format!("`{column}` cannot be {amount}, which is below zero"));
    }
}
