//! The one binary: reads the command line, opens what a command needs, prints, and sets the exit code.
//!
//! Exit codes: 0 done, 1 a test, check or verification failed, 2 usage, configuration or SQL error.

mod alerts;
mod allocator;
mod args;
mod baselines;
mod canary;
mod cli;
mod config;
mod demo;
mod detection;
mod doctor;
mod generate;
mod matrix;
mod promotion;
mod report;
mod rules;
mod sources;
mod tell;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Cli::parse();
    let level = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(level).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
    match cli::run(args) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell::error(&error);
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is)
}
