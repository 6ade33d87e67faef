//! The one way values become bytes: bincode 1.3.3, fixed-width integers, little endian, bounded, no trailing bytes.
//!
//! `bincode::serialize` and `bincode::DefaultOptions` differ in integer width and in what they do with trailing bytes,
//! so nothing outside this module names bincode. Structs that pass through here are frozen once released: bincode does
//! not see field names, so a changed field is a new schema.

use bincode::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most bytes one encoded part of a record may have: a 64 KiB body, a name and their lengths fit twice over.
pub const PART_BYTES_MAX: u64 = 192 * 1024;

/// A value could not be encoded, or bytes are not an encoding of the wanted type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(#[from] bincode::Error);

fn codec(limit: u64) -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .reject_trailing_bytes()
        .with_limit(limit)
}

/// Encodes one part of a record.
///
/// # Errors
/// When the encoding would be larger than [`PART_BYTES_MAX`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(codec(PART_BYTES_MAX).serialize(value)?)
}

/// Decodes one part of a record; string slices borrow from `bytes`.
///
/// # Errors
/// When `bytes` are too short, too long, larger than [`PART_BYTES_MAX`] or not an encoding of `T`.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    // bincode does not hold a slice against the limit.
    if bytes.len() as u64 > PART_BYTES_MAX {
        return Err(bincode::Error::new(bincode::ErrorKind::SizeLimit).into());
    }
    Ok(codec(PART_BYTES_MAX).deserialize(bytes)?)
}

/// Decodes the value that `bytes` begin with, and tells how many bytes it takes.
///
/// # Errors
/// When they do not begin with an encoding of `T` of at most [`PART_BYTES_MAX`] bytes.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let mut rest = bytes;
    let value = codec(PART_BYTES_MAX).allow_trailing_bytes().deserialize_from(&mut rest)?;
    Ok((value, bytes.len() - rest.len()))
}

/// Encodes a value that is not a record's part (a checkpoint's section, a vault entry), without a bound.
///
/// # Errors
/// When the value cannot be serialized at all.
pub fn encode_unbounded<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(codec(u64::MAX).serialize(value)?)
}

/// Decodes a value that is not a record's part. Reading from a slice bounds every allocation by the slice's length.
///
/// # Errors
/// When `bytes` are not exactly one encoding of `T`.
pub fn decode_unbounded<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(codec(limit).deserialize(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_bounded_and_other_values_are_not() {
        let long = vec![7_u8; PART_BYTES_MAX as usize];
        // A length of eight bytes comes before the bytes.
        assert!(encode(&long).is_err());
        let longest = long[..long.len() - 8].to_vec();
        let bytes = encode(&longest).unwrap();
        assert_eq!(bytes.len() as u64, PART_BYTES_MAX);
        assert_eq!(decode::<Vec<u8>>(&bytes).unwrap(), longest);
        let bytes = encode_unbounded(&long).unwrap();
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert_eq!(decode_unbounded::<Vec<u8>>(&bytes).unwrap(), long);
    }

    #[test]
    fn only_a_prefix_may_be_followed_by_something() {
        let bytes = [encode(&(3_u16, true)).unwrap(), vec![9, 9]].concat();
        assert_eq!(decode_prefix::<(u16, bool)>(&bytes).unwrap(), ((3, true), 3));
        assert!(decode::<(u16, bool)>(&bytes).is_err());
        assert!(decode_unbounded::<(u16, bool)>(&bytes).is_err());
        assert!(decode_prefix::<(u16, bool)>(&bytes[..2]).is_err());
    }
}
