//! The layout is what ARCHITECTURE.md says: who depends on whom, where external crates live, how long files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::repository;

/// Crates of ours that each crate may use.
const EDGES: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("ledger", &[]),
    ("lake", &["schemas", "ledger"]),
    ("ingest", &["lake", "schemas"]),
    ("detector", &["lake", "schemas"]),
    ("query", &["lake", "schemas"]),
    ("vialog", &["schemas", "lake", "ingest", "detector", "query"]),
];

/// External crates that have one home (tests apart).
const HOMES: &[(&str, &[&str])] = &[
    ("rdkafka", &["ingest"]),
    ("parquet", &["lake", "query"]),
    ("datafusion", &["lake", "detector", "query"]),
    ("anyhow", &["vialog"]),
    ("clap", &["vialog"]),
    ("toml", &["vialog"]),
    ("hmac", &["schemas"]),
    ("regex", &["schemas", "detector"]),
];

const MAX_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

fn dependencies(krate: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join(krate).join("Cargo.toml")).unwrap();
    let section = text.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

#[test]
fn crates_depend_only_downwards_and_never_on_a_neighbour() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for (krate, allowed) in EDGES {
        let used = dependencies(krate);
        let wrong: Vec<_> = used.iter().filter(|d| ours.contains(d.as_str()) && !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{krate} may not depend on {wrong:?}");
    }
}

#[test]
fn external_crates_stay_at_home() {
    for (external, homes) in HOMES {
        for (krate, _) in EDGES {
            assert!(
                !dependencies(krate).contains(*external) || homes.contains(krate),
                "{krate} may not use {external}; its home is {homes:?}"
            );
        }
    }
}

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = EDGES.iter().map(|(krate, _)| repository().join(krate).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.insert(path.clone(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn is_table(path: &Path) -> bool {
    // The list of columns is data: one line a column.
    path.ends_with("schemas/src/columns.rs")
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no header", path.display());
        let lines = without_tests(&text).lines().count();
        assert!(lines <= MAX_LINES || is_table(&path), "{} has {lines} lines without its tests, at most {MAX_LINES}", path.display());
    }
}

#[test]
fn functions_are_short() {
    for (path, text) in sources() {
        let mut start = None;
        for (number, line) in without_tests(&text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let opens =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn ", "pub async fn "].iter().any(|p| code.starts_with(p));
            if opens && start.is_none() {
                start = Some((number, indent));
            }
            if let Some((first, depth)) = start
                && line.starts_with(&format!("{}}}", " ".repeat(depth)))
                && indent == depth
            {
                let length = number - first + 1;
                assert!(length <= MAX_FUNCTION_LINES, "{}:{} is a function of {length} lines", path.display(), first + 1);
                start = None;
            }
        }
    }
}

#[test]
fn nothing_is_unsafe_but_what_one_file_asks_of_the_allocator() {
    let is_unsafe =
        |text: &str| ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("].iter().any(|form| text.contains(form));
    let found: Vec<PathBuf> = sources().into_iter().filter(|(_, text)| is_unsafe(text)).map(|(path, _)| path).collect();
    assert_eq!(found, [repository().join("vialog/src/allocator.rs")]);
}

#[test]
fn no_rule_is_named_in_rust_and_no_todo_is_left() {
    let rules = repository().join("detector/rules");
    let mut names = Vec::new();
    for family in std::fs::read_dir(rules).unwrap().map(|family| family.unwrap().path()) {
        for rule in std::fs::read_dir(&family).unwrap().map(|rule| rule.unwrap().path()) {
            let part = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            names.push(format!("{}/{}", part(&family), part(&rule)));
        }
    }
    assert!(names.len() > 40);
    for (path, text) in sources() {
        for name in &names {
            assert!(!text.contains(name.as_str()), "{} names the rule {name}", path.display());
        }
        assert!(!text.contains(concat!("TO", "DO")), "{} has one", path.display());
    }
}

#[test]
fn every_column_has_its_line_in_the_documentation() {
    let text = std::fs::read_to_string(repository().join("docs/events.md")).unwrap();
    let columns = std::fs::read_to_string(repository().join("schemas/src/columns.rs")).unwrap();
    let names = columns.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let class = words.next()?;
        words.next()?;
        matches!(class, "plain" | "sensitive").then(|| words.next().unwrap_or_default().trim_end_matches(':').to_owned())
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() > 150, "only {} columns were found", names.len());
    for name in names {
        assert!(text.contains(&format!("| `{name}` |")), "{name} has no line in docs/events.md");
    }
}

/// Licences that a dependency may have; see docs/decisions/0005-dependency-policy.md.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "MIT-0",
    "CDLA-Permissive-2.0",
    "bzip2-1.0.6",
    "LLVM-exception",
];

#[test]
fn every_dependency_has_a_licence_that_the_policy_allows() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // What other systems would need is not here.
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        // One side of an `OR` is enough; all parts of an `AND` are needed.
        let allowed = licence.replace('/', " OR ").split(" OR ").any(|side| {
            side.split([' ', '(', ')']).filter(|word| !matches!(*word, "" | "AND" | "WITH")).all(|word| LICENCES.contains(&word))
        });
        assert!(allowed, "{} has the licence {licence}", package["name"]);
        let source = package["source"].as_str().unwrap_or("");
        assert!(
            source.is_empty() || source.contains("index.crates.io") || source.contains("crates.io-index"),
            "{} comes from {source}",
            package["name"]
        );
    }
}

#[test]
fn the_compose_file_names_only_what_there_is() {
    let text = std::fs::read_to_string(repository().join("docker-compose.yml")).unwrap();
    let file: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap();
    let services = file["services"].as_object().unwrap();
    for (name, service) in services {
        assert!(
            service["image"].is_string() || repository().join(service["build"].as_str().unwrap()).join("Dockerfile").is_file(),
            "{name}"
        );
        for needed in service["depends_on"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(services.contains_key(needed), "{name} depends on {needed}");
        }
        for volume in
            service["volumes"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).filter(|v| v.starts_with('.'))
        {
            assert!(repository().join(volume.split(':').next().unwrap()).is_file(), "{volume}");
        }
    }
    let config = std::fs::read_to_string(repository().join("docker/vialog.toml")).unwrap();
    for topic in config.lines().filter_map(|l| l.strip_prefix("topic = \"")).map(|l| l.trim_end_matches('"')) {
        assert!(text.contains(topic), "nobody makes the topic {topic}");
    }
    for service in ["ingest", "producer"] {
        let args: Vec<&str> = services[service]["command"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str).collect();
        let output = crate::support::vialog(&[&args[..1], &["--help"]].concat());
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(args.iter().filter(|a| a.starts_with("--")).all(|option| help.contains(option)), "{service}: {args:?}");
    }
}
