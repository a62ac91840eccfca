//! The leaf of one row.
//!
//! ```text
//! tag    = SHA-256(0x6e name), 4 bytes                what stands for a column's name; no two columns have the same
//! plain  = SHA-256(0x70 (tag len32(value) value)*)    plain columns that are not null, by name
//! salt   = AES-128(row_key, tag 0{12}), 16 bytes      of one field; row_key stays secret
//! c_f    = SHA-256(0x66 salt value)                   one for each sensitive column that is not null
//! leaf   = SHA-256(0x00 plain (tag c_f)*)
//! ```
//! A salt of 16 bytes cannot be guessed, and leaves room for a value as long as a UUID in the same block of the hash; what
//! column a commitment is of, the leaf says. Columns go in by ascending name, nulls not at all; so a column added later leaves
//! old leaves valid.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use crate::Hash;
use crate::sha::digest;

/// Salt of one field.
pub type Salt = [u8; 16];

/// Commitment to one sensitive field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// Column name.
    pub name: String,
    /// `c_f` above.
    pub hash: Hash,
}

/// What stands for a column's name in leaves: made once for the leaves of many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnTag([u8; 4]);

impl ColumnTag {
    /// Of a column of this name.
    pub fn new(name: &str) -> Self {
        let hash = digest(&[&[0x6e], name.as_bytes()]);
        Self(std::array::from_fn(|i| hash[i]))
    }
}

/// The secret of one row, from which come the salts of its fields.
pub struct RowKey(Aes128);

impl std::fmt::Debug for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowKey(secret)")
    }
}

impl RowKey {
    /// From 16 secret bytes, which no other row has.
    pub fn new(secret: &[u8; 16]) -> Self {
        Self(Aes128::new(secret.into()))
    }

    /// Salt of one field of the row. It tells nothing of the salts of the row's other fields.
    pub fn salt(&self, column: ColumnTag) -> Salt {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&column.0);
        let block = &mut block.into();
        self.0.encrypt_block(block);
        (*block).into()
    }
}

/// Builds leaves, one after the other; fields must come in ascending order of their names.
#[derive(Debug, Clone)]
pub struct LeafBuilder {
    plain: Vec<u8>,
    commitments: Vec<u8>,
}

impl Default for LeafBuilder {
    fn default() -> Self {
        Self { plain: vec![0x70], commitments: Vec::new() }
    }
}

impl LeafBuilder {
    /// Adds a plain field.
    pub fn plain(&mut self, column: ColumnTag, value: &[u8]) {
        let [a, b, c, d] = column.0;
        let [e, f, g, h] = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.plain.extend_from_slice(&[a, b, c, d, e, f, g, h]);
        self.plain.extend_from_slice(value);
    }

    /// Adds a sensitive field by its commitment, which is all that a redacted row still has.
    pub fn commitment(&mut self, column: ColumnTag, commitment: &Hash) {
        self.commitments.extend_from_slice(&column.0);
        self.commitments.extend_from_slice(commitment);
    }

    /// The leaf hash; the next leaf begins.
    pub fn finish(&mut self) -> Hash {
        let plain = digest(&[&self.plain]);
        let leaf = digest(&[&[0x00], &plain, &self.commitments]);
        self.plain.truncate(1);
        self.commitments.clear();
        leaf
    }
}

/// Salted commitment to one sensitive field. Without the salt a low-entropy value cannot be guessed.
pub fn commit_field(salt: &Salt, value: &[u8]) -> Hash {
    digest(&[&[0x66], salt, value])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(fields: &[(&str, &str)], sensitive: &[(&str, &str)]) -> Hash {
        let mut builder = LeafBuilder::default();
        fields.iter().for_each(|(n, v)| builder.plain(ColumnTag::new(n), v.as_bytes()));
        for (name, value) in sensitive {
            builder.commitment(ColumnTag::new(name), &commit_field(&[1; 16], value.as_bytes()));
        }
        builder.finish()
    }

    #[test]
    fn a_leaf_changes_with_any_field_and_with_where_a_value_stands() {
        let base = leaf(&[("a", "1"), ("b", "2")], &[("c", "3")]);
        assert_ne!(base, leaf(&[("a", "12"), ("b", "")], &[("c", "3")]));
        assert_ne!(base, leaf(&[("a", "1"), ("b", "2")], &[("c", "4")]));
        assert_ne!(base, leaf(&[("a", "1"), ("b", "2")], &[("d", "3")]));
    }

    #[test]
    fn a_redacted_field_leaves_the_leaf_valid() {
        let commitment = commit_field(&[1; 16], b"3");
        let mut redacted = LeafBuilder::default();
        redacted.plain(ColumnTag::new("a"), b"1");
        redacted.commitment(ColumnTag::new("c"), &commitment);
        assert_eq!(leaf(&[("a", "1")], &[("c", "3")]), redacted.finish());
    }

    #[test]
    fn salts_differ_by_row_and_by_column_and_come_again() {
        let salt = |secret: u8, name: &str| RowKey::new(&[secret; 16]).salt(ColumnTag::new(name));
        assert_eq!(salt(1, "a"), salt(1, "a"));
        assert_ne!(salt(1, "a"), salt(1, "b"));
        assert_ne!(salt(1, "a"), salt(2, "a"));
    }
}
