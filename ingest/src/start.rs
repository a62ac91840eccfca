//! Where to start reading a partition, given what the table recorded and what the broker still has. Pure.

/// What to do with a partition that was assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Read from here.
    At(i64),
    /// Offsets `(recorded, low)` are gone from the broker before we read them: stop, do not jump.
    Lost {
        /// First offset that is gone.
        first: i64,
        /// First offset that the broker still has.
        low: i64,
    },
    /// The table is ahead of the broker: the topic was made anew, or another cluster answers. Stop.
    Ahead {
        /// Last offset that the table recorded.
        recorded: i64,
        /// Next offset that the broker will write.
        high: i64,
    },
}

/// Decides for one partition. `low` is the first offset of the broker, `high` the next it will write.
pub fn decide(recorded: Option<i64>, low: i64, high: i64) -> Start {
    match recorded {
        None => Start::At(low),
        Some(recorded) if recorded + 1 > high => Start::Ahead { recorded, high },
        Some(recorded) if recorded + 1 < low => Start::Lost { first: recorded + 1, low },
        Some(recorded) => Start::At(recorded + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_goes_on_where_the_table_ends_and_never_jumps() {
        assert_eq!(decide(None, 5, 9), Start::At(5));
        assert_eq!(decide(Some(7), 5, 9), Start::At(8));
        assert_eq!(decide(Some(8), 5, 9), Start::At(9));
        assert_eq!(decide(Some(4), 5, 9), Start::At(5));
        assert_eq!(decide(Some(3), 5, 9), Start::Lost { first: 4, low: 5 });
        assert_eq!(decide(Some(9), 5, 9), Start::Ahead { recorded: 9, high: 9 });
    }
}
