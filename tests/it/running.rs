//! A process of the program that runs beside a test: it is killed when the test lets go of it, however the test ends, and
//! its own end is waited for only so long.

use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::support::{binary, wait_until};

pub(crate) struct Running(Child);

impl Running {
    /// Starts a command, which reads nothing.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// A worker that runs until it is told to end; it logs beside its configuration.
    pub(crate) fn worker(config: &Path) -> Self {
        Self::worker_with(config, &[])
    }

    /// The same with more arguments.
    pub(crate) fn worker_with(config: &Path, more: &[&str]) -> Self {
        Self::worker_of(&binary(), config, more)
    }

    /// The same of another version of the program.
    pub(crate) fn worker_of(program: &Path, config: &Path, more: &[&str]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(config.with_extension("log")).unwrap();
        let mut command = Command::new(program);
        command.args(["ingest", "--config", config.to_str().unwrap()]).args(more).env("RUST_LOG", "info");
        Self::start(command.stdout(Stdio::null()).stderr(log))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it prints, where the command pipes it.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Kills it, unless it has ended.
    pub(crate) fn kill(&mut self) {
        // One that has ended refuses, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn is_there(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// How it ended, which it does by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of a process", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Asks it to end; how it did.
    #[track_caller]
    pub(crate) fn told_to_end(self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Asks it to end, which it must do well.
    #[track_caller]
    pub(crate) fn ends_well(self) {
        assert!(self.told_to_end().success(), "a process that is asked to end ends well");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
