//! What is planted: incidents of every kind that a rule exists for, and near misses that look like them.
//!
//! Two a working day. Strengths are jittered on both sides of the thresholds; the label says on which side.

use chrono::{DateTime, Datelike, NaiveDate, Weekday};
use detector::labels::Label;

use super::cast::{AGENTS, Agent, PEOPLE, Person, Rhythm, WORKING_HOURS, day_of, is_holiday, local, utc_at};
use super::rng::Rng;
use super::{Authority, Call, Traffic, call};

const KINDS: u64 = 7;
const INCIDENTS_A_DAY: u64 = 2;
/// Days of the drip, and of the weaker one.
const DRIP: std::ops::Range<u32> = 19..30;
/// How many days from its last an alert is still about the drip.
const DRIP_DAYS: u32 = 7;
/// The agent whose volume creeps up, and the one whose volume only grows a little: nothing else is planted on them.
const DRIP_AGENT: usize = 5;
const SLIGHT_DRIP_AGENT: usize = 4;
const RESERVED: u64 = 2;

const STRANGE_TOOLS: &[&str] = &[
    "delete_everything",
    "export_all",
    "grant_admin",
    "dump_table",
    "read_secrets",
    "drop_index",
    "share_folder",
    "rotate_keys",
    "run_shell",
    "disable_audit",
];

struct Scene<'a> {
    agent: &'static Agent,
    person: &'static Person,
    date: NaiveDate,
    rng: &'a mut Rng,
    traffic: &'a mut Traffic,
}

/// Plants what is due on a day.
pub(super) fn plant(seed: u64, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    if index == DRIP.end - 1 {
        for (agent, expected) in [(DRIP_AGENT, true), (SLIGHT_DRIP_AGENT, false)] {
            let label = Label::of_day("slow-drip", format!("agent:{}", AGENTS[agent].id), date, expected);
            traffic.labels.push(Label { within_days: DRIP_DAYS, ..label });
        }
    }
    for person in PEOPLE.iter().filter(|p| is_holiday(p, index)) {
        on_a_holiday(person, date, rng, traffic);
    }
    if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
        return;
    }
    let candidates = PEOPLE.len() as u64 - RESERVED;
    let first = rng.below(candidates);
    for n in 0..INCIDENTS_A_DAY {
        let turn = (seed + u64::from(index) * INCIDENTS_A_DAY + n) % KINDS;
        let agent = &AGENTS[usize::try_from((first + n) % candidates).unwrap_or(0)];
        let Some(person) = agent.person().filter(|p| !is_holiday(p, index)) else { continue };
        let mut scene = Scene { agent, person, date, rng, traffic };
        match turn {
            0 => scene.late(),
            1 => scene.large_take(),
            2 => scene.strange_tool(),
            3 => scene.strange_destination(),
            4 => scene.without_decision(),
            5 => scene.against_deny(),
            _ => scene.off_schedule(),
        }
    }
}

/// What the creeping agents take on top of their usual calls.
pub(super) fn drip(agent: &Agent, date: NaiveDate, index: u32, rng: &mut Rng, traffic: &mut Traffic) {
    let Some(person) = agent.person().filter(|_| DRIP.contains(&index)) else { return };
    let (calls, rows) = if agent.id == AGENTS[DRIP_AGENT].id {
        // Ends below the floor of a bulk export: a little more every day is what makes it a drip.
        (4, agent.rows * u64::from(4 + index - DRIP.start) / 2)
    } else if agent.id == AGENTS[SLIGHT_DRIP_AGENT].id {
        (1, agent.rows * 3)
    } else {
        return;
    };
    for n in 0..calls {
        let at_us = local(person, date, person.start + 1 + n, rng);
        call(&Call { agent, at_us, tool: agent.tools[0], destination: None, rows, authority: Authority::Allowed }, rng, traffic);
    }
}

/// On a holiday nobody works; one in two is disturbed by an agent that acts in a person's name all the same.
fn on_a_holiday(person: &'static Person, date: NaiveDate, rng: &mut Rng, traffic: &mut Traffic) {
    let Some(agent) = AGENTS.iter().find(|a| a.person().is_some_and(|p| p.id == person.id)) else { return };
    if rng.below(2) == 0 || matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
        return;
    }
    let mut scene = Scene { agent, person, date, rng, traffic };
    let usual = scene.usual();
    scene.act(&usual);
    scene.label("off-hours", format!("user:{}", person.id), usual.at_us, true);
}

impl Scene<'_> {
    /// A call like any other, in the middle of the person's day.
    fn usual(&mut self) -> Call<'static> {
        let at_us = local(self.person, self.date, self.person.start + 3, self.rng);
        let tool = self.agent.tools[0];
        Call { agent: self.agent, at_us, tool, destination: None, rows: self.agent.rows, authority: Authority::Allowed }
    }

    fn act(&mut self, what: &Call<'_>) {
        call(what, self.rng, self.traffic);
    }

    fn label(&mut self, kind: &'static str, entity: String, at_us: i64, expected: bool) {
        let label = Label::of_day(kind, entity, day_of(at_us), expected);
        self.traffic.labels.push(Label { start: DateTime::from_timestamp_micros(at_us), ..label });
    }

    fn chance(&mut self, of: u64) -> bool {
        self.rng.below(of) == 0
    }

    fn day_number(&self) -> usize {
        usize::try_from(self.date.num_days_from_ce()).unwrap_or(0)
    }

    fn agent_entity(&self) -> String {
        format!("agent:{}", self.agent.id)
    }

    fn job_entity(&self) -> String {
        format!("job:{}/{}", self.agent.id, self.agent.job)
    }

    /// Six to nine hours after the end of the day; or, a near miss, within the hour after it.
    fn late(&mut self) {
        let near_miss = self.chance(3);
        let late = if near_miss { 0 } else { 6 + u32::try_from(self.rng.below(4)).unwrap_or(0) };
        let usual = self.usual();
        let at_us = local(self.person, self.date, self.person.start + WORKING_HOURS + late, self.rng);
        self.act(&Call { at_us, ..usual });
        self.label("off-hours", format!("user:{}", self.person.id), at_us, !near_miss);
    }

    /// More than the floor of a thousand rows; or, a near miss, several times the usual but below it.
    fn large_take(&mut self) {
        let near_miss = self.chance(3);
        let rows = if near_miss { 300 + self.rng.below(350) } else { 1_100 + self.rng.below(8_000) };
        let usual = self.usual();
        self.act(&Call { rows, ..usual });
        let entity = self.agent_entity();
        self.label("bulk-export", entity, usual.at_us, !near_miss);
    }

    /// A tool that nobody uses; or, a near miss, one that another job uses.
    fn strange_tool(&mut self) {
        let near_miss = self.chance(3);
        let other = AGENTS.iter().find(|a| a.id != self.agent.id).map_or("search", |a| a.tools[0]);
        // Another one each day: what a job did once is not new the second time.
        let strange = STRANGE_TOOLS[self.day_number() % STRANGE_TOOLS.len()];
        let usual = self.usual();
        self.act(&Call { tool: if near_miss { other } else { strange }, ..usual });
        let entity = self.job_entity();
        self.label("new-tool", entity, usual.at_us, !near_miss);
    }

    /// An address that nobody wrote to; or, a near miss, one that another job writes to.
    fn strange_destination(&mut self) {
        let near_miss = self.chance(3);
        let other =
            AGENTS.iter().find(|a| a.id != self.agent.id && !a.destinations.is_empty()).map_or("team@example.com", |a| a.destinations[0]);
        let strange = match self.rng.below(3) {
            0 => format!("drop{}@attacker.example", self.day_number()),
            1 => format!("https://paste.attacker.example/{}", self.day_number()),
            _ => format!("backup{}@mirror.example", self.day_number()),
        };
        let usual = self.usual();
        self.act(&Call { tool: self.agent.tools[1], destination: Some(if near_miss { other } else { &strange }), ..usual });
        let entity = self.job_entity();
        self.label("new-destination", entity, usual.at_us, !near_miss);
    }

    /// A call that no decision point was asked about; or, a near miss, one whose decision arrives 90 s late.
    fn without_decision(&mut self) {
        let near_miss = self.chance(3);
        let usual = self.usual();
        self.act(&Call { authority: if near_miss { Authority::AllowedLate } else { Authority::NotAsked }, ..usual });
        let entity = self.agent_entity();
        self.label("call-without-decision", entity, usual.at_us, !near_miss);
    }

    /// A call that ran against a deny; or, a near miss, one that the gateway rightly stopped.
    fn against_deny(&mut self) {
        let near_miss = self.chance(3);
        let usual = self.usual();
        self.act(&Call { authority: if near_miss { Authority::DeniedAndStopped } else { Authority::Denied }, ..usual });
        let entity = self.agent_entity();
        self.label("call-against-deny", entity, usual.at_us, !near_miss);
    }

    /// A scheduled agent runs in the middle of the morning; or, a near miss, three minutes late.
    fn off_schedule(&mut self) {
        let near_miss = self.chance(3);
        let Some((agent, hour)) = AGENTS.iter().find_map(|a| match a.rhythm {
            Rhythm::At(hours) => Some((a, hours[0])),
            _ => None,
        }) else {
            return;
        };
        let at_us = if near_miss { utc_at(self.date, hour, 8) } else { utc_at(self.date, 8, 41) };
        self.act(&Call { agent, at_us, tool: agent.tools[0], destination: None, rows: agent.rows, authority: Authority::Allowed });
        self.label("off-hours", format!("agent:{}", agent.id), at_us, !near_miss);
    }
}
