//! Bombs, huge and empty records on a real Apache Kafka: each is an event or a kept rejection, in bounded memory. (The
//! embedded broker keeps 5 MB of a partition.) All data here is synthetic.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ingest::produce::{Outgoing, Producer};
use serde_json::{Value, json};

use crate::calls::{COMMITTED, tool_call};
use crate::real_kafka_scene::{Scene, check_calls};
use crate::running::Running;
use crate::support::{PATIENCE, binary, number, query, summary, vialog};

/// A zstd frame of blocks that each say "this byte, 128 KiB times" in four bytes (RFC 8878 3.1.1.2).
fn zstd_bomb(unpacked_bytes: u64) -> Vec<u8> {
    let blocks = unpacked_bytes >> 17;
    // Magic number, no single segment, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    for block in 0..blocks {
        let header = u32::from(block + 1 == blocks) | 1 << 1 | (1 << 17) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Most memory that a process held while it ran, MiB, and what it printed.
fn run_watched(args: &[&str]) -> (u64, Value) {
    let mut child = Running::start(Command::new(binary()).args(args).env("RUST_LOG", "error").stdout(Stdio::piped()));
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let mut stdout = child.stdout();
    let until = Instant::now() + PATIENCE;
    while child.is_there() {
        assert!(Instant::now() < until, "{args:?} never ended");
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak_kib);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert!(child.ended().success(), "{said}");
    (peak_kib >> 10, serde_json::from_str(said.lines().last().unwrap()).unwrap())
}

/// One byte of the second batch is another one on the broker's disk, so its checksum is wrong. The client passes over such a batch,
/// and with the next record its offsets would look like some that never held one.
#[test]
fn records_that_the_broker_holds_damaged_end_the_worker_and_are_not_passed_over() {
    let Some(scene) = Scene::new("records_that_the_broker_holds_damaged_end_the_worker_and_are_not_passed_over", 1) else { return };
    [0..100, 100..200, 200..300].into_iter().for_each(|ids| scene.produce(ids));
    let segment = scene.segment();
    let change = |from: &[u8], to: &[u8]| {
        let held = std::fs::read(&segment).unwrap();
        let at = held.windows(from.len()).position(|window| window == from).unwrap();
        std::fs::File::options().write(true).open(&segment).unwrap().write_all_at(to, at as u64).unwrap();
    };
    change(b"\"id-150\"", b"\"id+150\"");
    for _ in 0..2 {
        let worker = vialog(&["ingest", "--config", scene.config.to_str().unwrap(), "--once"]);
        let said = String::from_utf8_lossy(&worker.stderr).into_owned();
        assert!(!worker.status.success() && said.contains("read records that the broker holds damaged"), "{said}");
        assert_eq!(number(&scene.lake(), COMMITTED), 100, "what came before them is committed");
    }
    change(b"\"id+150\"", b"\"id-150\"");
    assert_eq!(scene.once().0, Some(0));
    check_calls(&scene, 0..300, (0, 300));
}

/// Twice the bar of ordinary records: one record of 20 MB stands beside the batch that it goes to.
const MAX_PEAK_MIB: u64 = 1024;

#[test]
fn bombs_huge_and_empty_records_of_a_topic_are_kept_in_bounded_memory() {
    let Some(scene) = Scene::new("bombs_huge_and_empty_records_of_a_topic_are_kept_in_bounded_memory", 1) else { return };
    let bomb = zstd_bomb(10 << 30);
    let small_bomb = gzip(&bomb);
    assert!(small_bomb.len() < 10 << 10, "{} bytes unpack to 10 GiB", small_bomb.len());
    let long = tool_call(1).replacen(r#""user":"Ann""#, &format!(r#""user":"{}""#, "x".repeat(20 << 20)), 1);
    let many = format!("[{}]", (1_000..41_000).map(tool_call).collect::<Vec<_>>().join(","));
    assert!(many.len() > 12_000_000);
    let deep = "[".repeat(100_000);
    let hostile: [(&str, Option<&[u8]>); 9] = [
        ("bomb", Some(&bomb)),
        ("small bomb", Some(&small_bomb)),
        ("gzip bomb", Some(&gzip(&vec![b' '; 200 << 20]))),
        ("one long string", Some(long.as_bytes())),
        ("many events", Some(many.as_bytes())),
        ("deep", Some(deep.as_bytes())),
        ("no JSON", Some(b"hello")),
        ("empty", Some(b"")),
        ("tombstone", None),
    ];
    let properties = [("message.max.bytes".to_owned(), "33554432".to_owned())].into();
    let producer = Producer::new(&scene.brokers, &properties).unwrap();
    let send = |payload: Option<&[u8]>| {
        producer.send(&Outgoing { topic: &scene.topic, partition: Some(0), key: Some(b"k"), payload, ..Outgoing::default() }).unwrap();
    };
    for (index, (_, payload)) in (100..).zip(&hostile) {
        send(Some(tool_call(index).as_bytes()));
        send(*payload);
    }
    producer.flush().unwrap();
    let (peak_mib, done) = run_watched(&["ingest", "--config", scene.config.to_str().unwrap(), "--once", "--format", "json"]);
    let named = |name: &str| done[name].as_u64().unwrap();
    assert_eq!((named("records"), named("records_empty"), named("offsets_without_record")), (18, 2, 0), "{done}");
    assert_eq!((named("events"), named("rejections")), (9 + 1 + 40_000, 5), "{done}");
    let lake = scene.lake();
    let reasons = query(&lake, "SELECT reason_code AS r, count(*) AS n FROM rejections GROUP BY 1 ORDER BY 1");
    let expected = [json!({ "r": "not_json", "n": 1 }), json!({ "r": "too_deep", "n": 1 }), json!({ "r": "too_large", "n": 3 })];
    assert_eq!(reasons, expected);
    assert_eq!(number(&lake, "SELECT octet_length(CAST(raw AS VARCHAR)) FROM rejections WHERE reason_code = 'not_json'"), 5);
    let head = "SELECT octet_length(CAST(raw_payload AS VARCHAR)) FROM events WHERE raw_bytes > 20000000";
    assert_eq!(number(&lake, head), 1 << 20, "the head of the long record is kept");
    let report = summary(&["verify", lake.to_str().unwrap(), "--format", "json"]);
    assert_eq!((report["offsets"].as_u64(), report["rows"].as_u64()), (Some(18), Some(40_015)), "{report}");
    eprintln!("bombs and huge records: at most {peak_mib} MiB");
    assert!(peak_mib > 0 && peak_mib < MAX_PEAK_MIB, "{peak_mib} MiB");
}
