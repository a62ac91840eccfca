//! Fuzz target: the first byte chooses the adapter and the headers, the rest is the payload. The rows keep the law, and
//! `serde_json` reads the payload as we do.

#![no_main]

#[path = "../../../schemas/tests/oracle/agree.rs"]
mod agree;
#[path = "../../../schemas/tests/hostile/law.rs"]
mod law;

use std::sync::LazyLock;

use schemas::adapters::Adapter;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, payload)) = bytes.split_first() else { return };
    agree::compare(payload);
    static ALL: LazyLock<Vec<Adapter>> = LazyLock::new(Adapter::all);
    let adapter = ALL[usize::from(*first) % ALL.len()].clone();
    let mut beside = law::Beside { timestamp_us: Some(law::KAFKA_US), ..Default::default() };
    if first & 0x40 != 0 {
        beside.headers.push(("cerbos.audit.encoding".into(), b"protobuf".to_vec()));
    }
    if first & 0x80 != 0 {
        beside.headers.push(("cerbos.audit.kind".into(), b"access".to_vec()));
    }
    let rows = law::decode(adapter.clone(), Some(payload), &beside);
    // A secret beside any content, in a record that nothing else reads, is never kept.
    let canary = [payload, b" ", law::CANARY.as_bytes(), b" "].concat();
    let looks_compressed = payload.starts_with(&[0x1f, 0x8b]) || payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    // Bytes that hold the words of the canary themselves, not as a secret, rightly keep them.
    let holds_canary = payload.windows(10).any(|part| part.eq_ignore_ascii_case(b"canary0123"));
    if rows.len() == 1 && payload.is_ascii() && !looks_compressed && !payload.contains(&0) && !holds_canary {
        let rows = law::decode(adapter, Some(&canary), &law::Beside::default());
        assert!(rows.iter().all(|row| !law::holds_text(row, "canary0123")), "a secret is kept");
    }
});
