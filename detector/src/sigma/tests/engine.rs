//! The rule files of the corpus through the real engine: `vialog rules test`.

use std::process::Command;

use super::lake::program;
use super::{imported, kinds};

const CORPUS: [&str; 5] = [
    include_str!("../testdata/okta.yml"),
    include_str!("../testdata/azure.yml"),
    include_str!("../testdata/gcp.yml"),
    include_str!("../testdata/native.yml"),
    include_str!("../testdata/correlations.yml"),
];

#[test]
fn every_rule_of_the_corpus_has_tests_and_passes_them() {
    let rules: Vec<_> = CORPUS.iter().flat_map(|text| imported(text).rules).collect();
    assert_eq!(rules.len(), 22);
    for rule in &rules {
        assert!(!rule.text.contains("\ntests: []"), "{}", rule.name);
        let file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&rule.text).unwrap();
        let columns = file["required_fields"].as_sequence().unwrap();
        assert!(columns.iter().all(|c| kinds().contains_key(c.as_str().unwrap())), "{}", rule.name);
    }
    let Some(binary) = program() else {
        println!("SKIP sigma against the engine: the program is not built");
        return;
    };
    let folder = std::env::temp_dir().join(format!("sigma-rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for rule in &rules {
        std::fs::write(folder.join(rule.name.replace('/', "_") + ".yaml"), &rule.text).unwrap();
    }
    let output = Command::new(binary).args(["rules", "test"]).arg(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("22 rules"), "{said}");
}
