//! The same laws on a real Apache Kafka, started by `tests/peers/kafka.sh` through `.ci/run`, and the captured
//! records of real peers, published unchanged.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ingest::produce::{Outgoing, Producer};
use serde_json::Value;

use crate::exactly_once::{GROUP_TIMES, kill_and_check};
use crate::real_kafka_scene::brokers;
use crate::support::{number, query, repository, shared, skip, summary, vialog, write_config};

fn create_topic(topic: &str, partitions: u32) {
    let script = repository().join("tests/peers/kafka.sh");
    let status = Command::new(script).args(["create", topic, &partitions.to_string()]).status().unwrap();
    assert!(status.success(), "the topic {topic} could not be created");
}

#[test]
fn on_real_kafka_killed_workers_lose_nothing_and_double_nothing() {
    let Some(brokers) = brokers("on_real_kafka_killed_workers_lose_nothing_and_double_nothing") else { return };
    create_topic("toolhive.audit", 3);
    kill_and_check(&brokers, 26, GROUP_TIMES);
}

/// A captured record as the sample files hold it.
fn captured(file: &Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn publish(producer: &Producer, topic: &str, record: &Value) {
    let bytes = |key: &str| record.get(key).and_then(Value::as_str).map(decode_base64);
    let headers: Vec<(String, Vec<u8>)> = record["headers"]
        .as_array()
        .map(|all| all.iter().map(|h| (h[0].as_str().unwrap().to_owned(), decode_base64(h[1].as_str().unwrap()))).collect())
        .unwrap_or_default();
    let (key, payload) = (bytes("key_b64"), bytes("value_b64"));
    let outgoing = Outgoing {
        topic,
        key: key.as_deref(),
        headers: &headers,
        timestamp_ms: record["timestamp_ms"].as_i64(),
        payload: payload.as_deref(),
        ..Outgoing::default()
    };
    producer.send(&outgoing).unwrap();
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let word = chunk.iter().enumerate().fold(0_u32, |word, (i, b)| word | u32::from(value(*b)) << (18 - 6 * i));
        out.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    out
}

#[test]
fn captured_records_of_real_peers_reconcile_with_the_offsets() {
    let test = "captured_records_of_real_peers_reconcile_with_the_offsets";
    let Some(brokers) = brokers(test) else { return };
    let Some(samples) = shared("samples/captured") else { return skip(test, "needs ../shared") };
    let producer = Producer::new(&brokers, &BTreeMap::new()).unwrap();
    let feeds = [
        ("real.toolhive", "toolhive", vec!["toolhive/kafka.jsonl"]),
        (
            "real.cerbos",
            "cerbos",
            vec![
                "cerbos/0.51.0-json.jsonl",
                "cerbos/0.55.0-json.jsonl",
                "cerbos/0.51.0-protobuf.jsonl",
                "cerbos/0.55.0-protobuf.jsonl",
                "cerbos/0.55.0-protobuf-all-metadata.jsonl",
            ],
        ),
        ("real.opa", "opa", vec!["opa/batches.jsonl", "opa/split.jsonl", "opa/sent-twice.jsonl"]),
        ("real.keycloak", "keycloak", Vec::new()),
        ("real.okta", "okta", Vec::new()),
    ];
    let mut produced = 0_u64;
    for (topic, _, files) in &feeds {
        create_topic(topic, 3);
        for record in files.iter().flat_map(|file| captured(&samples.join(file))) {
            publish(&producer, topic, &record);
            produced += 1;
        }
    }
    for (topic, line) in lines_of(&samples) {
        producer.send(&Outgoing { topic, payload: Some(line.as_bytes()), ..Outgoing::default() }).unwrap();
        produced += 1;
    }
    assert_eq!(producer.flush().unwrap(), produced);
    let folder = tempfile::tempdir().unwrap();
    let sources: Vec<(&str, &str)> = feeds.iter().map(|(topic, adapter, _)| (*topic, *adapter)).collect();
    let config = write_config(folder.path(), &brokers, &sources, &[]);
    let found = summary(&["ingest", "--config", config.to_str().unwrap(), "--once", "--format", "json"]);
    eprintln!("captured records: {found}");
    let count = |key: &str| found[key].as_u64().unwrap();
    assert_eq!(count("records"), produced);
    assert_eq!(count("records_with_events") + count("records_rejected") + count("records_duplicate") + count("records_empty"), produced);
    let lake = folder.path().join("lake");
    assert_eq!(
        number(&lake, "SELECT count(*) FROM events") + i64::try_from(count("duplicates")).unwrap(),
        i64::try_from(count("events")).unwrap()
    );
    for row in query(&lake, "SELECT adapter, reason_code, count(*) AS n FROM rejections GROUP BY adapter, reason_code") {
        eprintln!("kept rejections: {row}");
    }
    for (_, adapter, _) in &feeds {
        assert!(number(&lake, &format!("SELECT count(*) FROM events WHERE adapter = '{adapter}'")) > 0, "no event of {adapter}");
    }
    let verify = vialog(&["verify", lake.to_str().unwrap()]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

/// Values of the feeds whose samples are plain lines.
fn lines_of(samples: &Path) -> Vec<(&'static str, String)> {
    let read = |file: std::path::PathBuf| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut all = Vec::new();
    for file in ["user-events.jsonl", "listener-events.jsonl", "admin-events.jsonl", "listener-admin-events.jsonl"] {
        all.extend(read(samples.join("keycloak").join(file)).into_iter().map(|line| ("real.keycloak", line)));
    }
    // The lines of this file wrap the event, as its parser left it, with a label.
    for line in read(samples.parent().unwrap().join("panther/okta_systemlog.jsonl")) {
        let wrapped: Value = serde_json::from_str(&line).unwrap();
        all.push(("real.okta", wrapped["log"].to_string()));
    }
    all
}
