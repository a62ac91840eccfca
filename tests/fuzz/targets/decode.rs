//! Fuzz target: the first line chooses the adapter and the headers (see `seed`), the rest is the payload. The rows keep the
//! law, and `serde_json` reads the payload as we do.

#![no_main]

#[path = "../../../schemas/tests/oracle/agree.rs"]
mod agree;
#[path = "../../../schemas/tests/hostile/law.rs"]
mod law;
mod seed;

use std::sync::LazyLock;

use schemas::adapters::Adapter;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static ALL: LazyLock<Vec<Adapter>> = LazyLock::new(Adapter::all);
    let Some((adapter, headers, payload)) = seed::parts(bytes, &ALL) else { return };
    agree::compare(payload);
    let beside = law::Beside { timestamp_us: Some(law::KAFKA_US), headers, ..Default::default() };
    let rows = law::decode(adapter.clone(), Some(payload), &beside);
    // A secret beside any content, in a record that nothing else reads, is never kept.
    let canary = [payload, b" ", law::CANARY.as_bytes(), b" "].concat();
    let looks_compressed = payload.starts_with(&[0x1f, 0x8b]) || payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    // Bytes that hold the words of the canary themselves, not as a secret, rightly keep them.
    let holds_canary = payload.windows(10).any(|part| part.eq_ignore_ascii_case(b"canary0123"));
    if rows.len() == 1 && payload.is_ascii() && !looks_compressed && !payload.contains(&0) && !holds_canary {
        let rows = law::decode(adapter.clone(), Some(&canary), &law::Beside::default());
        assert!(rows.iter().all(|row| !law::holds_text(row, "canary0123")), "a secret is kept");
    }
});
