//! A worker killed at random moments while producing goes on; two workers in one group, so each kill is also
//! a rebalance. At the end every produced id is there exactly once and every offset is accounted for.

use std::time::Duration;

use ingest::embedded::EmbeddedBroker;
use ingest::produce::Outgoing;

use crate::calls::{self, COMMITTED, Producing, tool_call};
use crate::checker::{Expected, check};
use crate::commit_faults::Scene;
use crate::running::Running;
use crate::support::{number, summary, write_config};

const TOPIC: &str = "toolhive.audit";
const PARTITIONS: i32 = 3;
const KILLS: u64 = 26;

/// Short, so that the death of a worker is noticed within the test.
pub(crate) const GROUP_TIMES: &[(&str, &str)] = &[("session.timeout.ms", "1500"), ("heartbeat.interval.ms", "300")];

/// The embedded broker waits 3 s for more members before it answers the first one, and forgets a member that was silent
/// for its session meanwhile, without an answer: so a session must be longer than that.
pub(crate) const EMBEDDED_GROUP_TIMES: &[(&str, &str)] = &[("session.timeout.ms", "3500"), ("heartbeat.interval.ms", "300")];

/// A random number from the operating system, so that every run kills at other moments.
pub(crate) fn random_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % limit
}

/// Kills workers while `brokers` is being written to, then drains, and checks.
pub(crate) fn kill_and_check(brokers: &str, kills: u64, group_times: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), brokers, &[(TOPIC, "toolhive")], group_times);
    let producing = Producing::start(brokers, TOPIC, PARTITIONS, 0);
    let mut workers = [Running::worker(&config), Running::worker(&config)];
    std::thread::sleep(Duration::from_secs(6));
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(600 + random_below(1_800)));
        let victim = &mut workers[usize::try_from(kill % 2).unwrap()];
        victim.kill();
        *victim = Running::worker(&config);
    }
    let produced = producing.end();
    workers.iter_mut().for_each(Running::kill);
    let lake = folder.path().join("lake");
    let before = number(&lake, COMMITTED);
    let rest = summary(&["ingest", "--config", config.to_str().unwrap(), "--once", "--format", "json"]);
    eprintln!("{kills} kills, {produced} produced, {before} committed under fire, {} drained after", rest["records"]);
    assert!(before > 0, "the workers never committed anything while they were being killed");
    check(&lake, &Expected::calls(TOPIC, produced));
}

/// Its time is that of its Kafka record, which is another one when it is sent again.
#[test]
fn a_copy_of_an_event_without_a_time_of_its_own_is_found_when_it_comes_within_days() {
    let scene = Scene::new();
    let call =
        tool_call(1).replace(r#""time":"2026-11-23T02:40:47.457Z","#, "").replace(r#","logged_at":"2026-11-23T02:40:47.457755643Z""#, "");
    assert!(!call.contains("2026"), "{call}");
    let producer = calls::producer(&scene.brokers());
    for (sent, day) in (1..).zip([1, 7]) {
        let timestamp_ms = Some(1_780_000_000_000 + day * 86_400_000);
        let record = Outgoing { topic: TOPIC, partition: Some(0), timestamp_ms, payload: Some(call.as_bytes()), ..Outgoing::default() };
        producer.send(&record).unwrap();
        assert_eq!(producer.flush().unwrap(), sent);
        assert_eq!(scene.drain()["records_duplicate"].as_u64(), Some(sent - 1));
    }
    assert_eq!(number(&scene.lake(), "SELECT count(*) FROM events"), 1);
}

#[test]
fn killed_workers_and_rebalances_lose_nothing_and_double_nothing() {
    let broker = EmbeddedBroker::start(&[TOPIC], PARTITIONS).unwrap();
    kill_and_check(&broker.brokers(), KILLS, EMBEDDED_GROUP_TIMES);
}
