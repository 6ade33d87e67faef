//! The chain of hashes through the log.
//!
//! `chain = H(previous, version, kind, schema, offset, time, kept, commitment)` and `commitment = H(salt, text)`, both
//! keyed BLAKE3 under their own key. The text enters only through its salted commitment, so a record whose text and salt
//! are erased still verifies from the stored commitment, and the text cannot be guessed back from it. Length, checksum
//! and flags of the stored form are outside the chain: erasing changes them.

use crate::{ChainValue, Kind, Offset, Schema, Timestamp};

/// The envelope version that enters the chain.
pub(crate) const ENVELOPE_VERSION: u8 = 1;

const CHAIN_KEY: &[u8; 32] = b"scrollback log chain value v1...";
const COMMITMENT_KEY: &[u8; 32] = b"scrollback text commitment v1...";

/// What stands for a text in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commitment(pub(crate) [u8; 32]);

/// The commitment of a text.
pub(crate) fn commitment(salt: &[u8; 16], text: &[u8]) -> Commitment {
    let mut hasher = blake3::Hasher::new_keyed(COMMITMENT_KEY);
    hasher.update(salt).update(text);
    Commitment(*hasher.finalize().as_bytes())
}

/// The fields of a record that its chain value covers, beside the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) kind: Kind,
    pub(crate) schema: Schema,
    pub(crate) offset: Offset,
    pub(crate) time: Timestamp,
    pub(crate) kept: &'a [u8],
}

/// The chain's value after a record that follows `previous`.
pub(crate) fn chain(previous: &ChainValue, link: Link<'_>, commitment: Option<&Commitment>) -> ChainValue {
    // One buffer for the fixed fields: hashing them one update at a time costs more than the hash.
    let mut fixed = [0_u8; 32 + 1 + 2 + 2 + 8 + 8 + 4 + 1];
    fixed[..32].copy_from_slice(&previous.0);
    fixed[32] = ENVELOPE_VERSION;
    fixed[33..35].copy_from_slice(&link.kind.0.to_le_bytes());
    fixed[35..37].copy_from_slice(&link.schema.0.to_le_bytes());
    fixed[37..45].copy_from_slice(&link.offset.0.to_le_bytes());
    fixed[45..53].copy_from_slice(&link.time.0.to_le_bytes());
    fixed[53..57].copy_from_slice(&u32::try_from(link.kept.len()).unwrap_or(u32::MAX).to_le_bytes());
    fixed[57] = u8::from(commitment.is_some());
    let mut hasher = blake3::Hasher::new_keyed(CHAIN_KEY);
    hasher.update(&fixed).update(link.kept);
    if let Some(commitment) = commitment {
        hasher.update(&commitment.0);
    }
    ChainValue(*hasher.finalize().as_bytes())
}
