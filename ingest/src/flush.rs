//! When a batch is due. Pure: sizes and ages come in.

/// Limits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPolicy {
    /// Age of the oldest record in the batch, milliseconds.
    pub age_ms: i64,
    /// Size of the batch, bytes.
    pub size_bytes: usize,
}

impl Default for FlushPolicy {
    /// One second, 64 MiB.
    fn default() -> Self {
        Self { age_ms: 1_000, size_bytes: 64 << 20 }
    }
}

impl FlushPolicy {
    /// Whether a batch of this size and age is to be committed now. A backlog flushes by size.
    pub fn is_due(&self, size_bytes: usize, age_ms: i64) -> bool {
        size_bytes >= self.size_bytes || age_ms >= self.age_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_due_by_size_or_by_age() {
        let policy = FlushPolicy { age_ms: 1_000, size_bytes: 100 };
        assert!(policy.is_due(100, 0));
        assert!(policy.is_due(1, 1_000));
        assert!(!policy.is_due(99, 999));
    }
}
