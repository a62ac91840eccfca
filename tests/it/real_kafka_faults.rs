//! Faults on a real Apache Kafka: transactions, retention, topics made anew, brokers that go away, workers that are
//! stopped, frozen and restarted. After each the checker confirms the law: each id once, each offset accounted for.
//!
//! The long ones (`..._for_a_minute`) run with VIALOG_TEST_LONG=1, which is in docs/benchmarks.md.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use ingest::produce::{Outgoing, Producer};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::exactly_once::{GROUP_TIMES, check_exactly_once, random_below, tool_call};
use crate::support::{number, query, repository, skip, start_worker, vialog, write_config};

const WAIT: Duration = Duration::from_secs(20);

/// A topic of its own on the real Kafka, with a configuration that reads it.
struct Scene {
    brokers: String,
    topic: String,
    partitions: i32,
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Scene {
    /// `None`, and a visible skip, without a real Kafka.
    fn new(test: &str, partitions: i32) -> Option<Self> {
        let Ok(brokers) = std::env::var("VIALOG_TEST_KAFKA") else {
            skip(test, "no real Kafka (VIALOG_TEST_KAFKA is not set; .ci/run sets it)");
            return None;
        };
        // New in every run, so that a broker may be kept.
        let topic = format!("faults.{test}.{:x}", random_below(u64::MAX));
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &brokers, &[(&topic, "toolhive")], GROUP_TIMES);
        let scene = Self { brokers, topic: topic.clone(), partitions, folder, config };
        scene.edit_config("group = \"test\"", &format!("group = \"{topic}\""));
        scene.create_topic();
        Some(scene)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }

    fn create_topic(&self) {
        let topic = NewTopic::new(&self.topic, self.partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let deadline = Instant::now() + WAIT;
        // A topic of this name that is being deleted refuses for a moment.
        while block_on(self.admin().create_topics([&topic], &options)).unwrap()[0].is_err() {
            assert!(Instant::now() < deadline, "the topic {} could not be created", self.topic);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn delete_topic(&self) {
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        block_on(self.admin().delete_topics(&[&self.topic], &options)).unwrap()[0].as_ref().unwrap();
    }

    /// What retention does: everything before this offset goes.
    fn delete_records_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).unwrap();
        block_on(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    fn producer(&self) -> Producer {
        let properties = [("enable.idempotence", "true"), ("message.timeout.ms", "300000")];
        Producer::new(&self.brokers, &properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into()).unwrap()
    }

    fn produce(&self, ids: std::ops::Range<u64>) {
        let producer = self.producer();
        for id in ids.clone() {
            send(&producer, &self.topic, self.partitions, id);
        }
        assert_eq!(producer.flush().unwrap(), ids.end - ids.start);
    }

    fn edit_config(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// `ingest --once`: exit code and summary.
    fn once(&self) -> (Option<i32>, Value) {
        let output = vialog(&["ingest", "--config", self.config.to_str().unwrap(), "--once", "--format", "json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        let summary = serde_json::from_str(last).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), summary)
    }
}

fn send(producer: &Producer, topic: &str, partitions: i32, id: u64) {
    let payload = tool_call(id);
    let partition = Some(i32::try_from(id % u64::try_from(partitions).unwrap()).unwrap());
    producer.send(&Outgoing { topic, partition, payload: Some(payload.as_bytes()), ..Outgoing::default() }).unwrap();
}

fn verify(lake: &Path) -> Value {
    let output = vialog(&["verify", lake.to_str().unwrap(), "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn signal(worker: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &worker.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn transaction_markers_and_aborted_records_are_offsets_without_a_record() {
    let Some(scene) = Scene::new("transaction_markers_and_aborted_records_are_offsets_without_a_record", 1) else { return };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &scene.brokers).set("transactional.id", "faults");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    let transaction = |ids: std::ops::Range<u64>| {
        producer.begin_transaction().unwrap();
        for id in ids {
            let payload = tool_call(id);
            producer.send(BaseRecord::<(), str>::to(&scene.topic).payload(&payload)).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(WAIT).unwrap();
    };
    transaction(0..10);
    producer.commit_transaction(WAIT).unwrap();
    transaction(100..105);
    producer.abort_transaction(WAIT).unwrap();
    transaction(10..13);
    // Ten records, a marker, five aborted records, a marker; three that are not decided yet.
    let (code, first) = scene.once();
    assert_eq!((code, first["records"].as_u64(), first["offsets_without_record"].as_u64()), (Some(0), Some(10), Some(7)), "{first}");
    producer.commit_transaction(WAIT).unwrap();
    let (code, second) = scene.once();
    assert_eq!((code, second["records"].as_u64(), second["offsets_without_record"].as_u64()), (Some(0), Some(3), Some(1)), "{second}");
    let (code, third) = scene.once();
    assert_eq!((code, third["records"].as_u64(), third["commits"].as_u64()), (Some(0), Some(0), Some(0)), "{third}");
    assert_eq!(number(&scene.lake(), "SELECT count(DISTINCT event_id) FROM events"), 13);
    assert_eq!(verify(&scene.lake())["offsets"], 21);
}

#[test]
fn retention_that_overtakes_a_stopped_worker_is_a_recorded_gap_and_an_alert() {
    let Some(scene) = Scene::new("retention_that_overtakes_a_stopped_worker_is_a_recorded_gap_and_an_alert", 1) else { return };
    scene.produce(0..100);
    assert_eq!(scene.once().0, Some(0));
    scene.produce(100..150);
    scene.delete_records_before(0, 120);
    for _ in 0..2 {
        let (code, stopped) = scene.once();
        assert_eq!((code, stopped["partitions_stopped"].as_u64(), stopped["records"].as_u64()), (Some(1), Some(1), Some(0)), "{stopped}");
    }
    let lake = scene.lake();
    let gaps = query(&lake, "SELECT reason_code, reason FROM rejections");
    assert_eq!(gaps.len(), 1, "found twice, the gap is recorded once: {gaps:?}");
    assert_eq!(gaps[0]["reason_code"], "offsets_lost");
    assert!(gaps[0]["reason"].as_str().unwrap().contains("offsets 100 to 119"), "{gaps:?}");
    assert!(vialog(&["detect", "--lake", lake.to_str().unwrap(), "--once"]).status.success());
    assert_eq!(number(&lake, "SELECT count(*) FROM alerts WHERE severity = 'critical' AND value = 'offsets_lost'"), 1);
    scene.edit_config("[ingest]\n", "[ingest]\non_gap = \"continue\"\n");
    let (code, resumed) = scene.once();
    assert_eq!((code, resumed["records"].as_u64()), (Some(0), Some(30)), "{resumed}");
    assert_eq!(number(&lake, "SELECT count(DISTINCT event_id) FROM events"), 130);
    // 150 offsets of the partition, 20 of them lost, and the row of the stop.
    assert_eq!(verify(&lake)["offsets"], 151);
}

#[test]
fn retention_that_overtakes_a_running_worker_is_a_recorded_gap() {
    let Some(scene) = Scene::new("retention_that_overtakes_a_running_worker_is_a_recorded_gap", 1) else { return };
    scene.edit_config("[ingest]\n", "[ingest]\non_gap = \"continue\"\n");
    scene.produce(0..100);
    let mut worker = start_worker(&scene.config);
    wait_for(&scene.lake(), "SELECT count(*) FROM events", 100);
    signal(&worker, "STOP");
    scene.produce(100..400);
    scene.delete_records_before(0, 300);
    signal(&worker, "CONT");
    wait_for(&scene.lake(), "SELECT count(*) FROM events WHERE event_id LIKE '%-399'", 1);
    worker.kill().unwrap();
    worker.wait().unwrap();
    let (lake, events) = (scene.lake(), "SELECT count(DISTINCT event_id) FROM events");
    // What it had fetched before it froze may be there; the rest must be a gap.
    let lost = 400 - number(&lake, events);
    assert_eq!(number(&lake, "SELECT count(*) FROM rejections WHERE reason_code = 'offsets_lost'"), i64::from(lost > 0), "{lost} lost");
    assert_eq!(verify(&lake)["offsets"], 400);
}

#[test]
fn a_topic_made_anew_stops_and_is_read_from_its_start_as_a_new_incarnation() {
    let Some(scene) = Scene::new("a_topic_made_anew_stops_and_is_read_from_its_start_as_a_new_incarnation", 1) else { return };
    scene.produce(0..20);
    assert_eq!(scene.once().0, Some(0));
    scene.delete_topic();
    scene.create_topic();
    scene.produce(20..25);
    let (code, stopped) = scene.once();
    assert_eq!((code, stopped["partitions_stopped"].as_u64()), (Some(1), Some(1)), "{stopped}");
    let lake = scene.lake();
    assert_eq!(number(&lake, "SELECT count(*) FROM rejections WHERE reason_code = 'topic_made_anew'"), 1);
    scene.edit_config("adapter = \"toolhive\"\n", "adapter = \"toolhive\"\nincarnation = \"2\"\n");
    assert_eq!(scene.once().0, Some(0));
    assert_eq!(number(&lake, "SELECT count(DISTINCT event_id) FROM events"), 25);
    verify(&lake);
}

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

fn broker_away(test: &str, how_long: Duration) {
    let Some(scene) = Scene::new(test, 3) else { return };
    let mut worker = start_worker(&scene.config);
    let producing = Producing::start(&scene);
    std::thread::sleep(Duration::from_secs(4));
    for step in ["stop", "start"] {
        let script = repository().join("tests/peers/kafka.sh");
        assert!(Command::new(script).arg(step).status().unwrap().success());
        std::thread::sleep(how_long);
    }
    let produced = producing.end();
    worker.kill().unwrap();
    worker.wait().unwrap();
    let (code, rest) = scene.once();
    eprintln!("{test}: {produced} produced, {} drained after", rest["records"]);
    assert_eq!(code, Some(0));
    check_exactly_once(&scene.lake(), &scene.topic, produced);
}

/// Four workers of one group that come, go politely in mid-flush, and freeze past their session, at random.
#[test]
fn a_storm_of_rebalances_and_two_owners_of_a_partition_lose_and_double_nothing() {
    let Some(scene) = Scene::new("a_storm_of_rebalances_and_two_owners_of_a_partition_lose_and_double_nothing", 6) else { return };
    let producing = Producing::start(&scene);
    let mut workers: Vec<Child> = (0..4).map(|_| start_worker(&scene.config)).collect();
    std::thread::sleep(Duration::from_secs(5));
    for round in 0..14 {
        let victim = &mut workers[round % 4];
        if random_below(2) == 0 {
            signal(victim, "TERM");
            assert!(victim.wait().unwrap().success(), "a worker that is asked to end ends well");
            *victim = start_worker(&scene.config);
        } else {
            // Longer than the session: its partitions get another owner, and it comes back with a batch in hand.
            signal(victim, "STOP");
            std::thread::sleep(Duration::from_millis(2_500));
            signal(victim, "CONT");
        }
        std::thread::sleep(Duration::from_millis(300 + random_below(900)));
    }
    let produced = producing.end();
    for worker in &mut workers {
        signal(worker, "TERM");
        assert!(worker.wait().unwrap().success());
    }
    let before = number(&scene.lake(), "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM events_tip)");
    let (code, rest) = scene.once();
    eprintln!("storm: {produced} produced, {before} committed in it, {} drained after", rest["records"]);
    assert_eq!((code, before > 0), (Some(0), true));
    check_exactly_once(&scene.lake(), &scene.topic, produced);
}

/// A producer that goes on until told to end.
struct Producing {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Producing {
    fn start(scene: &Scene) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, producer, topic, partitions) = (Arc::clone(&stop), scene.producer(), scene.topic.clone(), scene.partitions);
        let thread = std::thread::spawn(move || {
            let mut id = 0;
            while !ended.load(Ordering::Relaxed) {
                send(&producer, &topic, partitions, id);
                id += 1;
                std::thread::sleep(Duration::from_millis(3));
            }
            assert_eq!(producer.flush().unwrap(), id);
            id
        });
        Self { stop, thread }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn wait_for(lake: &Path, sql: &str, wanted: i64) {
    let deadline = Instant::now() + WAIT * 2;
    while !lake.join("events").is_dir() || number(lake, sql) < wanted {
        assert!(Instant::now() < deadline, "never came: {sql}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
