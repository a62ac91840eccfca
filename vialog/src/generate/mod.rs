//! Labelled synthetic traffic: people, agents with jobs, and what IdP, PDP and gateway write of their acts.
//!
//! Everything here is made up. Same seed and start, same bytes. Each day gives records of four vendors that
//! belong together (one trace through decision and call), with duplicate and late deliveries, and, once there
//! is history enough, planted incidents with labels. Strengths are jittered on both sides of the thresholds:
//! a label says whether the incident is strong enough that it should be found.

mod cast;
mod incidents;
mod rng;
mod wire;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use detector::labels::Label;

use cast::{AGENTS, Agent, PEOPLE, Person, Rhythm, WORKING_HOURS};
use rng::Rng;

pub(crate) use cast::inventory;

/// Incidents start after this many days of history.
pub(crate) const FIRST_INCIDENT_DAY: u32 = 21;

/// A record as a vendor would send it.
#[derive(Debug, Clone)]
pub(crate) struct Generated {
    /// Adapter that decodes it.
    pub(crate) adapter: &'static str,
    /// When it happened, microseconds.
    pub(crate) at_us: i64,
    /// Key that keeps one agent's records in order.
    pub(crate) key: String,
    /// The value.
    pub(crate) payload: String,
}

/// One day.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Records, by time.
    pub(crate) records: Vec<Generated>,
    /// What was planted: incidents, and near misses, which should not be found.
    pub(crate) labels: Vec<Label>,
}

/// What one call is like.
struct Call<'a> {
    agent: &'a Agent,
    at_us: i64,
    tool: &'a str,
    destination: Option<&'a str>,
    rows: u64,
    authority: Authority,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Authority {
    Allowed,
    NotAsked,
    /// The decision arrives a minute and a half after the call.
    AllowedLate,
    /// Denied, and run all the same.
    Denied,
    /// Denied, and stopped.
    DeniedAndStopped,
}

/// The traffic of one day. `index` counts days from the start of the history.
pub(crate) fn day(seed: u64, start: NaiveDate, index: u32) -> Traffic {
    let date = start.checked_add_days(Days::new(index.into())).unwrap_or(start);
    let mut rng = Rng::new(seed ^ (u64::from(index) << 32) ^ 0x5eed);
    let mut traffic = Traffic::default();
    for agent in AGENTS {
        benign_day(agent, date, index, &mut rng, &mut traffic);
    }
    if index >= FIRST_INCIDENT_DAY {
        incidents::plant(seed, date, index, &mut rng, &mut traffic);
    }
    deliver(&mut traffic, &mut rng);
    traffic
}

fn benign_day(agent: &'static Agent, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    match agent.rhythm {
        Rhythm::RoundTheClock => (0..24).for_each(|hour| session(agent, cast::utc(date, hour, rng), 2, rng, traffic)),
        Rhythm::At(hours) => {
            for hour in hours {
                let late_us = i64::try_from(rng.below(120_000_000)).unwrap_or(0);
                session(agent, cast::utc_at(date, *hour, 5) + late_us, 3, rng, traffic);
            }
        }
        Rhythm::With(person) => working_day(agent, &PEOPLE[person], (date, index), rng, traffic),
    }
}

fn working_day(agent: &'static Agent, person: &Person, (date, index): (NaiveDate, u32), rng: &mut Rng, traffic: &mut Traffic) {
    let off = matches!(date.weekday(), Weekday::Sat | Weekday::Sun) || cast::is_holiday(person, index);
    // Now and then somebody takes a day off.
    if off || rng.below(40) == 0 {
        return;
    }
    wire::login(person, cast::local(person, date, person.start, rng), rng, traffic);
    for hour in person.start..person.start + WORKING_HOURS {
        if hour != person.start + 4 {
            session(agent, cast::local(person, date, hour, rng), 2, rng, traffic);
        }
    }
    incidents::drip(agent, date, index, rng, traffic);
}

fn session(agent: &'static Agent, start_us: i64, calls: u64, rng: &mut Rng, traffic: &mut Traffic) {
    wire::exchange(agent, start_us - 1_000_000, rng, traffic);
    for n in 0..calls {
        let tool = agent.tools[usize::try_from(rng.below(agent.tools.len() as u64)).unwrap_or(0)];
        let some = !agent.destinations.is_empty() && rng.below(3) == 0;
        let destination = some.then(|| agent.destinations[usize::try_from(rng.below(agent.destinations.len() as u64)).unwrap_or(0)]);
        let rows = agent.rows / 2 + rng.below(agent.rows);
        let at_us = start_us + i64::try_from(n * 20_000_000 + rng.below(10_000_000)).unwrap_or(0);
        call(&Call { agent, at_us, tool, destination, rows, authority: Authority::Allowed }, rng, traffic);
    }
}

fn call(call: &Call<'_>, rng: &mut Rng, traffic: &mut Traffic) {
    let trace = format!("{:016x}{:016x}", rng.next(), rng.next() | 1);
    if call.authority != Authority::NotAsked {
        wire::decision(call, &trace, rng, traffic);
    }
    wire::tool_call(call, &trace, rng, traffic);
}

/// One record in a hundred comes twice, one in fifty up to a minute late.
fn deliver(traffic: &mut Traffic, rng: &mut Rng) {
    let mut arrivals: Vec<(i64, Generated)> = Vec::with_capacity(traffic.records.len());
    for record in std::mem::take(&mut traffic.records) {
        let late = if rng.below(50) == 0 { i64::try_from(rng.below(60_000_000)).unwrap_or(0) } else { 0 };
        if rng.below(100) == 0 {
            arrivals.push((record.at_us + late + 1_000_000, record.clone()));
        }
        arrivals.push((record.at_us + late, record));
    }
    arrivals.sort_by(|a, b| (a.0, &a.1.payload).cmp(&(b.0, &b.1.payload)));
    traffic.records = arrivals.into_iter().map(|(_, record)| record).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
        let start = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap();
        let bytes = |seed| day(seed, start, 25).records.into_iter().map(|r| r.payload).collect::<Vec<_>>();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        assert!(bytes(1).len() > 100);
    }
}
