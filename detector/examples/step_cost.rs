//! What a step of the detector costs as history grows: all rules and baselines over 10,000 new events, after a history of
//! some million events.
//!
//! `cargo run --release -p detector --example step_cost MILLIONS...` prints the median of five steps for each, and the
//! ratio of the last to the first. The history has 12,000 events a day, so that one million fills every look-back, and more of it is longer, not denser. It is
//! synthetic, and has only the columns that rules read.

use std::time::Instant;

use detector::inventory::Inventory;
use detector::rule;
use detector::run::Detector;
use lake::alerts::{self, RuleStep};
use lake::events::{self, EventBatch, Origin};
use lake::{Lake, follow, maintain};
use schemas::Row;
use schemas::cell::Member;

type Failure = Box<dyn std::error::Error>;

const DAY_US: i64 = 86_400_000_000;
const EVENTS_A_DAY: i64 = 12_000;
const BATCH: i64 = 100_000;
const STEP: i64 = 10_000;
const STEPS: usize = 5;
/// The end of all histories: 2026-11-01.
const END_US: i64 = 1_793_491_200_000_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut medians = Vec::new();
    for millions in std::env::args().skip(1) {
        let count = millions.parse::<i64>()? * 1_000_000;
        let folder = std::env::temp_dir().join(format!("vialog-step-cost-{}-{millions}", std::process::id()));
        let median = measured(&folder.join("lake").to_string_lossy(), count).await;
        std::fs::remove_dir_all(&folder)?;
        let median = median?;
        println!("{millions} million events of history: median step {median} ms");
        medians.push(median);
    }
    if let [first, .., last] = medians[..] {
        println!("ratio {:.2}", last as f64 / first as f64);
    }
    Ok(())
}

async fn measured(uri: &str, count: i64) -> Result<u128, Failure> {
    let lake = Lake::open_or_create(uri, "development")?;
    let (rules, inventory) = (rule::pack()?, Inventory::default());
    let step_us = DAY_US / EVENTS_A_DAY;
    let start_us = END_US - count * step_us;
    for first in (0..count).step_by(usize::try_from(BATCH)?) {
        commit(&lake, first, BATCH.min(count - first), start_us, step_us)?;
        if first % 1_000_000 == 0 {
            println!("{} of {} million events made", first / 1_000_000, count / 1_000_000);
            // Baselines only: without rules nothing is judged.
            Detector::new(&lake, &[], &inventory).run(END_US, END_US).await?;
            maintain::step(&lake, END_US / 1000).await?;
        }
    }
    Detector::new(&lake, &[], &inventory).run(END_US, END_US).await?;
    maintain::run(&lake, END_US / 1000, &|_| {}).await?;
    follow::advance(&lake, END_US / 1000).await?;
    println!("the history is made; from here on it is timed");
    let version = events::open(&lake)?.refresh()?;
    let table = alerts::open(&lake)?;
    for rule in &rules {
        let seen = RuleStep { seen: version.unwrap_or(0), settled: version, alerts: &[] };
        alerts::append(&table, &alerts::cursor(&table, &rule.name), &seen, END_US / 1000)?;
    }
    let mut times = Vec::new();
    for step in 0..STEPS {
        commit(&lake, count + i64::try_from(step)? * STEP, STEP, start_us, step_us)?;
        let now_us = END_US + (i64::try_from(step)? + 1) * STEP * step_us;
        let clock = Instant::now();
        let report = Detector::new(&lake, &rules, &inventory).run(now_us, now_us).await?;
        times.push(clock.elapsed().as_millis());
        if step == 0 {
            println!("  learning {} ms", report.learning_ms);
            report.rules.iter().for_each(|run| println!("  {} {} ms", run.rule, run.took_ms));
        }
        if let Some((rule, why)) = report.failed().next() {
            return Err(format!("{rule} failed: {why}").into());
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn commit(lake: &Lake, first: i64, count: i64, start_us: i64, step_us: i64) -> Result<(), Failure> {
    let origin = Origin { stream: "file:bench".into(), incarnation: "1".into(), partition: 0 };
    let mut batch = EventBatch::new(lake, END_US / 1000);
    for n in first..first + count {
        batch.push(&origin, n - 1, n, vec![Box::new(call(n, start_us + n * step_us))])?;
    }
    batch.seal(END_US / 1000)?.commit(&events::open(lake)?)?;
    Ok(())
}

/// One of 1,000 people calls one of 40 tools through one of 200 agents.
fn call(n: i64, at_us: i64) -> Row {
    let mixed = n.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    Row {
        row_kind: Some("event".into()),
        ingest_date: Some(20_758),
        ingest_time: Some(END_US),
        event_id: Some(format!("bench:{n}")),
        tenant: Some("default".into()),
        stream: Some("file:bench".into()),
        incarnation: Some("1".into()),
        partition: Some(0),
        offset: Some(n),
        record_index: Some(0),
        raw_sha256: Some(n.to_be_bytes().to_vec()),
        event_time: Some(at_us),
        event_date: i32::try_from(at_us / DAY_US).ok(),
        category: Some("tool_call".into()),
        activity: Some("call".into()),
        tool_name: Some(format!("tool-{}", mixed % 40)),
        delegator_id: Some(format!("user-{}", mixed % 1_000)),
        agent_id: Some(format!("agent-{}", mixed % 200)),
        job_id: Some(format!("job-{}", mixed % 7)),
        outcome: Some("success".into()),
        decision: Some("allow".into()),
        dest_entities: Some(vec![vec![Member::Text("address".into()), Member::Text(format!("team-{}@example.com", mixed % 20))]]),
        result_rows: i64::try_from(mixed % 50).ok(),
        result_bytes: i64::try_from(mixed % 9_000).ok(),
        ..Row::default()
    }
}
