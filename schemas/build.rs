//! Lists the files of `sources`, so that adding one needs no line of Rust: mapping files, and tests of adapters that are code.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=sources");
    let mut files: Vec<_> = fs::read_dir("sources")?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
    files.sort();
    let (mut mappings, mut tests) = (String::from("&[\n"), String::from("&[\n"));
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Not where the build ran, but where the crate lies when it is compiled: what was built in another place is kept.
        let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/sources/{name}\")");
        if let Some(name) = name.strip_suffix(".tests.yaml") {
            writeln!(tests, "({name:?}, include_str!({path})),")?;
        } else if let Some(name) = name.strip_suffix(".yaml") {
            writeln!(mappings, "({name:?}, include_str!({path})),")?;
        }
    }
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("mappings.rs"), mappings + "]\n")?;
    fs::write(Path::new(&out).join("tests.rs"), tests + "]\n")?;
    Ok(())
}
