//! The kept seeds of the fuzz target `decode` reach what they are for.

use std::path::Path;

use schemas::adapters::Adapter;

use crate::law;

#[path = "../../../tests/fuzz/targets/seed.rs"]
mod seed;

#[test]
fn every_kept_seed_names_its_adapter_and_is_an_event_of_it() {
    let all = Adapter::all();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/decode");
    let mut reached = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (name, bytes) = (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap());
        let line = bytes.split(|byte| matches!(byte, b'\n' | b' ')).next().unwrap();
        assert!(all.iter().any(|adapter| adapter.name().as_bytes() == line), "{name} names no adapter in its first line");
        let (adapter, headers, payload) = seed::parts(&bytes, &all).unwrap();
        let is_protobuf = !headers.is_empty();
        let beside = law::Beside { headers, timestamp_us: Some(law::KAFKA_US), ..Default::default() };
        let rows = law::decode(adapter.clone(), Some(payload), &beside);
        let is_event = rows.iter().any(|row| row.row_kind.as_deref() == Some("event"));
        // Secrets that an adapter is to find in what it cannot read, and records of another one.
        if !name.starts_with("canary") && !name.starts_with("refused") {
            assert!(is_event, "{name} is no event of {}: {:?}", adapter.name(), rows[0].reason);
            reached.insert((adapter.name().to_owned(), is_protobuf));
        }
    }
    let reached: Vec<(&str, bool)> = reached.iter().map(|(name, protobuf)| (name.as_str(), *protobuf)).collect();
    let coded =
        [("cerbos", false), ("cerbos", true), ("json", false), ("keycloak", false), ("okta", false), ("opa", false), ("toolhive", false)];
    assert_eq!(reached, coded);
}
