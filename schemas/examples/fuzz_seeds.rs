//! `fuzz_seeds FOLDER` writes a seed of the fuzz target `decode` for every record that an adapter is tested with: a line with
//! the adapter's name, then the record.

#![allow(clippy::print_stdout, reason = "a tool")]

use std::path::Path;

use schemas::adapters::Adapter;
use schemas::mapping::check;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args().nth(1) else { return Err(std::io::Error::other("fuzz_seeds FOLDER")) };
    let adapters = Adapter::all();
    let mut written = 0;
    for adapter in &adapters {
        for test in adapter.tests() {
            let seed = [adapter.name().as_bytes(), b"\n", &check::bytes_of(&test.record)].concat();
            std::fs::write(Path::new(&folder).join(format!("{}-{written}", adapter.name())), seed)?;
            written += 1;
        }
    }
    println!("fuzz: {written} seeds of {} adapters", adapters.len());
    Ok(())
}
