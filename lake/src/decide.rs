//! What to do with a batch, given what the table has recorded. Pure.
//!
//! A batch covers `(from, to]` of each of its partitions; the table records the last offset taken of
//! each. For one partition, with `r` recorded:
//!
//! | recorded | verdict |
//! |---|---|
//! | none | `Commit` (first start) |
//! | `r == from` | `Commit` |
//! | `r == to` | `AlreadyCommitted` |
//! | `r < from` | `Gap`: offsets between were never committed |
//! | otherwise | `Overlap`: another owner took some of them |
//!
//! A batch is one unit: it commits only when every partition says `Commit`, it is done only when every
//! partition says so, and otherwise it is dropped whole and read again from the recorded positions.

use crate::layout::follower_txn;

/// Range of one partition in a batch, under its transaction name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Transaction name.
    pub app_id: String,
    /// Last offset before the batch.
    pub from: i64,
    /// Last offset of the batch.
    pub to: i64,
}

impl Step {
    /// A follower's way from one version to another.
    pub(crate) fn follow(follower: &str, from: Option<u64>, to: u64) -> Self {
        Self { app_id: follower_txn(follower), from: from.map_or(-1, u64::cast_signed), to: to.cast_signed() }
    }
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Write it.
    Commit,
    /// It is in the table: a reply was lost.
    AlreadyCommitted,
    /// Some of it is in the table under another owner. Drop it and read the positions again.
    Overlap,
    /// Offsets before it are missing. Drop it and read the positions again.
    Gap,
}

/// Decides on a batch. `recorded` gives the last offset taken under a transaction name.
pub fn decide(steps: &[Step], recorded: impl Fn(&str) -> Option<i64>) -> Decision {
    let verdicts: Vec<Decision> = steps.iter().map(|step| verdict(step, recorded(&step.app_id))).collect();
    if verdicts.iter().all(|v| *v == Decision::Commit) {
        Decision::Commit
    } else if verdicts.iter().all(|v| *v == Decision::AlreadyCommitted) {
        Decision::AlreadyCommitted
    } else if verdicts.contains(&Decision::Gap) {
        Decision::Gap
    } else {
        Decision::Overlap
    }
}

fn verdict(step: &Step, recorded: Option<i64>) -> Decision {
    match recorded {
        None => Decision::Commit,
        Some(r) if r == step.from => Decision::Commit,
        Some(r) if r == step.to => Decision::AlreadyCommitted,
        Some(r) if r < step.from => Decision::Gap,
        Some(_) => Decision::Overlap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(app_id: &str, from: i64, to: i64) -> Step {
        Step { app_id: app_id.into(), from, to }
    }

    #[test]
    fn the_table_in_the_header_is_what_happens() {
        let batch = [step("p", 4, 9)];
        for (recorded, expected) in [
            (None, Decision::Commit),
            (Some(4), Decision::Commit),
            (Some(9), Decision::AlreadyCommitted),
            (Some(3), Decision::Gap),
            (Some(6), Decision::Overlap),
            (Some(12), Decision::Overlap),
        ] {
            assert_eq!(decide(&batch, |_| recorded), expected, "{recorded:?}");
        }
    }

    #[test]
    fn a_batch_that_is_half_taken_is_never_written() {
        let batch = [step("a", 4, 9), step("b", 0, 2)];
        let recorded = |app_id: &str| if app_id == "a" { Some(9) } else { Some(0) };
        assert_eq!(decide(&batch, recorded), Decision::Overlap);
    }
}
