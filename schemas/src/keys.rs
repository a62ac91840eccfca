//! The secret keys of one lake and what they are used for: ids, MACs, salts and tokens.
//!
//! All are derived from one 32-byte master key, so there is one thing to keep and to rotate. Each
//! use has its own label; a value under one label says nothing about the same value under another.
//! Plain hashes are not used on anything that was redacted: a plain SHA-256 of a payload lets
//! anyone who can guess the secret in it confirm the guess.

use hmac::{Hmac, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Keys of one lake.
#[derive(Clone)]
pub struct Keys {
    id: HmacSha256,
    payload: HmacSha256,
    salt: HmacSha256,
    token: HmacSha256,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl Keys {
    /// Derives the keys from the master key.
    pub fn from_master(master: &[u8; 32]) -> Self {
        let master = keyed(master);
        // Keyed once: half of the cost of an HMAC of a short text is its key.
        let derive = |label: &str| keyed(&mac(&master, &[b"vialog/v1/", label.as_bytes()]));
        Self { id: derive("id"), payload: derive("payload"), salt: derive("salt"), token: derive("token") }
    }

    /// Names the key without telling anything of it.
    pub fn id(&self) -> String {
        hex(&mac(&self.id, &[b"key id"])[..8])
    }

    /// Keyed hash for ids of content without a native id.
    pub fn content_id(&self, kind: &str, canonical: &str) -> String {
        hex(&mac(&self.id, &[kind.as_bytes(), b"\0", canonical.as_bytes()])[..16])
    }

    /// Keyed hash of a payload, of parameters or of a result: of its SHA-256, which is needed anyway and costs most. 16 bytes: it tells
    /// equal from other, and who has no key cannot look for two that meet.
    pub fn payload_mac(&self, sha256: &[u8; 32]) -> Vec<u8> {
        mac(&self.payload, &[sha256])[..16].to_vec()
    }

    /// Keyed hash that names an imported file by its content and by how it was read.
    pub fn file_id(&self, bytes_digest: &[u8], read_as: &[&str]) -> String {
        let mut parts: Vec<&[u8]> = vec![b"file\0", bytes_digest];
        read_as.iter().for_each(|part| parts.extend([part.as_bytes(), b"\0"]));
        hex(&mac(&self.id, &parts)[..16])
    }

    /// Secret of one row, from which come the salts of its sensitive fields.
    pub fn row_secret(&self, row_identity: &str) -> [u8; 16] {
        let hash = mac(&self.salt, &[row_identity.as_bytes()]);
        std::array::from_fn(|i| hash[i])
    }

    /// What stands where a value was redacted: equal values of one class and tenant have equal tokens.
    pub fn token(&self, tenant: &str, class: &str, value: &str) -> String {
        let digest = mac(&self.token, &[tenant.as_bytes(), b"\0", class.as_bytes(), b"\0", value.as_bytes()]);
        format!("tok1.{class}.1.{}", hex(&digest[..13]))
    }
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(key: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = key.clone();
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[(b >> 4) as usize] as char, DIGITS[(b & 15) as usize] as char]).collect()
}
