//! Synthetic tool calls of ToolHive by number: as records, in files, sent to a topic once or until told to end.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ingest::produce::{Outgoing, Producer};

use crate::support::summary;

/// The one number of what is committed, decided on or not.
pub(crate) const COMMITTED: &str = "SELECT count(*) FROM (SELECT event_id FROM events UNION SELECT event_id FROM events_tip)";

/// A synthetic ToolHive event with this id.
pub(crate) fn tool_call(id: u64) -> String {
    format!(
        r#"{{"time":"2026-11-23T02:40:47.457Z","level":"AUDIT","msg":"audit_event","audit_id":"id-{id}","type":"mcp_tool_call","logged_at":"2026-11-23T02:40:47.457755643Z","outcome":"success","component":"records","subjects":{{"user":"Ann","user_id":"u-1"}},"target":{{"method":"tools/call","name":"search","type":"tool"}}}}"#
    )
}

/// The number of such a call.
pub(crate) fn number_of_call(payload: &[u8]) -> u64 {
    let call: serde_json::Value = serde_json::from_slice(payload).unwrap();
    call["audit_id"].as_str().unwrap().trim_start_matches("id-").parse().unwrap()
}

/// A file of these calls, named by the first of them.
pub(crate) fn file_of_calls(folder: &Path, ids: Range<u64>) -> PathBuf {
    let file = folder.join(format!("{}.jsonl", ids.start));
    std::fs::write(&file, ids.map(tool_call).collect::<Vec<_>>().join("\n")).unwrap();
    file
}

/// What follows the program's name to import a file of calls.
pub(crate) fn import_args<'a>(lake: &'a Path, instance: &'a str, file: &'a Path) -> [&'a str; 12] {
    let (lake, file) = (lake.to_str().unwrap(), file.to_str().unwrap());
    ["import", "--lake", lake, "--adapter", "toolhive", "--instance", instance, "--environment", "staging", "--format", "json", file]
}

/// Imports these calls out of a file beside the lake.
pub(crate) fn import_calls(lake: &Path, instance: &str, ids: Range<u64>) {
    let file = file_of_calls(lake.parent().unwrap(), ids);
    summary(&import_args(lake, instance, &file));
}

/// Sends one call to the partition that its number chooses.
fn send(producer: &Producer, topic: &str, partitions: i32, id: u64) {
    send_to(producer, topic, i32::try_from(id % u64::try_from(partitions).unwrap()).unwrap(), id);
}

/// Sends one call to this partition.
pub(crate) fn send_to(producer: &Producer, topic: &str, partition: i32, id: u64) {
    let payload = tool_call(id);
    let record = Outgoing { topic, partition: Some(partition), payload: Some(payload.as_bytes()), ..Outgoing::default() };
    producer.send(&record).unwrap();
}

/// A producer that loses and doubles nothing, whatever the broker does.
pub(crate) fn producer(brokers: &str) -> Producer {
    let properties = [("enable.idempotence", "true"), ("message.timeout.ms", "300000")];
    Producer::new(brokers, &BTreeMap::from(properties.map(|(k, v)| (k.to_owned(), v.to_owned())))).unwrap()
}

/// Sends these calls, and waits until the broker has them.
pub(crate) fn produce(brokers: &str, topic: &str, partitions: i32, ids: Range<u64>) {
    let (producer, count) = (producer(brokers), ids.end - ids.start);
    ids.for_each(|id| send(&producer, topic, partitions, id));
    assert_eq!(producer.flush().unwrap(), count);
}

/// A producer that goes on until told to end.
pub(crate) struct Producing {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Producing {
    /// Sends calls from this number on.
    pub(crate) fn start(brokers: &str, topic: &str, partitions: i32, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, producer, topic) = (Arc::clone(&stop), producer(brokers), topic.to_owned());
        let thread = std::thread::spawn(move || {
            let mut next = first;
            while !ended.load(Ordering::Relaxed) {
                send(&producer, &topic, partitions, next);
                next += 1;
                std::thread::sleep(Duration::from_millis(3));
            }
            assert_eq!(producer.flush().unwrap(), next - first);
            next
        });
        Self { stop, thread: Some(thread) }
    }

    /// The first number that was not sent.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Producing {
    /// A test that fails does not leave it running.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
