//! Integration tests: the built binary and real peers, from outside.
//!
//! `./dev test` builds the binary first and runs this. A test that cannot run here (no `../shared`, no real
//! Kafka) prints a line that starts with `SKIP`, and `.ci/run` counts those lines.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says why it was skipped")]

mod acts;
mod bucket;
mod calls;
mod canaries;
mod checker;
mod commit_faults;
mod detection;
mod doctor;
mod exactly_once;
mod foreign;
mod hostile_lake;
mod house;
mod import;
mod privacy;
mod real_kafka;
mod real_kafka_faults;
mod real_kafka_hostile;
mod real_kafka_scene;
mod real_kafka_topics;
mod running;
mod service;
mod support;
mod two_versions;
mod upkeep_faults;
