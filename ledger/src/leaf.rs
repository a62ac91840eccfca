//! The leaf of one row.
//!
//! ```text
//! field  = len16(name) name len32(value) value
//! plain  = SHA-256(0x70 field*)                       plain columns that are not null, by name
//! salt   = SHA-256(0x73 row_salt name), 16 bytes      of one field; row_salt is keyed and stays secret
//! c_f    = SHA-256(0x66 len16(name) name salt value)  one for each sensitive column that is not null
//! leaf   = SHA-256(0x00 plain (len16(name) name c_f)*)
//! ```
//! A salt of 16 bytes cannot be guessed, and leaves room for a short value in the same block of the hash.
//! Columns go in by ascending name, nulls not at all; so a column added later leaves old leaves valid.

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

/// A column's name as leaves hold it, `len16(name) name`: made once for the leaves of many rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(Vec<u8>);

impl FieldName {
    /// Of a column of this name.
    pub fn new(name: &str) -> Self {
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
        Self([&length, name.as_bytes()].concat())
    }

    fn name(&self) -> &[u8] {
        &self.0[2..]
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
    pub fn plain(&mut self, name: &FieldName, value: &[u8]) {
        self.plain.reserve(name.0.len() + 4 + value.len());
        self.plain.extend_from_slice(&name.0);
        self.plain.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.plain.extend_from_slice(value);
    }

    /// Adds a sensitive field by its commitment, which is all that a redacted row still has.
    pub fn commitment(&mut self, name: &FieldName, commitment: &Hash) {
        self.commitments.extend_from_slice(&name.0);
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

/// Salt of one field of a row. It tells nothing of the salts of the row's other fields.
pub fn field_salt(row_salt: &Hash, name: &FieldName) -> Salt {
    let hash = digest(&[&[0x73], row_salt, name.name()]);
    std::array::from_fn(|i| hash[i])
}

/// Salted commitment to one sensitive field. Without the salt a low-entropy value cannot be guessed.
pub fn commit_field(name: &FieldName, salt: &Salt, value: &[u8]) -> Hash {
    digest(&[&[0x66], &name.0, salt, value])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(fields: &[(&str, &str)], sensitive: &[(&str, &str)]) -> Hash {
        let mut builder = LeafBuilder::default();
        fields.iter().for_each(|(n, v)| builder.plain(&FieldName::new(n), v.as_bytes()));
        for (name, value) in sensitive {
            let name = FieldName::new(name);
            builder.commitment(&name, &commit_field(&name, &[1; 16], value.as_bytes()));
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
        let name = FieldName::new("c");
        let commitment = commit_field(&name, &[1; 16], b"3");
        let mut redacted = LeafBuilder::default();
        redacted.plain(&FieldName::new("a"), b"1");
        redacted.commitment(&name, &commitment);
        assert_eq!(leaf(&[("a", "1")], &[("c", "3")]), redacted.finish());
    }
}
