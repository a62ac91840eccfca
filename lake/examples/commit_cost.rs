//! What a commit costs as commits grow: 10,000 commits of one small batch each through a long-lived handle.
//!
//! `cargo run --release -p lake --example commit_cost` prints the medians on the way and
//! their ratios. Nothing is merged, so there are as many files as commits.

use std::time::Instant;

use lake::Lake;
use lake::events::{self, EventBatch, Origin};
use schemas::Row;

const COMMITS: i64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("vialog-commit-cost-{}", std::process::id()));
    let lake = Lake::open_or_create(folder.join("lake").to_string_lossy(), "development")?;
    let table = events::open(&lake)?;
    let origin = Origin { stream: "bench".into(), incarnation: "1".into(), partition: 0 };
    let mut times_us = Vec::new();
    for offset in 0..COMMITS {
        let mut batch = EventBatch::new(&lake, offset);
        let row = Row {
            row_kind: Some("event".into()),
            ingest_date: Some(20_000),
            event_time: Some(offset),
            tenant: Some("default".into()),
            ..Row::default()
        };
        batch.push(&origin, offset - 1, offset, vec![Box::new(row)])?;
        let start = Instant::now();
        batch.seal(offset)?.commit(&table)?;
        times_us.push(start.elapsed().as_micros());
    }
    let median = |part: &[u128]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let first = median(&times_us[50..150]);
    println!("median commit at 100 commits and files: {first} us");
    for at in [2_000, usize::try_from(COMMITS)?] {
        let now = median(&times_us[at - 100..at]);
        println!("at {at}: {now} us, ratio {:.2}", f64::from(u32::try_from(now)?) / f64::from(u32::try_from(first)?));
    }
    let start = Instant::now();
    events::open(&lake)?;
    println!("opening the table after {COMMITS} commits: {} ms", start.elapsed().as_millis());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
