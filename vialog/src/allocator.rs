//! The allocator of the binary, and the one thing that is asked of it.
//!
//! Many small texts live for one batch, and mimalloc is made for them. It gives memory back to the system a second after it was
//! last used, and ingest, whose batches come a second apart, would have each of them made ready anew: on a virtual machine a
//! tenth of the time. There is no safe function for it, and the environment is read before `main`; so this is the only file with `unsafe`.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in `mimalloc.h` of version 3, which the crate does not name.
const PURGE_DELAY: mi_option_t = 15;
/// How long memory is kept that nothing uses, milliseconds.
const KEPT_MS: i64 = 10_000;

/// Keeps memory from batch to batch, unless `MIMALLOC_PURGE_DELAY` says otherwise. For a process that has no other thread yet.
#[allow(unsafe_code)]
pub(crate) fn keep_memory() {
    // SAFETY: it stores a number in a table of the allocator and takes no pointer; an option that it does not know it leaves alone.
    // The store is not made for several threads, and its callers have none yet.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    #[test]
    #[allow(unsafe_code)]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above.
        let now = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(now(), 1_000, "the delay of this version of the allocator; is MIMALLOC_PURGE_DELAY set?");
        keep_memory();
        assert_eq!(now(), KEPT_MS);
    }
}
