//! What a commit costs as commits grow: 10,000 commits of one small batch each through a long-lived handle.
//!
//! `cargo run --release -p lake --example commit_cost` prints the medians on the way and their ratios, twice: where nothing is
//! merged, so that there are as many files as commits; and where maintenance runs every hundred commits, as a worker
//! does beside its work (it is not in the times).

use std::time::Instant;

use lake::Lake;
use lake::events::{self, EventBatch, Origin};
use schemas::Row;
use tokio::runtime::Runtime;

const COMMITS: i64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (index, is_maintained) in [false, true].into_iter().enumerate() {
        let folder = std::env::temp_dir().join(format!("vialog-commit-cost-{}-{index}", std::process::id()));
        let lake = Lake::open_or_create(folder.join("lake").to_string_lossy(), "development")?;
        println!("{}", if is_maintained { "maintained every hundred commits" } else { "without maintenance" });
        print_ratios(&commit_times_us(&lake, &runtime, is_maintained)?)?;
        let start = Instant::now();
        events::open(&Lake::open(folder.join("lake").to_string_lossy())?)?;
        println!("  opening the table after {COMMITS} commits: {} ms", start.elapsed().as_millis());
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// How long each commit took.
fn commit_times_us(lake: &Lake, runtime: &Runtime, is_maintained: bool) -> Result<Vec<u128>, Box<dyn std::error::Error>> {
    let table = events::open(lake)?;
    let origin = Origin { stream: "bench".into(), incarnation: "1".into(), partition: 0 };
    let mut times_us = Vec::new();
    for offset in 0..COMMITS {
        let mut batch = EventBatch::new(lake, offset);
        let row = Row {
            row_kind: Some("event".into()),
            ingest_date: Some(20_000),
            event_time: Some(offset),
            event_id: Some(format!("bench:{offset}")),
            tenant: Some("default".into()),
            ..Row::default()
        };
        batch.push(&origin, offset - 1, offset, vec![Box::new(row)])?;
        let start = Instant::now();
        batch.seal(offset)?.commit(&table)?;
        times_us.push(start.elapsed().as_micros());
        if is_maintained && offset % 100 == 99 {
            runtime.block_on(async {
                lake::follow::advance(lake, offset).await?;
                lake::maintain::step(lake, offset).await
            })?;
        }
    }
    Ok(times_us)
}

fn print_ratios(times_us: &[u128]) -> Result<(), Box<dyn std::error::Error>> {
    let median = |part: &[u128]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let first = median(&times_us[50..150]);
    println!("  median commit at 100 commits and files: {first} us");
    for at in [2_000, usize::try_from(COMMITS)?] {
        let now = median(&times_us[at - 100..at]);
        println!("  at {at}: {now} us, ratio {:.2}", f64::from(u32::try_from(now)?) / f64::from(u32::try_from(first)?));
    }
    Ok(())
}
