//! What the module as a whole promises.

use super::mapping::kinds;
use super::*;

mod correlations;
mod differential;
mod engine;
mod lake;

const ID: &str = "11111111-1111-4111-8111-111111111111";

fn mapping() -> FieldMapping {
    FieldMapping::built_in().unwrap().with_placeholder("admins", vec!["root".into(), "adm_*".into()])
}

/// A rule of our own log source around a detection.
fn rule(detection: &str) -> String {
    let indented: String = detection.lines().map(|l| format!("  {l}\n")).collect();
    format!("title: Test\nid: {ID}\nlevel: high\nlogsource: {{product: vialog}}\ndetection:\n{indented}")
}

fn imported(text: &str) -> Imported {
    import(text, &mapping()).unwrap_or_else(|error| panic!("{error}: {}", error.fault))
}

fn fault(text: &str) -> Fault {
    import(text, &mapping()).expect_err(text).fault
}

/// The rule file as YAML.
fn file(text: &str) -> serde_yaml_ng::Value {
    serde_yaml_ng::from_str(&imported(text).rules[0].text).unwrap()
}

/// What stands behind `WHERE` for one search.
fn condition(search: &str) -> String {
    let file = file(&rule(&format!("s: {search}\ncondition: s")));
    file["query"].as_str().unwrap().split_once("\nWHERE ").unwrap().1.trim().to_owned()
}

#[test]
fn every_form_of_a_search_has_its_sql() {
    for (search, sql) in [
        ("{tool_name: Send}", "lower(tool_name) = 'send'"),
        ("{tool_name|cased: Send}", "tool_name = 'Send'"),
        ("{tool_name: [a, b]}", "(lower(tool_name) IN ('a', 'b'))"),
        ("{tool_name: [a, 'b*']}", "(lower(tool_name) = 'a' OR lower(tool_name) LIKE 'b%')"),
        ("{tool_name|contains: '50%_'}", r"lower(tool_name) LIKE '%50\%\_%'"),
        ("{tool_name|contains|all: [a, b]}", "lower(tool_name) LIKE '%a%'\n  AND lower(tool_name) LIKE '%b%'"),
        ("{tool_name: \"o'b\"}", "lower(tool_name) = 'o''b'"),
        ("{tool_name: '{x}'}", "lower(tool_name) = (chr(123) || 'x}')"),
        ("{tool_name|re|i: 'a{2}'}", "tool_name ~ ('(?i)a' || chr(123) || '2}')"),
        ("{tool_name|re: 'a\\b'}", r"tool_name ~ '(a\b)'"),
        ("{tool_name: null}", "tool_name IS NULL"),
        ("{tool_name: ''}", "(lower(tool_name) = '' OR tool_name IS NULL)"),
        ("{tool_name|exists: true}", "NOT COALESCE(tool_name IS NULL, false)"),
        ("{tool_name|neq: a}", "NOT COALESCE(lower(tool_name) = 'a', false)"),
        ("{tool_name|expand: '%admins%'}", "(lower(tool_name) = 'root' OR lower(tool_name) LIKE 'adm\\_%')"),
        ("{http_status: 404}", "http_status = 404"),
        ("{http_status: '404'}", "http_status = 404"),
        ("{http_status|gte: 400}", "http_status >= 400"),
        ("{http_status|startswith: 4}", "lower(CAST(http_status AS VARCHAR)) LIKE '4%'"),
        ("{tool_name|lt: 3}", "TRY_CAST(tool_name AS DOUBLE) < 3"),
        ("{is_proxy: 'True'}", "is_proxy = true"),
        ("{event_time|hour|lt: 6}", "date_part('hour', event_time) < 6"),
        ("{event_time|gte: '2026-01-01T00:00:00Z'}", "event_time >= to_timestamp_micros(1767225600000000)"),
        ("{agent_id|fieldref: delegator_id}", "lower(agent_id) = lower(delegator_id)"),
        (
            "{src_ip|cidr: 10.0.0.0/16}",
            r"src_ip ~ '(^10\.0\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$)'",
        ),
        ("[{tool_name: a}, {agent_id: b, job_id: c}]", "(lower(tool_name) = 'a' OR (lower(agent_id) = 'b' AND lower(job_id) = 'c'))"),
        ("{delegator_roles: admin}", r"lower(all_delegator_roles) ~ '(\x1fadmin\x1f)'"),
        ("{ext.team: Blue}", "lower(ext_team) = 'blue'"),
    ] {
        assert_eq!(condition(search), sql, "{search}");
    }
}

#[test]
fn a_rule_file_says_what_the_sigma_rule_says() {
    let text = format!(
        "title: 'A: title, with \"signs\"'\nid: {}\nstatus: stable\nlevel: informational\nauthor: Ann\ndescription: |\n  Two\n  lines.\nreferences: [https://x]\n\
         tags: [attack.initial-access, attack.t1078.004, attack.s0001, cve.2024-1234, atlas.AML.T0053, detection.threat-hunting]\nfalsepositives: [A backup., Unknown]\n\
         logsource: {{product: vialog}}\ndetection: {{s: {{tool_name: a}}, f: {{agent_id: b}}, condition: s and not f}}\n",
        ID.to_uppercase()
    );
    let made = imported(&text);
    assert_eq!(made.warnings, Vec::<String>::new());
    assert!(made.rules[0].text.starts_with("# From the Sigma rule \"A: title, with \"signs\"\" by Ann; licence: "));
    let file = file(&text);
    let json = |key: &str| serde_json::to_value(&file[key]).unwrap();
    assert_eq!(json("id"), ID);
    assert_eq!(json("name"), "sigma/a_title_with_signs");
    assert_eq!((json("version"), json("status"), json("severity")), (1.into(), "stable".into(), "low".into()));
    assert_eq!(json("description"), "Two\nlines.");
    assert_eq!(json("required_fields"), serde_json::json!(["tool_name"]));
    let taxonomy = serde_json::json!({"attack@v18": ["TA0001", "T1078.004", "S0001"], "cve": ["CVE-2024-1234"], "atlas": ["AML.T0053"]});
    assert_eq!(json("taxonomy"), taxonomy);
    assert_eq!(json("triage")[0], "Rule out: A backup.");
    assert_eq!(json("tests").as_array().unwrap().len(), 3);
}

#[test]
fn a_tactic_of_another_version_is_warned_of() {
    let text = rule("s: {tool_name: a}\ncondition: s").replace("level: high", "level: high\ntags: [attack.stealth, attack.t1685]");
    let made = imported(&text);
    assert!(made.warnings[0].contains("`attack.stealth` is no tactic of ATT&CK v18"), "{:?}", made.warnings);
    assert!(made.rules[0].text.contains("attack@v18:\n  - stealth\n  - T1685\n"), "{}", made.rules[0].text);
}

#[test]
fn what_cannot_be_said_is_named() {
    for (search, part) in [
        ("{nonsense: a, tool_name: b, other: c}", "nonsense, other"),
        ("{is_proxy: maybe}", "no boolean"),
        ("{delegator_roles|re: a}", "`re` on `delegator_roles`"),
        ("{delegator_roles|gt: 1}", "size on `delegator_roles`"),
        ("{forwarded_for|cidr: 10.0.0.0/8}", "`cidr` on `forwarded_for`"),
        ("{src_ip|cidr: 10.0.0.0/33}", "no network"),
        ("{tool_name|re: '(?=a)'}", "look-around"),
        ("{tool_name|hour: 1}", "part of a time"),
        ("{event_time: x}", "comparison of texts on `event_time`"),
        ("{policies: x}", "comparison of texts on `policies`"),
        ("{tool_name|expand: '%nobody%'}", "`%nobody%`"),
        ("{tool_name|expand: plain}", "no placeholder"),
        ("{tool_name|gt: much}", "no number"),
        ("{tool_name|wide: a}", "UTF-16 without Base64"),
        ("{tool_name: []}", "no value"),
        ("{tool_name: {a: b}}", "a map for a value"),
        ("{tool_name|exists: maybe}", "true or false"),
        ("{tool_name|newthing: a}", "`newthing` is no modifier"),
        ("{}", "empty search"),
        ("", "empty search"),
        ("\"\\0\"", "NUL"),
    ] {
        let said = fault(&rule(&format!("s: {search}\ncondition: s"))).to_string();
        assert!(said.contains(part), "{search}: {said}");
    }
    let text = rule("s: {tool_name: a}\ncondition: s");
    assert!(matches!(fault(&text.replace("product: vialog", "product: windows")), Fault::LogSource(source) if source.contains("windows")));
    assert!(matches!(fault("a: b"), Fault::Invalid(_)));
    assert!(matches!(fault("a: [b"), Fault::Yaml(_)));
    assert!(matches!(fault("title: x\naction: global\n"), Fault::Unsupported(_)));
    assert_eq!(import("title: x\ndetection: {}\n", &mapping()).unwrap_err().to_string(), "Sigma `x`");
    let azure =
        "title: x\nlogsource: {product: azure, service: signinlogs}\ndetection: {s: {AuthenticationProtocol: saml20}, condition: s}";
    assert!(fault(azure).to_string().contains("does not keep"));
    let legacy = rule("s: {tool_name: a}\ncondition: s | count() by agent_id > 3");
    assert!(fault(&legacy).to_string().contains("write it as a correlation"));
}

#[test]
fn words_that_an_adapter_translates_are_translated() {
    let text = "title: x\nlevel: low\nlogsource: {product: azure, service: signinlogs}\n\
                detection: {s: {AuthenticationRequirement: singleFactorAuthentication, authenticationprotocol: DeviceCode, NetworkLocationDetails: '[]'}, condition: s}";
    let query = file(text)["query"].as_str().unwrap().to_owned();
    for part in [
        "source_product = 'entra'",
        "mfa_used = false",
        "lower(grant_type) = 'device_code'",
        "ext['properties.networkLocationDetails.0.networkType'] IS NULL",
    ] {
        assert!(query.contains(part), "{part}\n{query}");
    }
}

#[test]
fn filters_are_added_as_they_are_written_and_linted() {
    let filter = |targets: &str, condition: &str| {
        format!(
            "---\ntitle: Filter\nlogsource: {{product: vialog}}\nfilter: {{rules: {targets}, sel: {{agent_id|startswith: adm}}, condition: {condition}}}\n"
        )
    };
    let base = rule("s: {tool_name: a}\ncondition: s");
    let with = |filter: &str| imported(&format!("{base}{filter}"));
    let left_out = with(&filter(&format!("[{ID}]"), "not sel"));
    assert!(left_out.rules[0].text.contains("AND NOT COALESCE(lower(agent_id) LIKE 'adm%', false)"), "{}", left_out.rules[0].text);
    assert!(left_out.warnings.is_empty(), "{:?}", left_out.warnings);
    let kept = with(&filter("any", "sel"));
    assert!(kept.rules[0].text.contains("AND lower(agent_id) LIKE 'adm%'"));
    assert!(kept.warnings[0].contains("finds only what the filter names"), "{:?}", kept.warnings);
    let other = with(&filter("[another]", "not sel"));
    assert!(!other.rules[0].text.contains("agent_id LIKE"));
    assert!(other.warnings[0].contains("for no rule"), "{:?}", other.warnings);
    assert!(matches!(fault(&format!("{base}{}", filter("[]", "not sel"))), Fault::Invalid(_)));
}

#[test]
fn rules_that_a_correlation_reads_are_silent_unless_it_generates_them() {
    let base = rule("s: {tool_name: a}\ncondition: s").replace("title: Test", "title: Test\nname: base");
    let correlation = |more: &str| {
        format!(
            "---\ntitle: Many\nlevel: high\ncorrelation: {{type: event_count, rules: [base], group-by: [agent_id], timespan: 5m, condition: {{gte: 2}}{more}}}\n"
        )
    };
    let names = |text: &str| imported(text).rules.into_iter().map(|r| r.name).collect::<Vec<_>>();
    assert_eq!(names(&format!("{base}{}", correlation(""))), ["sigma/many"]);
    assert_eq!(names(&format!("{base}{}", correlation(", generate: true"))), ["sigma/test", "sigma/many"]);
    assert_eq!(names(&format!("{base}{}{}", correlation(""), correlation(", generate: true"))), ["sigma/many", "sigma/many_2"]);
    let chained = correlation("").replace("rules: [base]", "rules: [many]").replace("title: Many", "title: Chain");
    let named = correlation("").replace("title: Many", "title: Many\nname: many");
    assert!(fault(&format!("{base}{named}{chained}")).to_string().contains("a correlation itself"));
    assert!(fault(&correlation("")).to_string().contains("no rule in this text"));
    for (condition, part) in [("base and other", "`other`"), ("1 of them", "anything but names")] {
        let temporal = format!("---\ntitle: T\ncorrelation: {{type: temporal, rules: [base], timespan: 5m, condition: {condition}}}\n");
        assert!(fault(&format!("{base}{temporal}")).to_string().contains(part), "{condition}");
    }
    let alias = correlation(", aliases: {who: {other: agent_id}}").replace("[agent_id]", "[who]");
    assert!(fault(&format!("{base}{alias}")).to_string().contains("alias `who`"));
}

#[test]
fn a_document_without_an_id_always_gets_the_same() {
    let text = rule("s: {tool_name: a}\ncondition: s").replace(&format!("id: {ID}\n"), "");
    let (first, second) = (file(&text)["id"].clone(), file(&text)["id"].clone());
    assert_eq!(first, second);
    let id = first.as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'8', "{id}");
    assert!(imported(&text).warnings[0].contains("no UUID"));
    assert_ne!(file(&text.replace("title: Test", "title: Other"))["id"], first);
}

#[test]
fn no_text_leaves_its_literal_or_is_taken_for_a_parameter() {
    let text = rule("s:\n  tool_name: \"x'; DROP {as_of_us} -- \\x01\\x85\\\\\"\n  \"ext.{k}'y\": b\ncondition: s");
    let text = text.replace("title: Test", &format!("title: {}", serde_json::json!("T {new_from_us} 'q'")));
    let query = file(&text)["query"].as_str().unwrap().to_owned();
    assert!(!query.contains('{'), "{query}");
    assert!(query.contains("'x''; drop ' || chr(123) || 'as_of_us} -- ' || chr(1) || chr(133) || '\\'"), "{query}");
}

#[test]
fn damaged_documents_are_refused_or_read_and_never_a_panic() {
    let corpus = [
        include_str!("testdata/okta.yml"),
        include_str!("testdata/azure.yml"),
        include_str!("testdata/native.yml"),
        include_str!("testdata/correlations.yml"),
    ];
    let mapping = mapping();
    let mut dice = lake::Dice(3);
    let scraps = [
        "",
        "*",
        "|",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "\\",
        ":",
        "- ",
        "not ",
        "null",
        "%",
        "&a ",
        "*a",
        "\n",
        "é",
        "99999999999999999999",
        "(?i)",
        "((",
        "|re",
        "|cidr",
        "0",
    ];
    for round in 0..3_000 {
        let mut text = corpus[round % corpus.len()].to_owned();
        for _ in 0..=dice.roll(3) {
            let at = (0..=dice.roll(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let to = (at..=text.len()).skip(dice.roll(6)).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
            text.replace_range(at..to, dice.pick(&scraps));
        }
        if let Ok(made) = import(&text, &mapping) {
            for rule in made.rules {
                let file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&rule.text).unwrap();
                assert!(file["query"].as_str().is_some_and(|q| q.contains("event_ids")), "{}", rule.text);
            }
        }
    }
}
