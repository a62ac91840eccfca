//! Faults of processes on a real Apache Kafka: brokers that go away, workers that are killed, frozen and restarted, two
//! owners of a partition. After each the checker confirms the law: each id once, each offset accounted for.
//!
//! The long ones (`..._for_a_minute`) run with VIALOG_TEST_LONG=1, which is in docs/benchmarks.md.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use crate::calls::{self, COMMITTED};
use crate::checker::{Expected, check};
use crate::commit_faults::{POINTS, at_once};
use crate::exactly_once::random_below;
use crate::real_kafka_scene::{Scene, brokers};
use crate::running::Running;
use crate::support::{number, repository, skip, wait_for, wait_for_log, wait_for_slow_commit};

#[test]
fn a_broker_killed_in_mid_batch_and_started_again_loses_nothing() {
    broker_away("a_broker_killed_in_mid_batch_and_started_again_loses_nothing", Duration::from_secs(3));
}

#[test]
fn a_broker_that_is_gone_for_a_minute_loses_nothing() {
    if std::env::var("VIALOG_TEST_LONG").is_err() {
        return skip("a_broker_that_is_gone_for_a_minute_loses_nothing", "takes over a minute; VIALOG_TEST_LONG=1 runs it");
    }
    broker_away("a_broker_that_is_gone_for_a_minute_loses_nothing", Duration::from_secs(60));
}

/// The broker while it is not there; it comes back however the test ends, for the tests after it need it.
struct StoppedBroker;

impl StoppedBroker {
    fn stop() -> Self {
        let stopped = Self;
        assert!(Self::script("stop"));
        stopped
    }

    fn script(step: &str) -> bool {
        Command::new(repository().join("tests/peers/kafka.sh")).arg(step).status().unwrap().success()
    }
}

impl Drop for StoppedBroker {
    fn drop(&mut self) {
        let came_back = Self::script("start");
        assert!(came_back || std::thread::panicking(), "the broker did not come back");
    }
}

fn broker_away(test: &str, how_long: Duration) {
    let Some(scene) = Scene::new(test, 3) else { return };
    let mut worker = Running::worker(&scene.config);
    let producing = scene.producing();
    wait_for(&scene.lake(), COMMITTED, 300);
    let stopped = StoppedBroker::stop();
    std::thread::sleep(how_long);
    let before = number(&scene.lake(), COMMITTED);
    drop(stopped);
    // The same worker goes on by itself.
    wait_for(&scene.lake(), COMMITTED, before + 500);
    let produced = producing.end();
    wait_for(&scene.lake(), COMMITTED, i64::try_from(produced).unwrap());
    assert!(worker.is_there(), "the worker gave up");
    worker.ends_well();
    eprintln!("{test}: {before} committed when the broker came back, {produced} produced");
    check(&scene.lake(), &Expected::calls(&scene.topic, produced));
}

/// One partition has a backlog, of which the client holds a part; the other one reaches its end again and again. Then nothing
/// comes for a while, for the broker is away.
#[test]
fn a_run_to_the_end_does_not_take_a_broker_that_is_away_for_the_end() {
    const BACKLOG: u64 = 100_000;
    let Some(scene) = Scene::new("a_run_to_the_end_does_not_take_a_broker_that_is_away_for_the_end", 2) else { return };
    let producer = calls::producer(&scene.brokers);
    let send = |partition: i32, id: u64| calls::send_to(&producer, &scene.topic, partition, id);
    (0..BACKLOG).for_each(|id| send(1, id));
    send(0, BACKLOG);
    assert_eq!(producer.flush().unwrap(), BACKLOG + 1);
    let mut worker = Running::worker_with(&scene.config, &["--once"]);
    wait_for(&scene.lake(), COMMITTED, 1);
    for id in BACKLOG + 1..BACKLOG + 11 {
        send(0, id);
        assert_eq!(producer.flush().unwrap(), id + 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    let stopped = StoppedBroker::stop();
    assert!(worker.is_there(), "there is a backlog yet");
    std::thread::sleep(Duration::from_secs(8));
    drop(stopped);
    assert!(worker.ended().success());
    let of = |partition: i32| number(&scene.lake(), &format!("SELECT count(*) FROM events WHERE \"partition\" = {partition}"));
    assert_eq!((of(1), of(0) > 0), (100_000, true), "what was there at the start is read");
}

#[test]
fn on_real_kafka_a_worker_killed_at_any_point_of_the_commit_loses_nothing_and_doubles_nothing() {
    let test = "on_real_kafka_a_worker_killed_at_any_point_of_the_commit_loses_nothing_and_doubles_nothing";
    if brokers(test).is_none() {
        return;
    }
    at_once(POINTS, |point| {
        let scene = Scene::new(test, 2).unwrap();
        scene.produce(0..200);
        let status = Running::worker_with(&scene.config, &["--once", "--fault", point]).ended();
        assert_eq!(status.signal(), Some(9), "{point}");
        scene.produce(200..250);
        assert_eq!(scene.once().0, Some(0), "{point}");
        check(&scene.lake(), &Expected::calls(&scene.topic, 250));
    });
}

/// The first one freezes in mid-flush for longer than its session; the second one gets its partition, reads the same
/// records and commits them; then the first one's commit comes.
#[test]
fn of_two_owners_of_a_partition_the_late_one_is_refused() {
    let Some(scene) = Scene::new("of_two_owners_of_a_partition_the_late_one_is_refused", 1) else { return };
    scene.produce(0..100);
    let late = Running::worker_with(&scene.config, &["--fault", "slow-commit:2"]);
    wait_for_slow_commit(&scene.lake(), 1);
    late.signal("STOP");
    // What the other one commits reaches further than what the late one holds.
    scene.produce(100..150);
    let other = Running::worker(&scene.config);
    wait_for(&scene.lake(), "SELECT count(*) FROM events", 150);
    late.signal("CONT");
    wait_for_log(&scene.config, "another owner took some of this batch");
    scene.produce(150..200);
    wait_for(&scene.lake(), "SELECT count(*) FROM events", 200);
    [late, other].into_iter().for_each(Running::ends_well);
    check(&scene.lake(), &Expected::calls(&scene.topic, 200));
}

/// Four workers of one group that come, go politely in mid-flush, and freeze past their session, at random.
#[test]
fn a_storm_of_rebalances_and_two_owners_of_a_partition_lose_and_double_nothing() {
    let Some(scene) = Scene::new("a_storm_of_rebalances_and_two_owners_of_a_partition_lose_and_double_nothing", 6) else { return };
    let producing = scene.producing();
    let mut workers: Vec<Running> = (0..4).map(|_| Running::worker(&scene.config)).collect();
    std::thread::sleep(Duration::from_secs(5));
    for round in 0..14 {
        if random_below(2) == 0 {
            workers.remove(0).ends_well();
            workers.push(Running::worker(&scene.config));
        } else {
            let victim = &workers[round % 4];
            // Longer than the session: its partitions get another owner, and it comes back with a batch in hand.
            victim.signal("STOP");
            std::thread::sleep(Duration::from_millis(2_500));
            victim.signal("CONT");
        }
        std::thread::sleep(Duration::from_millis(300 + random_below(900)));
    }
    let produced = producing.end();
    workers.into_iter().for_each(Running::ends_well);
    let before = number(&scene.lake(), COMMITTED);
    let (code, rest) = scene.once();
    eprintln!("storm: {produced} produced, {before} committed in it, {} drained after", rest["records"]);
    assert_eq!((code, before > 0), (Some(0), true));
    check(&scene.lake(), &Expected::calls(&scene.topic, produced));
}
