//! What happens to topics on a real Apache Kafka: transactions, retention, compaction, topics made anew. Each offset is
//! accounted for, and what is lost is a row and an alert. The checker confirms it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use ingest::produce::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::calls::{self, tool_call};
use crate::real_kafka_scene::{Scene, WAIT, check_calls};
use crate::running::Running;
use crate::support::{number, query, vialog, wait_for};

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
    check_calls(&scene, 0..13, (0, 21));
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
    check_alert(&lake, "offsets_lost");
    scene.edit_config("[ingest]\n", "[ingest]\non_gap = \"continue\"\n");
    let (code, resumed) = scene.once();
    assert_eq!((code, resumed["records"].as_u64()), (Some(0), Some(30)), "{resumed}");
    // 150 offsets of the partition, 20 of them lost, and the row of the stop, which stands aside; and one of the lost ones.
    check_calls(&scene, (0..100).chain(120..150), (2, 151));
}

/// A worker that has committed a hundred calls and was frozen while three hundred more came, of which the first two hundred are
/// gone.
fn overtaken_worker(scene: &Scene) -> Running {
    scene.produce(0..100);
    let worker = Running::worker(&scene.config);
    wait_for(&scene.lake(), "SELECT count(*) FROM events", 100);
    worker.signal("STOP");
    scene.produce(100..400);
    scene.delete_records_before(0, 300);
    worker.signal("CONT");
    worker
}

/// What is lost is a critical alert, once.
#[track_caller]
fn check_alert(lake: &Path, code: &str) {
    assert!(vialog(&["detect", "--lake", lake.to_str().unwrap(), "--once"]).status.success());
    assert_eq!(number(lake, &format!("SELECT count(*) FROM alerts WHERE severity = 'critical' AND value = '{code}'")), 1);
}

#[test]
fn retention_that_overtakes_a_running_worker_is_a_recorded_gap() {
    let Some(scene) = Scene::new("retention_that_overtakes_a_running_worker_is_a_recorded_gap", 1) else { return };
    scene.edit_config("[ingest]\n", "[ingest]\non_gap = \"continue\"\n");
    let worker = overtaken_worker(&scene);
    wait_for(&scene.lake(), "SELECT count(*) FROM events WHERE event_id LIKE '%-399'", 1);
    worker.ends_well();
    let lake = scene.lake();
    let gaps = query(&lake, "SELECT \"offset\", reason FROM rejections WHERE reason_code = 'offsets_lost'");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let first = gaps[0]["offset"].as_u64().unwrap();
    let said = format!("offsets {first} to 299, were deleted by the broker before they were read; reading went on");
    assert!((100..300).contains(&first) && gaps[0]["reason"].as_str().unwrap().contains(&said), "{gaps:?}");
    check_calls(&scene, (0..first).chain(300..400), (1, 400));
    check_alert(&lake, "offsets_lost");
}

#[test]
fn retention_that_overtakes_a_running_worker_stops_the_partition_where_nobody_chose_to_go_on() {
    let test = "retention_that_overtakes_a_running_worker_stops_the_partition_where_nobody_chose_to_go_on";
    let Some(scene) = Scene::new(test, 1) else { return };
    let mut worker = overtaken_worker(&scene);
    wait_for(&scene.lake(), "SELECT count(*) FROM rejections WHERE reason_code = 'offsets_lost'", 1);
    assert!(worker.is_there(), "a worker goes on with its other partitions");
    worker.told_to_end();
    assert_eq!(number(&scene.lake(), "SELECT count(*) FROM events WHERE event_id LIKE '%-399'"), 0, "nothing is jumped over");
    let first = query(&scene.lake(), "SELECT \"offset\" FROM rejections")[0]["offset"].as_u64().unwrap();
    check_calls(&scene, 0..first, (1, first + 1));
}

#[test]
fn a_topic_made_anew_stops_and_is_read_from_its_start_as_a_new_incarnation() {
    let Some(scene) = Scene::new("a_topic_made_anew_stops_and_is_read_from_its_start_as_a_new_incarnation", 1) else { return };
    scene.produce(0..20);
    assert_eq!(scene.once().0, Some(0));
    scene.delete_topic();
    scene.create_topic(&[]);
    scene.produce(20..25);
    let (code, stopped) = scene.once();
    assert_eq!((code, stopped["partitions_stopped"].as_u64()), (Some(1), Some(1)), "{stopped}");
    let lake = scene.lake();
    assert_eq!(number(&lake, "SELECT count(*) FROM rejections WHERE reason_code = 'topic_made_anew'"), 1);
    scene.edit_config("adapter = \"toolhive\"\n", "adapter = \"toolhive\"\nincarnation = \"2\"\n");
    assert_eq!(scene.once().0, Some(0));
    // 20 offsets of the old one, the row of the stop, five of the new one.
    check_calls(&scene, 0..25, (1, 26));
    check_alert(&lake, "topic_made_anew");
}

/// Records that a later one of the same key replaced are gone, and so are tombstones after a while: their offsets hold
/// nothing, and each is accounted for. A tombstone that is still there is a record without content.
#[test]
fn gaps_of_a_compacted_topic_and_tombstones_are_offsets_without_a_record() {
    let settings =
        [("cleanup.policy", "compact"), ("segment.ms", "500"), ("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "0")];
    let settings = [&settings[..], &[("max.compaction.lag.ms", "1000")]].concat();
    let test = "gaps_of_a_compacted_topic_and_tombstones_are_offsets_without_a_record";
    let Some(scene) = Scene::with_settings(test, 1, &settings) else { return };
    let producer = calls::producer(&scene.brokers);
    let put = |key: &str, id: Option<u64>| {
        let payload = id.map(tool_call);
        let record = Outgoing {
            topic: &scene.topic,
            partition: Some(0),
            key: Some(key.as_bytes()),
            payload: payload.as_deref().map(str::as_bytes),
            ..Outgoing::default()
        };
        producer.send(&record).unwrap();
        producer.flush().unwrap();
    };
    // Offsets 0 to 59: of ten keys the last value counts, and of the first one nothing.
    (0..60).for_each(|id| put(&format!("key-{}", id % 10), Some(id)));
    put("key-0", None);
    // What is not the newest segment is compacted; each of these begins one.
    let deadline = Instant::now() + WAIT * 4;
    let mut last = 60;
    while scene.readable().len() > 20 {
        assert!(Instant::now() < deadline, "the broker did not compact the topic");
        std::thread::sleep(Duration::from_millis(1_000));
        last += 1;
        put("tick", Some(last));
    }
    // A tombstone in the newest segment is there to be read.
    put("key-1", None);
    let before = scene.readable();
    let (code, summary) = scene.once();
    let after = scene.readable();
    let (records, without) = (summary["records"].as_u64().unwrap(), summary["offsets_without_record"].as_u64().unwrap());
    assert_eq!((code, records + without), (Some(0), last + 2), "{summary}");
    assert!(without >= 40, "{summary}");
    assert!(summary["records_empty"].as_u64().unwrap() >= 1, "the last tombstone is a record without content: {summary}");
    let ids: Vec<u64> = query(&scene.lake(), "SELECT event_id FROM events")
        .iter()
        .map(|row| row["event_id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap())
        .collect();
    // The broker may have compacted more while the worker read.
    let [may, must] = [&before, &after].map(|read| read.iter().flatten().collect::<BTreeSet<_>>());
    assert!(ids.iter().all(|id| may.contains(id)) && must.iter().all(|id| ids.contains(id)), "{ids:?}, readable {may:?}, {must:?}");
    assert!((51..60).all(|id| ids.contains(&id)), "the last value of each key is there: {ids:?}");
    check_calls(&scene, ids, (0, last + 2));
}
