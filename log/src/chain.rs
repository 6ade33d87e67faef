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
pub struct Commitment(pub [u8; 32]);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link<'static> {
        Link { kind: Kind(6), schema: Schema(1), offset: Offset(2), time: Timestamp(3), kept: b"kept" }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Recomputed from docs/format.md with another implementation of BLAKE3.
    #[test]
    fn the_values_are_these() {
        let committed = commitment(&[7; 16], b"hello");
        assert_eq!(hex(&committed.0), "433a26bcdb377058722e8779c1a9750aa0725ab022f73dfc01727bc6834063c2");
        assert_eq!(
            hex(&chain(&ChainValue([9; 32]), link(), Some(&committed)).0),
            "2d3c76fa2e55fb6c34c23274df018a3f96a83d7c688918f22f8e348e4b5b78cc"
        );
        assert_eq!(
            hex(&chain(&ChainValue([9; 32]), link(), None).0),
            "9fc84dbe0a9f6b9580de4db97dfa214f865d73217c4fd3ca3d2ba81fa8f7831b"
        );
    }

    #[test]
    fn every_field_counts() {
        let of = |previous, link, commitment| chain(&ChainValue([previous; 32]), link, commitment);
        let (one, other) = (Commitment([1; 32]), Commitment([2; 32]));
        let values = [
            of(0, link(), None),
            of(1, link(), None),
            of(0, Link { kind: Kind(7), ..link() }, None),
            of(0, Link { schema: Schema(2), ..link() }, None),
            of(0, Link { offset: Offset(3), ..link() }, None),
            of(0, Link { time: Timestamp(4), ..link() }, None),
            of(0, Link { kept: b"kepp", ..link() }, None),
            of(0, Link { kept: b"kep", ..link() }, None),
            of(0, link(), Some(&one)),
            of(0, link(), Some(&other)),
            // What a commitment's bytes would be as the end of the kept part.
            of(0, Link { kept: &[b"kept".as_slice(), &[1; 32]].concat(), ..link() }, None),
        ];
        let different: std::collections::HashSet<[u8; 32]> = values.iter().map(|value| value.0).collect();
        assert_eq!(different.len(), values.len());
    }
}
