//! Who acts: made-up people in real zones, their agents, and a made-up calendar.

use chrono::{DateTime, Days, NaiveDate, TimeZone};
use chrono_tz::Tz;
use detector::inventory::{Holiday, Identity, Inventory};

use super::rng::Rng;

/// A person who delegates to agents.
pub(super) struct Person {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) zone: Tz,
    pub(super) country: &'static str,
    /// First hour of the working day, by the person's clock; it has nine.
    pub(super) start: u32,
}

/// Hours of a working day, lunch included.
pub(super) const WORKING_HOURS: u32 = 9;

/// When an agent works.
#[derive(Clone, Copy)]
pub(super) enum Rhythm {
    /// With a person: index into [`PEOPLE`].
    With(usize),
    /// Every hour of every day.
    RoundTheClock,
    /// Every day at these hours, five minutes past, UTC.
    At(&'static [u32]),
}

/// An agent with one job.
pub(super) struct Agent {
    pub(super) id: &'static str,
    pub(super) job: &'static str,
    pub(super) rhythm: Rhythm,
    pub(super) tools: &'static [&'static str],
    pub(super) destinations: &'static [&'static str],
    pub(super) rows: u64,
}

impl Agent {
    pub(super) fn person(&self) -> Option<&'static Person> {
        match self.rhythm {
            Rhythm::With(person) => Some(&PEOPLE[person]),
            Rhythm::RoundTheClock | Rhythm::At(_) => None,
        }
    }
}

/// The people.
pub(super) const PEOPLE: &[Person] = &[
    Person { id: "u-ann", name: "Ann Example", zone: chrono_tz::Europe::Berlin, country: "DE", start: 8 },
    Person { id: "u-bo", name: "Bo Sample", zone: chrono_tz::America::New_York, country: "US", start: 9 },
    Person { id: "u-cy", name: "Cy Testcase", zone: chrono_tz::Asia::Tokyo, country: "JP", start: 8 },
    Person { id: "u-di", name: "Di Specimen", zone: chrono_tz::Europe::London, country: "GB", start: 7 },
    Person { id: "u-ed", name: "Ed Fictional", zone: chrono_tz::America::Los_Angeles, country: "US", start: 9 },
    Person { id: "u-fi", name: "Fi Invented", zone: chrono_tz::Asia::Kolkata, country: "IN", start: 8 },
];

/// The agents; the first [`PEOPLE`]`.len()` work with a person.
pub(super) const AGENTS: &[Agent] = &[
    agent("billing-agent", "invoices", Rhythm::With(0), &["search_invoices", "get_invoice"], &["finance@example.com"], 12),
    agent("mail-agent", "weekly-report", Rhythm::With(1), &["read_mail", "send_mail"], &["team@example.com", "boss@example.com"], 6),
    agent("records-agent", "chart-review", Rhythm::With(2), &["find_patient", "read_chart"], &[], 8),
    agent("deploy-agent", "releases", Rhythm::With(3), &["list_builds", "deploy"], &["https://ci.example.com/hooks"], 4),
    agent("support-agent", "tickets", Rhythm::With(4), &["list_tickets", "reply"], &["help@example.com"], 15),
    agent("crm-agent", "leads", Rhythm::With(5), &["search_leads", "update_lead"], &["crm@example.com"], 20),
    agent("night-agent", "backups", Rhythm::RoundTheClock, &["list_objects", "copy_object"], &["https://vault.example.com/backup"], 5),
    agent("report-agent", "nightly-report", Rhythm::At(&[2, 14]), &["read_sales", "write_report"], &[], 9),
];

const fn agent(
    id: &'static str,
    job: &'static str,
    rhythm: Rhythm,
    tools: &'static [&'static str],
    destinations: &'static [&'static str],
    rows: u64,
) -> Agent {
    Agent { id, job, rhythm, tools, destinations, rows }
}

/// Holidays of each country, as days after the start: invented, so that every run of thirty days has some.
const HOLIDAYS: &[(&str, u64)] =
    &[("DE", 9), ("DE", 23), ("US", 11), ("US", 24), ("JP", 15), ("JP", 25), ("GB", 8), ("GB", 28), ("IN", 16), ("IN", 22)];

/// What a company would know of its people, for traffic that starts on a day.
pub(crate) fn inventory(start: NaiveDate) -> Inventory {
    let identity = |p: &Person| Identity {
        identity: format!("user:{}", p.id),
        zone: Some(p.zone.name().to_owned()),
        country: Some(p.country.to_owned()),
        peer_group: None,
        tenant: None,
    };
    let holiday = |(country, after): &(&str, u64)| Holiday { country: (*country).to_owned(), day: start + Days::new(*after) };
    Inventory {
        default_zone: None,
        identities: PEOPLE.iter().map(identity).collect(),
        holidays: HOLIDAYS.iter().map(holiday).collect(),
        ..Inventory::default()
    }
}

/// Whether the person's country has a holiday that many days after the start.
pub(super) fn is_holiday(person: &Person, index: u32) -> bool {
    HOLIDAYS.contains(&(person.country, u64::from(index)))
}

/// A moment of a person's day: the hour by the person's clock (24 and more is the next day), within its first 50 minutes.
pub(super) fn local(person: &Person, date: NaiveDate, hour: u32, rng: &mut Rng) -> i64 {
    let wall = date.and_hms_opt(0, 0, 0).unwrap_or_default() + chrono::Duration::hours(i64::from(hour));
    // An hour that summer time skips is taken an hour later.
    let moment = person.zone.from_local_datetime(&wall).earliest();
    let moment = moment.or_else(|| person.zone.from_local_datetime(&(wall + chrono::Duration::hours(1))).earliest());
    moment.map_or(0, |t| t.timestamp_micros()) + jitter(rng)
}

/// A moment of a UTC day.
pub(super) fn utc(date: NaiveDate, hour: u32, rng: &mut Rng) -> i64 {
    utc_at(date, hour, 0) + jitter(rng)
}

/// A minute of a UTC day.
pub(super) fn utc_at(date: NaiveDate, hour: u32, minute: u32) -> i64 {
    date.and_hms_opt(hour, minute, 0).map_or(0, |t| t.and_utc().timestamp_micros())
}

/// The UTC day of a moment.
pub(super) fn day_of(at_us: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().date_naive()
}

fn jitter(rng: &mut Rng) -> i64 {
    i64::try_from(rng.below(3_000_000_000)).unwrap_or(0)
}
