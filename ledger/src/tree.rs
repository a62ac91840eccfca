//! Merkle trees of RFC 6962 clause 2.1 over leaf hashes.
//!
//! The leaf prefix 0x00 is in the leaf hash already; inner nodes are `SHA-256(0x01 left right)`.

use sha2::{Digest, Sha256};

use crate::Hash;

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new_with_prefix([0x01]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// Root over the leaves; of none it is the hash of nothing (RFC 6962 clause 2.1).
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// Audit path of leaf `index` (RFC 6962 clause 2.1.1); `None` when there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut path, sibling) =
        if index < at { (inclusion_proof(left, index)?, root(right)) } else { (inclusion_proof(right, index - at)?, root(left)) };
    path.push(sibling);
    Some(path)
}

/// Whether `leaf` is leaf `index` of the tree of `size` leaves with `root` (RFC 9162 clause 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: usize, size: usize, path: &[Hash], expected_root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node.is_multiple_of(2) && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node /= 2;
        last /= 2;
    }
    last == 0 && hash == *expected_root
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// The eight entries and roots of the tests of certificate-transparency (Apache-2.0), used by every
    /// implementation of RFC 6962.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(n: usize) -> Vec<Hash> {
        ENTRIES[..n].iter().map(|e| Sha256::new_with_prefix([0]).chain_update(e).finalize().into()).collect()
    }

    #[test]
    fn roots_are_those_of_the_published_vectors() {
        for n in 1..=8 {
            assert_eq!(hex(&root(&leaves(n))), ROOTS[n - 1], "{n} leaves");
        }
    }

    #[test]
    fn every_leaf_of_every_size_proves_and_nothing_else_does() {
        for n in 1..=8 {
            let all = leaves(n);
            let head = root(&all);
            for index in 0..n {
                let path = inclusion_proof(&all, index).unwrap();
                assert!(verify_inclusion(&all[index], index, n, &path, &head));
                for other in (0..n).filter(|o| *o != index) {
                    assert!(!verify_inclusion(&all[index], other, n, &path, &head) || n == 1);
                }
                assert!(!verify_inclusion(&[9; 32], index, n, &path, &head));
                assert!(!verify_inclusion(&all[index], index, n + 8, &path, &head));
            }
        }
    }
}
