//! SHA-256 of a text in parts. A leaf takes some forty hashes of a few short parts each, and a hasher that is fed part by
//! part spends more on its bookkeeping than on them: short ones are put together first.
//!
//! Limits: 128 bytes are put together; longer texts are fed in parts.

use sha2::{Digest, Sha256};

use crate::Hash;

const SHORT: usize = 128;

/// The hash of these parts, one after the other.
pub(crate) fn digest(parts: &[&[u8]]) -> Hash {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > SHORT {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        return hash.finalize().into();
    }
    let mut text = [0_u8; SHORT];
    let mut at = 0;
    for part in parts {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Sha256::digest(&text[..length]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256_at_every_length() {
        let text: Vec<u8> = (0..=255).cycle().take(600).collect();
        for length in 0..text.len() {
            let (a, b) = text[..length].split_at(length / 3);
            assert_eq!(digest(&[a, b]), <Hash>::from(Sha256::digest(&text[..length])), "{length}");
        }
    }
}
