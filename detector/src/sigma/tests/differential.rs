//! The SQL against the matcher: random detections over events with nasty values, in a real lake.
//!
//! It needs the program beside this test. Without it the test says so and passes; the rest of the tests do
//! not need it. `SIGMA_ROUNDS` and `SIGMA_SEED` make other detections and events. The events are read back from the lake, so that what the adapter makes of them does not matter.

use serde_json::{Value, json};

use super::super::detection::Compiler;
use super::super::expr::Expr;
use super::super::matcher::matches;
use super::super::sql::{self, Derived};
use super::lake::{Dice, Lake};
use super::mapping;

const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "abc",
    "ABC",
    "50%",
    "50x",
    "a_b",
    "axb",
    r"a\b",
    r"a\\b",
    "a*b",
    "a?b",
    "O'Brien",
    "{x}",
    "{as_of_us}",
    "line1\nline2",
    "tab\there",
    "ÜMLAUT",
    "ümlaut",
    "İ",
    "ſ",
    "ΑΣ",
    "ας",
    "  ",
    "\"quoted\"",
    "cmd -x",
    "cmd /x",
    "cmd –x",
    "1",
    "01",
    "1.0",
    "NaN",
    "inf",
    "1e3",
    "-5",
    "true",
    r"\",
    "%",
    "_",
    "Zm9vYmFy",
    "xxZm9vYmFyxx",
    "[a-z]",
    "a.c",
    "K",
    "k",
    "a,b",
    "r\rn",
    "200",
    "😀",
    r"c:\windows\system32\cmd.exe",
    "null",
    "None",
];
const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.255.255.255",
    "11.0.0.0",
    "172.16.5.4",
    "172.32.0.1",
    "192.168.1.1",
    "192.168.1.129",
    "::1",
    "::",
    "2001:db8::1",
    "2001:db8:0:0:1::",
    "2001:db9::",
    "fe80::1%eth0",
    "fc00::abcd",
    "fdff:1:2:3:4:5:6:7",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "::ffff:10.0.0.1",
    "10.0.0",
    "999.1.1.1",
    "not an ip",
    "2001:DB8::2",
    "1:2:3",
    "a::b::c",
    "::1.2.3.4",
    "2001:db8:1",
];
const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.1.0/25",
    "0.0.0.0/0",
    "10.0.0.1",
    "192.168.1.129/31",
    "::/0",
    "::1/128",
    "2001:db8::/32",
    "2001:db8::/33",
    "fc00::/7",
    "fe80::/10",
    "::/127",
    "2001:db8:0:0:1::/80",
    "2001:db8:8000::/33",
];
const TEXT_FIELDS: &[&str] = &["tool_name", "agent_name", "resource_id", "ext.team", "ext.odd", "delegator_roles"];
const TEXT_MODIFIERS: &[&str] = &[
    "",
    "",
    "",
    "|contains",
    "|startswith",
    "|endswith",
    "|cased",
    "|contains|cased",
    "|neq",
    "|windash",
    "|windash|contains",
    "|base64",
    "|base64offset|contains",
    "|wide|base64offset|contains",
    "|re",
    "|re|i",
    "|re|s",
    "|re|m|i",
    "|gt",
    "|gte",
    "|lt",
    "|lte",
    "|contains|all",
    "|exists",
    "|endswith|neq",
];

fn event(dice: &mut Dice, i: usize) -> Value {
    let mut event = json!({
        "event_id": i.to_string(), "event_time": format!("20{:02}-{:02}-{:02}T{:02}:{:02}:00Z", 20 + dice.roll(7), 1 + dice.roll(12), 1 + dice.roll(28), dice.roll(24), dice.roll(60)),
        "category": "admin", "src_ip": dice.pick(ADDRESSES), "ip": dice.pick(ADDRESSES), "tool_name": TEXTS[i % TEXTS.len()],
        "http_status": dice.roll(5) * 100, "asn": dice.roll(3), "risk_score": dice.roll(5) as f64 / 2.0, "is_proxy": dice.roll(2) == 0,
        "agent_name": dice.pick(TEXTS), "resource_id": dice.pick(TEXTS), "team": dice.pick(TEXTS),
        "odd": ([json!(1), json!(1.5), json!(true), json!("1"), json!("x\u{1}\u{8}y"), json!("q\"\\n\n\\")][dice.roll(6)]),
        "delegator_roles": (0..dice.roll(4)).map(|_| dice.pick(TEXTS)).collect::<Vec<_>>(),
    });
    for key in [
        "tool_name",
        "http_status",
        "risk_score",
        "is_proxy",
        "agent_name",
        "resource_id",
        "team",
        "odd",
        "delegator_roles",
        "src_ip",
        "ip",
    ] {
        if dice.roll(5) == 0
            && let Some(event) = event.as_object_mut()
        {
            event.remove(key);
        }
    }
    event
}

/// One field with one to three values, as JSON, which is YAML.
fn search(dice: &mut Dice) -> Value {
    let edges = ["", "*", "?"];
    let text = |dice: &mut Dice| {
        json!(format!(
            "{}{}{}",
            edges[dice.roll(9) % 3 * usize::from(dice.roll(3) == 0)],
            dice.pick(TEXTS),
            edges[dice.roll(3) * usize::from(dice.roll(3) == 0)]
        ))
    };
    let (key, values): (String, Vec<Value>) = match dice.roll(12) {
        0 => (format!("{}|cidr", dice.pick(&["src_ip", "ext.ip"])), vec![json!(dice.pick(NETWORKS))]),
        1 => (format!("http_status{}", dice.pick(&["", "|gt", "|lte", "|contains", "|neq"])), vec![json!(dice.roll(5) * 100)]),
        2 => (format!("risk_score{}", dice.pick(&["", "|gte", "|lt", "|neq"])), vec![json!(dice.roll(5) as f64 / 2.0)]),
        3 => ("is_proxy".into(), vec![[json!(true), json!("False"), json!("TRUE"), Value::Null][dice.roll(4)].clone()]),
        4 => (
            format!("event_time|{}{}", dice.pick(&["minute", "hour", "day", "week", "month", "year"]), dice.pick(&["", "|gt", "|lte"])),
            vec![json!([5, 12, 2024][dice.roll(3)])],
        ),
        5 => (
            format!("{}|fieldref{}", dice.pick(TEXT_FIELDS), dice.pick(&["", "|contains", "|startswith", "|endswith", "|neq"])),
            vec![json!(dice.pick(TEXT_FIELDS))],
        ),
        6 => (dice.pick(TEXT_FIELDS).into(), vec![Value::Null, text(dice)]),
        _ => {
            let modifiers = dice.pick(TEXT_MODIFIERS);
            let key = format!("{}{modifiers}", dice.pick(TEXT_FIELDS));
            let values = (0..=dice.roll(3)).map(|_| if modifiers == "|exists" { json!(dice.roll(2) == 0) } else { text(dice) });
            (key, values.collect())
        }
    };
    if dice.roll(20) == 0 { json!(values) } else { json!({ key: values }) }
}

fn detection(dice: &mut Dice) -> Value {
    let conditions = ["s1", "s1", "not s1", "s1 and not s2", "s1 or s2", "1 of s*", "all of them", "not (s1 or not s2)", "not 1 of s*"];
    let many = |dice: &mut Dice| if dice.roll(4) == 0 { json!([search(dice), search(dice)]) } else { search(dice) };
    json!({ "s1": many(dice), "s2": many(dice), "condition": dice.pick(&conditions) })
}

#[test]
fn the_sql_finds_what_the_matcher_finds() {
    let rounds: usize = std::env::var("SIGMA_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let mut dice = Dice(std::env::var("SIGMA_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(7));
    let written: Vec<Value> = (0..150).map(|i| event(&mut dice, i)).collect();
    let Some(lake) = Lake::new("differential") else { return };
    lake.import(&written);
    let events = lake.events();
    assert_eq!(events.len(), written.len());
    let mapping = mapping();
    let source = mapping.source(&[("product".to_owned(), "vialog".to_owned())].into()).unwrap();
    let (mut detections, mut refused): (Vec<(Value, Expr)>, usize) = (Vec::new(), 0);
    while detections.len() < rounds {
        let section = detection(&mut dice);
        let yaml = serde_yaml_ng::from_str(&section.to_string()).unwrap();
        match Compiler::new(&mapping, source).section(&yaml) {
            Ok(compiled) => detections.push((section, compiled.expr)),
            Err(_) => refused += 1,
        }
    }
    let (mut found, mut wrong) = (0, Vec::new());
    for chunk in detections.chunks(20) {
        let select = |(i, (_, expr)): (usize, &(Value, Expr))| {
            let mut derived = Derived::default();
            let condition = sql::condition(expr, &mut derived);
            format!("SELECT {i} AS i, event_id FROM {} WHERE {condition}", derived.from("events"))
        };
        let sql: Vec<String> = chunk.iter().enumerate().map(select).collect();
        let rows = lake.query(&sql.join("\nUNION ALL\n"));
        for (i, (section, expr)) in chunk.iter().enumerate() {
            let mut by_sql: Vec<&Value> = rows.iter().filter(|r| r["i"] == json!(i)).map(|r| &r["event_id"]).collect();
            let mut by_matcher: Vec<&Value> = events.iter().filter(|e| matches(expr, e)).map(|e| &e["event_id"]).collect();
            by_sql.sort_by_key(|v| v.to_string());
            by_matcher.sort_by_key(|v| v.to_string());
            found += by_sql.len();
            if by_sql != by_matcher {
                let odd = by_sql.iter().find(|v| !by_matcher.contains(v)).or_else(|| by_matcher.iter().find(|v| !by_sql.contains(v)));
                let odd = events.iter().find(|e| Some(&&e["event_id"]) == odd);
                wrong.push(format!("{section}\n  {}\n  sql {} matcher {}\n  {odd:?}", sql[i], by_sql.len(), by_matcher.len()));
            }
        }
    }
    println!("{} detections, {refused} refused, {found} hits", detections.len());
    assert!(wrong.is_empty(), "{} of {rounds} differ\n{}", wrong.len(), wrong[..wrong.len().min(8)].join("\n"));
}
