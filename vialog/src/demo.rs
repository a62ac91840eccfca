//! The demo: an embedded broker, labelled synthetic traffic through it, a real worker, the detector, and a report.
//!
//! Thirty back-dated days come first, because a baseline rule without history can only say that it is learning.
//! With `--once` it ends with a report that must add up: what was sent is what was stored, and each planted
//! incident was found or is named. Without it, further days go on, one every few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{Days, NaiveDate, Utc};
use detector::inventory::Inventory;
use detector::labels::Label;
use detector::report::{Facts, Judged};
use detector::rule::Rule;
use detector::run::{Detector, RunReport};
use ingest::Feed;
use ingest::Summary;
use ingest::WorkerConfig;
use ingest::embedded::EmbeddedBroker;
use ingest::flush::FlushPolicy;
use ingest::gap::OnGap;
use ingest::produce::{Outgoing, Producer};
use lake::Lake;
use lake::alerts::Alert;
use schemas::decode::{DEFAULT_TENANT, Source};
use schemas::privacy::Privacy;

use crate::generate;
use crate::{config, report, tell};

/// Days of history.
const HISTORY_DAYS: u32 = 30;
const ADAPTERS: &[&str] = &["okta", "keycloak", "cerbos", "toolhive"];
const PARTITIONS: i32 = 2;
const ENVIRONMENT: &str = "development";
const LIVE_DAY_EVERY: Duration = Duration::from_secs(5);

/// How the demo runs.
#[derive(Debug)]
pub(crate) struct DemoOptions {
    pub(crate) once: bool,
    pub(crate) lake: String,
    pub(crate) seed: u64,
    pub(crate) json: bool,
}

/// What the demo did.
#[derive(Debug, serde::Serialize)]
pub(crate) struct DemoReport {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) incidents_planted: usize,
    pub(crate) incidents_found: usize,
    pub(crate) near_misses_planted: usize,
    pub(crate) false_alerts: usize,
    #[serde(skip)]
    pub(crate) reconciles: bool,
}

/// Runs the demo.
pub(crate) fn run(options: &DemoOptions, stop: &Arc<AtomicBool>) -> Result<DemoReport> {
    let started = Instant::now();
    let topics: Vec<String> = ADAPTERS.iter().map(|a| format!("demo.{a}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let broker = EmbeddedBroker::start(&names, PARTITIONS)?;
    let lake = Lake::open_or_create(options.lake.as_str(), ENVIRONMENT)?;
    if lake::events::open(&lake)?.refresh()?.is_some() {
        bail!("`{}` holds a lake already; name a new folder with --lake, the demo does not mix with other data", options.lake);
    }
    say(options, &format!("embedded broker on {}, lake in {}", broker.brokers(), options.lake))?;
    let worker_stop = Arc::new(AtomicBool::new(false));
    let worker = start_worker(&lake, &broker.brokers(), &worker_stop)?;
    let start = Utc::now().date_naive().checked_sub_days(Days::new(HISTORY_DAYS.into())).context("the clock is before 1970")?;
    let mut demo = Demo {
        options,
        lake,
        producer: Producer::new(&broker.brokers(), &BTreeMap::new())?,
        rules: detector::rule::pack()?,
        inventory: generate::inventory(start),
        sent: 0,
        labels: Vec::new(),
        alerts: Vec::new(),
    };
    say(options, &format!("sending {HISTORY_DAYS} back-dated days of labelled synthetic traffic (seed {})", options.seed))?;
    for index in 0..HISTORY_DAYS {
        demo.send(start, index)?;
    }
    demo.wait_until_stored(stop, &worker)?;
    demo.detect(started)?;
    let mut index = HISTORY_DAYS;
    while !options.once && !stop.load(Ordering::Relaxed) {
        demo.send(start, index)?;
        demo.wait_until_stored(stop, &worker)?;
        demo.detect(started)?;
        index += 1;
        ingest::kafka::sleep_unless(stop, LIVE_DAY_EVERY);
    }
    worker_stop.store(true, Ordering::Relaxed);
    let summary = worker.join().map_err(|_| anyhow::anyhow!("the worker panicked"))??;
    Ok(demo.report(summary))
}

struct Demo<'a> {
    options: &'a DemoOptions,
    lake: Lake,
    producer: Producer,
    rules: Vec<Rule>,
    inventory: Inventory,
    sent: u64,
    labels: Vec<Label>,
    alerts: Vec<Alert>,
}

impl Demo<'_> {
    fn send(&mut self, start: NaiveDate, index: u32) -> Result<()> {
        let traffic = generate::day(self.options.seed, start, index);
        for record in &traffic.records {
            let topic = format!("demo.{}", record.adapter);
            self.producer.send(&Outgoing {
                topic: &topic,
                key: Some(record.key.as_bytes()),
                timestamp_ms: Some(record.at_us / 1000),
                payload: Some(record.payload.as_bytes()),
                ..Outgoing::default()
            })?;
        }
        self.sent += traffic.records.len() as u64;
        self.labels.extend(traffic.labels);
        let delivered = self.producer.flush()?;
        if delivered != self.sent {
            bail!("{} records were sent and the broker took {delivered}", self.sent);
        }
        Ok(())
    }

    /// Until the positions in the table cover everything that was sent.
    fn wait_until_stored(&self, stop: &AtomicBool, worker: &std::thread::JoinHandle<Result<Summary, ingest::IngestError>>) -> Result<()> {
        let bar = indicatif::ProgressBar::new(self.sent)
            .with_style(indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} records stored")?);
        loop {
            let table = lake::events::open(&self.lake)?;
            let stored: i64 = lake::events::positions(&table).values().map(|to| to + 1).sum();
            bar.set_position(stored.unsigned_abs());
            if stored.unsigned_abs() >= self.sent || stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return Ok(());
            }
            if worker.is_finished() {
                bail!("the worker ended before everything was stored; its log says why");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn detect(&mut self, started: Instant) -> Result<()> {
        let now_us = Utc::now().timestamp_micros();
        let runtime = tokio::runtime::Runtime::new()?;
        let report: RunReport = {
            let detector = Detector::new(&self.lake, &self.rules, &self.inventory);
            runtime.block_on(detector.run(i64::MAX / 2, now_us))?
        };
        for alert in &report.alerts {
            say(
                self.options,
                &format!(
                    "{:>6.1}s  {:<8} {}  {}",
                    started.elapsed().as_secs_f64(),
                    alert.severity,
                    schemas::time::print(alert.event_time),
                    alert.reason
                ),
            )?;
        }
        for (rule, why) in report.failed() {
            tracing::error!(rule, why, "a rule failed");
        }
        self.alerts.extend(report.alerts);
        Ok(())
    }

    fn report(self, summary: Summary) -> DemoReport {
        let detects = report::detects(&self.rules);
        let judged =
            Judged::of(Facts { labels: &self.labels, set_aside: &[], alerts: &self.alerts, detects: &detects, identities: 0, days: 0 });
        let (missed, false_alerts) = (judged.missed(), judged.false_alerts());
        if !self.options.json {
            for label in &missed {
                // Said on standard output so that nobody overlooks it.
                let _ = tell::line(&format!("MISSED   {} of {} on {}", label.kind.as_deref().unwrap_or_default(), label.entity, label.day));
            }
            for alert in &false_alerts {
                let _ = tell::line(&format!("FALSE    {} {}", alert.rule_id, alert.reason));
            }
        }
        let classes = summary.records_with_events + summary.records_rejected + summary.records_duplicate + summary.records_empty;
        let incidents_planted = self.labels.iter().filter(|l| l.expected).count();
        DemoReport {
            reconciles: summary.records == self.sent && classes == summary.records,
            summary,
            incidents_planted,
            near_misses_planted: self.labels.len() - incidents_planted,
            incidents_found: incidents_planted - missed.len(),
            false_alerts: false_alerts.len(),
        }
    }
}

fn start_worker(
    lake: &Lake,
    brokers: &str,
    stop: &Arc<AtomicBool>,
) -> Result<std::thread::JoinHandle<Result<Summary, ingest::IngestError>>> {
    let feed = |adapter: &&str| -> Result<Feed> {
        let topic = format!("demo.{adapter}");
        let source = Source {
            adapter: config::adapter(adapter)?,
            tenant: DEFAULT_TENANT.into(),
            instance: (*adapter).into(),
            environment: ENVIRONMENT.into(),
            privacy: Privacy::default(),
        };
        // Every demo starts with an empty broker, so its topics are new ones each time.
        Ok(Feed { topic, incarnation: lake::table::random_id(Utc::now().timestamp_millis()), source })
    };
    let worker = WorkerConfig {
        brokers: brokers.to_owned(),
        group: "demo".into(),
        cluster: "demo".into(),
        properties: BTreeMap::new(),
        feeds: ADAPTERS.iter().map(feed).collect::<Result<_>>()?,
        flush: FlushPolicy { age_ms: 500, ..FlushPolicy::default() },
        on_gap: OnGap::Stop,
        once: false,
    };
    let (lake, stop) = (lake.clone(), Arc::clone(stop));
    Ok(std::thread::Builder::new().name("worker".into()).spawn(move || ingest::kafka::run(&lake, &worker, &stop))?)
}

fn say(options: &DemoOptions, text: &str) -> Result<()> {
    if options.json { Ok(()) } else { tell::line(text) }
}
