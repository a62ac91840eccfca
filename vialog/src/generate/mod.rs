//! Labelled synthetic traffic: people, agents with jobs, and what IdP, PDP and gateway write of their acts.
//!
//! Everything here is made up. Same seed and start, same bytes. Each day gives records of four vendors that
//! belong together (one trace through decision and call), with duplicate and late deliveries, and, once there
//! is history enough, planted incidents with labels. Strengths are jittered on both sides of the thresholds:
//! a label says whether the incident is strong enough that it should be found.

mod rng;
mod wire;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use serde::Serialize;

use rng::Rng;

/// Incidents start after this many days of history.
pub(crate) const FIRST_INCIDENT_DAY: u32 = 21;
/// Days of the drip.
const DRIP: std::ops::Range<u32> = 19..30;

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

/// What was planted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Label {
    /// Kind of incident.
    pub(crate) kind: &'static str,
    /// Entity that an alert would name.
    pub(crate) entity: String,
    /// UTC day.
    pub(crate) day: NaiveDate,
    /// Whether it is strong enough that it should be found.
    pub(crate) expected: bool,
}

/// One day.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Records, by time.
    pub(crate) records: Vec<Generated>,
    /// What was planted.
    pub(crate) labels: Vec<Label>,
}

struct Person {
    id: &'static str,
    name: &'static str,
    /// Hours that the person's clock is ahead of UTC.
    zone: i64,
    start: i64,
}

struct Agent {
    id: &'static str,
    job: &'static str,
    person: Option<usize>,
    tools: &'static [&'static str],
    destinations: &'static [&'static str],
    rows: u64,
}

const PEOPLE: &[Person] = &[
    Person { id: "u-ann", name: "Ann Example", zone: 1, start: 8 },
    Person { id: "u-bo", name: "Bo Sample", zone: -5, start: 9 },
    Person { id: "u-cy", name: "Cy Testcase", zone: 9, start: 8 },
    Person { id: "u-di", name: "Di Specimen", zone: 0, start: 7 },
    Person { id: "u-ed", name: "Ed Fictional", zone: -8, start: 9 },
    Person { id: "u-fi", name: "Fi Invented", zone: 2, start: 8 },
];

const AGENTS: &[Agent] = &[
    Agent {
        id: "billing-agent",
        job: "invoices",
        person: Some(0),
        tools: &["search_invoices", "get_invoice"],
        destinations: &["finance@example.com"],
        rows: 12,
    },
    Agent {
        id: "mail-agent",
        job: "weekly-report",
        person: Some(1),
        tools: &["read_mail", "send_mail"],
        destinations: &["team@example.com", "boss@example.com"],
        rows: 6,
    },
    Agent { id: "records-agent", job: "chart-review", person: Some(2), tools: &["find_patient", "read_chart"], destinations: &[], rows: 8 },
    Agent {
        id: "deploy-agent",
        job: "releases",
        person: Some(3),
        tools: &["list_builds", "deploy"],
        destinations: &["https://ci.example.com/hooks"],
        rows: 4,
    },
    Agent {
        id: "support-agent",
        job: "tickets",
        person: Some(4),
        tools: &["list_tickets", "reply"],
        destinations: &["help@example.com"],
        rows: 15,
    },
    Agent {
        id: "crm-agent",
        job: "leads",
        person: Some(5),
        tools: &["search_leads", "update_lead"],
        destinations: &["crm@example.com"],
        rows: 20,
    },
    Agent {
        id: "night-agent",
        job: "backups",
        person: None,
        tools: &["list_objects", "copy_object"],
        destinations: &["https://vault.example.com/backup"],
        rows: 5,
    },
];

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
    Denied,
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
        plant(seed, date, index, &mut rng, &mut traffic);
    }
    deliver(&mut traffic, &mut rng);
    traffic
}

fn benign_day(agent: &Agent, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
    let Some(person) = agent.person.map(|p| &PEOPLE[p]) else {
        // Round the clock, every hour.
        for hour in 0..24 {
            session(agent, at(date, hour, rng), 2, rng, traffic);
        }
        return;
    };
    // Nobody works at weekends, and now and then somebody has a day off.
    if weekend || rng.below(40) == 0 {
        return;
    }
    wire::login(person, at(date, person.start - person.zone, rng), rng, traffic);
    for hour in person.start..person.start + 9 {
        if hour != person.start + 4 {
            session(agent, at(date, hour - person.zone, rng), 2, rng, traffic);
        }
    }
    if agent.id == DRIP_AGENT && DRIP.contains(&index) {
        drip(agent, person, date, index, rng, traffic);
    }
}

/// The agent whose volume creeps up.
const DRIP_AGENT: &str = "crm-agent";

fn drip(agent: &Agent, person: &Person, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    for n in 0..4 {
        let at_us = at(date, person.start + 1 + n - person.zone, rng);
        // Ends below the floor of a bulk export: a little more every day is what makes it a drip.
        let rows = agent.rows * u64::from(4 + index - DRIP.start) / 2;
        call(&Call { agent, at_us, tool: agent.tools[0], destination: None, rows, authority: Authority::Allowed }, rng, traffic);
    }
}

fn session(agent: &Agent, start_us: i64, calls: u64, rng: &mut Rng, traffic: &mut Traffic) {
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

/// One incident a working day, the kinds in turn; each seed starts with another one.
fn plant(seed: u64, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    if index == DRIP.end - 1 {
        traffic.labels.push(Label { kind: "slow-drip", entity: format!("agent:{DRIP_AGENT}"), day: date, expected: true });
    }
    if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
        return;
    }
    let turn = (seed + u64::from(index)) % 6;
    // Not the drip's agent: its own history is being moved.
    let choice = usize::try_from(rng.below(5)).unwrap_or(0);
    let agent = &AGENTS[choice];
    let Some(person) = agent.person.map(|p| &PEOPLE[p]) else { return };
    let noon = at(date, person.start + 3 - person.zone, rng);
    let usual = Call { agent, at_us: noon, tool: agent.tools[0], destination: None, rows: agent.rows, authority: Authority::Allowed };
    let (job, of_agent) = (format!("job:{}/{}", agent.id, agent.job), format!("agent:{}", agent.id));
    let (kind, entity, expected) = match turn {
        0 => {
            // Six to nine hours after the end of the working day.
            let hour = person.start + 15 + i64::try_from(rng.below(4)).unwrap_or(0) - person.zone;
            call(&Call { at_us: at(date, hour, rng), ..usual }, rng, traffic);
            ("off-hours", format!("user:{}", person.id), true)
        }
        1 => {
            let strong = rng.below(4) > 0;
            let rows = if strong { 1_600 + rng.below(8_000) } else { 300 + rng.below(300) };
            call(&Call { rows, ..usual }, rng, traffic);
            ("bulk-export", of_agent, strong)
        }
        2 => {
            call(&Call { tool: "delete_everything", ..usual }, rng, traffic);
            ("new-tool", job, true)
        }
        3 => {
            call(&Call { tool: agent.tools[1], destination: Some("drop@attacker.example"), ..usual }, rng, traffic);
            ("new-destination", job, true)
        }
        4 => {
            call(&Call { authority: Authority::NotAsked, ..usual }, rng, traffic);
            ("call-without-decision", of_agent, true)
        }
        _ => {
            call(&Call { authority: Authority::Denied, ..usual }, rng, traffic);
            ("call-against-deny", of_agent, true)
        }
    };
    let day = if turn == 0 { utc_day(traffic) } else { date };
    traffic.labels.push(Label { kind, entity, day, expected });
}

/// The UTC day of the newest record: an evening elsewhere may be tomorrow here.
fn utc_day(traffic: &Traffic) -> NaiveDate {
    let newest = traffic.records.iter().rev().take(2).map(|r| r.at_us).max().unwrap_or(0);
    chrono::DateTime::from_timestamp_micros(newest).map_or(NaiveDate::default(), |t| t.date_naive())
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

fn at(date: NaiveDate, hour: i64, rng: &mut Rng) -> i64 {
    let midnight = date.and_hms_opt(0, 0, 0).map_or(0, |t| t.and_utc().timestamp_micros());
    midnight + hour * 3_600_000_000 + i64::try_from(rng.below(3_000_000_000)).unwrap_or(0)
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
