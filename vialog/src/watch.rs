//! `detect` as a service: each rule when it is due, until it is told to stop.
//!
//! Three lanes by how far back rules look ([`Reach`]), so that a rule over months of history never holds back one that needs
//! a single event. Rules of every commit run as soon as one lands, the others at their own pace (`every_seconds`), after
//! baselines have learnt. A lake that cannot be read is tried again; a rule that fails is an alert of its own.
//!
//! Limits: looks for commits every 50 ms, tries again after 5 s, asks once a minute what rules cannot judge. Rules over history rest as
//! long as they worked, so that they never take more than half of a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use detector::DetectorError;
use detector::plans::Plans;
use detector::rule::{Reach, Rule};
use detector::run::{Detector, RunReport};
use lake::events;
use lake::snapshot::session_config;

use crate::detection::{Setup, tell_alert};

/// How often commits are looked for.
const POLL: Duration = Duration::from_millis(50);
/// How long after its last run a rule of every commit runs without one: what it waits for may have settled.
const SETTLED_EVERY: Duration = Duration::from_secs(2);
/// How often rules are asked what they cannot judge.
const COUNTED_EVERY: Duration = Duration::from_mins(1);
/// What came since the last step is worth all cores when its files have more than this, and its plans are not worth keeping.
const MAX_ONE_CORE_BYTES: u64 = 32 << 20;
/// How long after a failure it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Runs until `stop`.
///
/// # Errors
/// When alerts cannot be printed.
pub(crate) async fn watch(setup: Setup, as_json: bool, stop: Arc<AtomicBool>) -> Result<()> {
    let at_every_commit = setup.rules.iter().filter(|rule| rule.every_seconds() == 0).count();
    tracing::info!(at_every_commit, at_their_own_pace = setup.rules.len() - at_every_commit, "watching; stop with Ctrl-C");
    let setup = Arc::new(setup);
    let lanes: Vec<_> = [Reach::NewEvents, Reach::History, Reach::Baselines].map(|reach| Lane::new(&setup, reach, as_json)).into();
    let lanes = lanes.into_iter().map(|lane| {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move { lane.run(&stop).await })
    });
    // Each goes on by itself from here.
    for lane in lanes.collect::<Vec<_>>() {
        lane.await??;
    }
    Ok(())
}

/// A rule of a lane.
struct Known {
    rule: Rule,
    every_seconds: u32,
    /// When it ran last.
    ran: Option<Instant>,
}

/// Rules that run one after the other.
struct Lane {
    setup: Arc<Setup>,
    as_json: bool,
    reach: Reach,
    rules: Vec<Known>,
    /// Plans that it keeps from step to step, where they last.
    plans: Option<Arc<Plans>>,
    /// The newest commit at the last run.
    seen: Option<u64>,
    counted: Option<Instant>,
}

impl Lane {
    fn new(setup: &Arc<Setup>, reach: Reach, as_json: bool) -> Self {
        let of_lane = setup.rules.iter().filter(|rule| rule.reach() == reach);
        let of_lane: Vec<Rule> = of_lane.cloned().collect();
        let plans = (reach == Reach::NewEvents).then(|| Arc::new(Plans::of(&of_lane)));
        let rules = of_lane.into_iter().map(|rule| Known { every_seconds: rule.every_seconds(), rule, ran: None }).collect();
        Self { setup: Arc::clone(setup), as_json, reach, rules, plans, seen: None, counted: None }
    }

    async fn run(mut self, stop: &AtomicBool) -> Result<()> {
        if let Err(error) = self.warm_up().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "not planned yet");
        }
        while !stop.load(Ordering::Relaxed) {
            let clock = Instant::now();
            let pause = match self.step().await {
                Ok(report) => {
                    self.tell(&report)?;
                    if self.reach == Reach::NewEvents { POLL } else { POLL.max(clock.elapsed()) }
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::error!("cannot run rules: {error:#}; tried again in {} s", RETRY_AFTER.as_secs());
                    RETRY_AFTER
                }
            };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Plans ahead what can be kept.
    async fn warm_up(&self) -> Result<(), DetectorError> {
        let Some(plans) = &self.plans else { return Ok(()) };
        let rules: Vec<Rule> = self.rules.iter().map(|known| known.rule.clone()).collect();
        let new = Detector::new(&self.setup.lake, &rules, &self.setup.inventory);
        Detector { config: plans.config(), learns: false, ..new }.warm_up().await
    }

    /// Runs what is due.
    async fn step(&mut self) -> Result<RunReport, DetectorError> {
        let table = events::open(&self.setup.lake)?;
        let newest = table.refresh()?;
        let (now, has_new) = (Instant::now(), newest != self.seen);
        let due = |known: &&mut Known| is_due(known.every_seconds, known.ran.map(|ran| now - ran), has_new);
        let mut due: Vec<&mut Known> = self.rules.iter_mut().filter(due).collect();
        let rules: Vec<Rule> = due.iter().map(|known| known.rule.clone()).collect();
        if rules.is_empty() {
            return Ok(RunReport::default());
        }
        let counts = self.counted.is_none_or(|counted| now - counted >= COUNTED_EVERY);
        let kept = self.plans.as_ref().filter(|_| events::bytes_after(&table, self.seen) <= MAX_ONE_CORE_BYTES);
        let config = kept.map_or_else(session_config, Plans::config);
        let new = Detector::new(&self.setup.lake, &rules, &self.setup.inventory);
        let detector = Detector { learns: self.reach == Reach::Baselines, counts, config, ..new };
        let now_us = chrono::Utc::now().timestamp_micros();
        let report = detector.run(now_us, now_us).await?;
        due.iter_mut().for_each(|known| known.ran = Some(now));
        self.seen = newest;
        if counts {
            self.counted = Some(now);
        }
        Ok(report)
    }

    /// Says what came of a run.
    fn tell(&self, report: &RunReport) -> Result<()> {
        report.alerts.iter().try_for_each(|alert| tell_alert(alert, self.as_json))?;
        for (rule, why) in report.failed() {
            tracing::error!(rule, why, "a rule failed; the others ran");
        }
        for (rule, why) in report.blind() {
            tracing::warn!(rule, why, "a rule cannot see");
        }
        Ok(())
    }
}

/// Whether a rule is to run that ran `since` ago.
fn is_due(every_seconds: u32, since: Option<Duration>, has_new: bool) -> bool {
    let Some(since) = since else { return true };
    match every_seconds {
        0 => has_new || since >= SETTLED_EVERY,
        every => since >= Duration::from_secs(every.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_due_at_a_commit_or_at_its_own_pace() {
        let ago = |ms| Some(Duration::from_millis(ms));
        for (every_seconds, since, has_new, expected) in [
            (0, None, false, true),
            (0, ago(10), true, true),
            (0, ago(10), false, false),
            (0, ago(2_000), false, true),
            (60, None, false, true),
            (60, ago(59_000), true, false),
            (60, ago(60_000), false, true),
        ] {
            assert_eq!(is_due(every_seconds, since, has_new), expected, "{every_seconds} {since:?} {has_new}");
        }
    }
}
