//! A worker killed at random moments while producing goes on; two workers in one group, so each kill is also
//! a rebalance. At the end every produced id is there exactly once and every offset is accounted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ingest::embedded::EmbeddedBroker;
use ingest::produce::{Outgoing, Producer};

use crate::checker::{Expected, check};
use crate::support::{number, start_worker, summary, write_config};

const TOPIC: &str = "toolhive.audit";
const PARTITIONS: i32 = 3;
const KILLS: u64 = 26;

/// Short, so that the death of a worker is noticed within the test.
pub(crate) const GROUP_TIMES: &[(&str, &str)] = &[("session.timeout.ms", "1500"), ("heartbeat.interval.ms", "300")];

/// The embedded broker waits 3 s for more members before it answers the first one, and forgets a member that was silent
/// for its session meanwhile, without an answer: so a session must be longer than that.
pub(crate) const EMBEDDED_GROUP_TIMES: &[(&str, &str)] = &[("session.timeout.ms", "3500"), ("heartbeat.interval.ms", "300")];

/// A synthetic ToolHive event with this id.
pub(crate) fn tool_call(id: u64) -> String {
    format!(
        r#"{{"time":"2026-11-23T02:40:47.457Z","level":"AUDIT","msg":"audit_event","audit_id":"id-{id}","type":"mcp_tool_call","logged_at":"2026-11-23T02:40:47.457755643Z","outcome":"success","component":"records","subjects":{{"user":"Ann","user_id":"u-1"}},"target":{{"method":"tools/call","name":"search","type":"tool"}}}}"#
    )
}

/// Produces numbered events until told to stop; returns how many the broker took.
fn produce_until(brokers: String, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let producer = Producer::new(&brokers, &std::collections::BTreeMap::new()).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let id = sent.fetch_add(1, Ordering::Relaxed);
            let payload = tool_call(id);
            let record = Outgoing {
                topic: TOPIC,
                partition: Some((id % PARTITIONS as u64) as i32),
                payload: Some(payload.as_bytes()),
                ..Outgoing::default()
            };
            producer.send(&record).unwrap();
            std::thread::sleep(Duration::from_millis(4));
        }
        producer.flush().unwrap()
    })
}

/// A random number from the operating system, so that every run kills at other moments.
pub(crate) fn random_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % limit
}

/// Kills workers while `brokers` is being written to, then drains, and checks.
pub(crate) fn kill_and_check(brokers: &str, kills: u64, group_times: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), brokers, &[(TOPIC, "toolhive")], group_times);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let producing = produce_until(brokers.to_owned(), Arc::clone(&stop), Arc::clone(&sent));
    let mut workers = [start_worker(&config), start_worker(&config)];
    std::thread::sleep(Duration::from_secs(6));
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(600 + random_below(1_800)));
        let victim = &mut workers[usize::try_from(kill % 2).unwrap()];
        victim.kill().unwrap();
        victim.wait().unwrap();
        *victim = start_worker(&config);
    }
    stop.store(true, Ordering::Relaxed);
    let produced = producing.join().unwrap();
    assert_eq!(produced, sent.load(Ordering::Relaxed));
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let lake = folder.path().join("lake");
    let before = number(&lake, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM events_tip)");
    let rest = summary(&["ingest", "--config", config.to_str().unwrap(), "--once", "--format", "json"]);
    eprintln!("{kills} kills, {produced} produced, {before} committed under fire, {} drained after", rest["records"]);
    assert!(before > 0, "the workers never committed anything while they were being killed");
    check(&lake, &Expected::calls(TOPIC, produced));
}

#[test]
fn killed_workers_and_rebalances_lose_nothing_and_double_nothing() {
    let broker = EmbeddedBroker::start(&[TOPIC], PARTITIONS).unwrap();
    kill_and_check(&broker.brokers(), KILLS, EMBEDDED_GROUP_TIMES);
}
