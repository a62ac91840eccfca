//! SHA-256 of a text in parts. A leaf takes some twenty hashes of a few short parts each, and a hasher that is fed part by
//! part spends more on its bookkeeping than on them: short ones are laid out in their blocks here, end mark and length
//! included (FIPS 180-4 clause 5.1.1), and hashed at once.
//!
//! Limits: 119 bytes, which is two blocks; longer texts are fed in parts.

use sha2::{Digest, Sha256, compress256};

use crate::Hash;

const BLOCK: usize = 64;
/// What stands after the text in its last block: the mark and the length.
const END: usize = 9;
/// FIPS 180-4 clause 5.3.3.
const START: [u32; 8] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hash of these parts, one after the other.
pub(crate) fn digest(parts: &[&[u8]]) -> Hash {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length + END > 2 * BLOCK {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        return hash.finalize().into();
    }
    let mut text = [0_u8; 2 * BLOCK];
    let mut at = 0;
    for part in parts {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    text[at] = 0x80;
    let used = (length + END).div_ceil(BLOCK);
    text[used * BLOCK - 8..used * BLOCK].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    let mut state = START;
    for block in &text.as_chunks::<BLOCK>().0[..used] {
        compress256(&mut state, std::slice::from_ref(block.into()));
    }
    let mut hash = Hash::default();
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
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
