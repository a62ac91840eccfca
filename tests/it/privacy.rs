//! Planted personal data and secrets: after an import by the real binary they stand in no file, no column and no line of the log.

use std::path::Path;
use std::process::Command;

use crate::support::{binary, number, query};

const POLICY: &str = r#"
[privacy]
kinds = ["card", "iban", "ssn", "mail", "phone"]
names = ["patient_name", "date_of_birth"]
paths = ["*.subject"]
keep = ["delegator_email"]
"#;

/// What must stand nowhere. Names are what they are by key or path only.
const PLANTED: &[&str] = &[
    "4111111111111111",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "519-84-1234",
    "canary.person@planted.example",
    "+14155552671",
    "(415) 555-2671",
    "Canary Patientname",
    "1971-03-02",
    "hunter2-canary",
    "ghp_canary0123456789abcdefgh",
    // `card 4111 1111 1111 1111` and `password=hunter2-canary`, in Base64 and URL encoding.
    "Y2FyZCA0MTExIDExMTEgMTExMSAxMTEx",
    "cGFzc3dvcmQ9aHVudGVyMi1jYW5hcnk",
    "4111%201111%201111%201111",
    "password%3Dhunter2-canary",
];

fn records() -> String {
    let arguments = [
        r#"{"a":"4111111111111111","b":"IBAN DE89 3704 0044 0532 0130 00, SSN 519-84-1234","c":4111111111111111}"#,
        r#"{"to":"canary.person@planted.example","iban":"DE89370400440532013000","call":["+14155552671","(415) 555-2671"]}"#,
        r#"{"patient_name":"Canary Patientname","deep":[{"Date-Of-Birth":"1971-03-02"}],"subject":{"n":"Canary Patientname"}}"#,
        r#"{"inner":"{\"patient_name\":\"Canary Patientname\",\"x\":\"{\\\"y\\\":\\\"4111 1111 1111 1111\\\"}\"}"}"#,
        r#"{"blob":"Y2FyZCA0MTExIDExMTEgMTExMSAxMTEx","q":"n=4111%201111%201111%201111","s":"x=1%26password%3Dhunter2-canary"}"#,
        r#"{"blob":"cGFzc3dvcmQ9aHVudGVyMi1jYW5hcnk=","password":"hunter2-canary","t":"ghp_canary0123456789abcdefgh"}"#,
        r#"{"u":"https://canary.person%40planted.example:hunter2-canary@db.example/x","4111 1111 1111 1111":1}"#,
    ];
    let mut all = String::new();
    for (number, arguments) in arguments.iter().enumerate() {
        all += &format!(
            r#"{{"event_id":"e{number}","time":"2026-11-20T10:00:00Z","category":"tool_call","tool_name":"pay","delegator_email":"ann@kept.example","params":{arguments},"extra":{arguments}}}"#
        );
        // Cut, and of a shape that nobody knows.
        all += &format!("\n{{\"x\":{arguments}}}\n{{\"x\":{},\"y\":\n", arguments.replace("\"subject\":{\"n\"", "\"z\":{\"patient_name\""));
    }
    all
}

/// Every planted text that a text holds, as it is or in hexadecimal.
fn found_in(text: &[u8]) -> Vec<&'static str> {
    let holds = |wanted: &str| text.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    let hex = |wanted: &str| wanted.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    PLANTED.iter().copied().filter(|planted| holds(planted) || holds(&hex(planted))).collect()
}

fn assert_no_file_holds(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            assert_no_file_holds(&entry);
        } else {
            assert_eq!(found_in(&std::fs::read(&entry).unwrap()), Vec::<&str>::new(), "{}", entry.display());
        }
    }
}

#[test]
fn what_the_policy_takes_out_stands_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, config, file) = (folder.path().join("out/lake"), folder.path().join("vialog.toml"), folder.path().join("planted.jsonl"));
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(&config, format!("environment = \"production\"\n[lake]\nuri = \"{}\"\n{POLICY}", lake.display())).unwrap();
    std::fs::write(&file, records()).unwrap();
    assert_eq!(found_in(records().as_bytes()), PLANTED, "all of it is planted");
    let args = ["import", "--config", config.to_str().unwrap(), "--adapter", "json", "--format", "json", file.to_str().unwrap()];
    let output = Command::new(binary()).args(args).env("RUST_LOG", "trace").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(found_in(&[output.stdout, output.stderr].concat()), Vec::<&str>::new(), "in what was printed");
    assert_eq!((number(&lake, "SELECT count(*) FROM events"), number(&lake, "SELECT count(*) FROM rejections")), (7, 14));
    assert_no_file_holds(&folder.path().join("out"));
    // Parquet pages are compressed, so all rows are asked too.
    for view in ["events", "tool_calls", "rejections"] {
        let rows = query(&lake, &format!("SELECT * FROM {view}"));
        assert!(!rows.is_empty(), "{view}");
        for row in rows {
            for (column, value) in row.as_object().unwrap() {
                assert_eq!(found_in(value.to_string().as_bytes()), Vec::<&str>::new(), "{view}.{column}: {value}");
            }
        }
    }
    // Who did it stays, and equal values stay equal.
    assert_eq!(number(&lake, "SELECT count(*) FROM events WHERE delegator_email = 'ann@kept.example'"), 7);
    let cards = query(
        &lake,
        "SELECT DISTINCT regexp_match(params_json, 'tok1.card.1.[0-9a-f]+')[1] AS card FROM events WHERE params_json LIKE '%tok1.card%'",
    );
    assert_eq!(cards.len(), 1, "{cards:?}");
}
