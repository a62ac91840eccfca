//! Bytes to hashes to proofs: leaves, Merkle trees (RFC 6962), seals, inclusion proofs and their check.
//!
//! No IO, no clock, and nothing of the other crates: whoever can read bytes can verify with this.
//!
//! A *leaf* commits to one row: one hash over its plain columns, and a salted commitment for each
//! sensitive field, so a field can be redacted later (its commitment stays) while the leaf still
//! verifies. A *seal* commits to one batch: ranges of offsets, counts, and the root over the leaves of
//! every row of the batch in (stream, incarnation, partition, offset, record index) order.
//!
//! Limits: a batch has at most 2^31 rows; a value 2^32 - 1 bytes.

mod leaf;
mod seal;
mod sha;
mod tree;

pub use leaf::{ColumnTag, Commitment, LeafBuilder, RowKey, Salt, commit_field};
pub use seal::{Range, SEAL_FORMAT, Seal, SealError};
pub use tree::{inclusion_proof, node_hash, root, verify_inclusion};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a lowercase or uppercase hex text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
