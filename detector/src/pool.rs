//! Jobs beside each other, each on the runtime of its thread: rules are tried in lakes of their own, which share nothing.
//!
//! Not for the detector itself, whose rules share a session. Limits: as many threads as asked for, at most one a job.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::runtime::{Builder, Runtime};

use crate::DetectorError;

/// Does one job; the number is its place. After `Break` no other is begun.
pub(crate) type Work<'a, J> = dyn Fn(&Runtime, usize, &J) -> Result<ControlFlow<()>, DetectorError> + Sync + 'a;

/// How many jobs the machine does at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does every job.
pub(crate) fn each<J: Sync>(jobs: &[J], workers: usize, work: &Work<'_, J>) -> Result<(), DetectorError> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || -> Result<(), DetectorError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| DetectorError::File { path: "the runtime".into(), source })?;
        while !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { break };
            if work(&runtime, number, job)?.is_break() {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers.clamp(1, jobs.len().max(1))).map(|_| scope.spawn(run)).collect();
        handles.into_iter().try_for_each(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
