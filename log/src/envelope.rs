//! One record's bytes: a fixed, hand-written layout that outlives every codec. docs/format.md draws it.
//!
//! ```text
//! 0   u32  len       bytes after the checksum
//! 4   u32  crc32     of all that follows
//! 8   u8   version   1
//! 9   u8   flags     bit 0: has text; bit 1: text erased
//! 10  u16  kind
//! 12  u16  schema
//! 14  u64  offset
//! 22  i64  time      microseconds, UTC
//! 30  u32  tag       of the chain's value after this record
//! 34  u32  kept_len
//! 38       kept
//!          has text:    16 bytes of salt, then the text
//!          text erased: 32 bytes of commitment, u64 deletion offset, i64 deletion time
//! ```
//! All numbers are little endian. Decoding is strict: what this module would not write, it does not read.

use crate::chain::{self, Commitment, ENVELOPE_VERSION, Link};
use crate::codec::PART_BYTES_MAX;
use crate::resume::Tag;
use crate::{Deletion, Kind, Offset, Record, Schema, Sealed, Text, Timestamp};

/// Bytes before the kept part.
const HEADER_BYTES: usize = 38;
/// Bytes that `len` and the checksum take and do not count.
const PREFIX_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const TOMBSTONE_BYTES: usize = 32 + 8 + 8;
const PART_MAX: usize = PART_BYTES_MAX as usize;
/// The longest record there can be.
pub(crate) const RECORD_BYTES_MAX: usize = HEADER_BYTES + PART_MAX + SALT_BYTES + PART_MAX;

const FLAG_TEXT: u8 = 1;
const FLAG_ERASED: u8 = 2;

/// A record as it is stored: with all that its place in the chain depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Its number.
    pub offset: Offset,
    /// When the writer stamped it.
    pub time: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// The version of its structs.
    pub schema: Schema,
    /// The tag of the chain's value after it.
    pub tag: Tag,
    /// The part that stays for ever.
    pub kept: &'a [u8],
    /// What people typed.
    pub text: StoredText<'a>,
}

/// The text of a record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredText<'a> {
    /// This kind of record has none.
    None,
    /// What people typed, and the salt of its commitment.
    Present {
        /// The salt.
        salt: [u8; SALT_BYTES],
        /// The text.
        text: &'a [u8],
    },
    /// Gone.
    Erased {
        /// What stands for it in the chain.
        commitment: Commitment,
        /// What deleted it.
        deletion: Deletion,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("the record is cut short")]
    Short,
    #[error("the record's length {0} is impossible")]
    Length(u32),
    #[error("the record's checksum is wrong")]
    Checksum,
    #[error("the record's envelope version {0} is unknown to this program")]
    Version(u8),
    #[error("the record's flags {0:#04x} are impossible")]
    Flags(u8),
    #[error("the lengths of the record's parts do not add up")]
    Parts,
}

impl<'a> Envelope<'a> {
    /// How a sealed record is stored.
    pub(crate) fn of(sealed: &'a Sealed) -> Envelope<'a> {
        Envelope {
            offset: sealed.offset,
            time: sealed.time,
            kind: sealed.record.kind,
            schema: sealed.record.schema,
            tag: sealed.chain.tag(),
            kept: &sealed.record.kept,
            text: match &sealed.record.text {
                Some(text) => StoredText::Present { salt: sealed.salt, text },
                None => StoredText::None,
            },
        }
    }

    /// How many bytes [`Envelope::encode`] appends.
    pub(crate) fn encoded_len(&self) -> usize {
        let text = match self.text {
            StoredText::None => 0,
            StoredText::Present { text, .. } => SALT_BYTES + text.len(),
            StoredText::Erased { .. } => TOMBSTONE_BYTES,
        };
        HEADER_BYTES + self.kept.len() + text
    }

    /// Appends the record's bytes. The caller has checked that each part is at most [`PART_BYTES_MAX`] long, so the
    /// lengths fit their fields.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let len = self.encoded_len() - PREFIX_BYTES;
        let flags = match self.text {
            StoredText::None => 0,
            StoredText::Present { .. } => FLAG_TEXT,
            StoredText::Erased { .. } => FLAG_ERASED,
        };
        out.reserve(len + PREFIX_BYTES);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[ENVELOPE_VERSION, flags]);
        out.extend_from_slice(&self.kind.0.to_le_bytes());
        out.extend_from_slice(&self.schema.0.to_le_bytes());
        out.extend_from_slice(&self.offset.0.to_le_bytes());
        out.extend_from_slice(&self.time.0.to_le_bytes());
        out.extend_from_slice(&self.tag.0.to_le_bytes());
        out.extend_from_slice(&(self.kept.len() as u32).to_le_bytes());
        out.extend_from_slice(self.kept);
        match self.text {
            StoredText::None => {}
            StoredText::Present { salt, text } => {
                out.extend_from_slice(&salt);
                out.extend_from_slice(text);
            }
            StoredText::Erased { commitment, deletion } => {
                out.extend_from_slice(&commitment.0);
                out.extend_from_slice(&deletion.offset.0.to_le_bytes());
                out.extend_from_slice(&deletion.time.0.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&out[start + PREFIX_BYTES..]);
        out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the record at the start of `bytes`, and what follows it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<(Envelope<'a>, &'a [u8]), EnvelopeError> {
        let (body, rest) = split(bytes)?;
        let crc = u32_at(bytes, 4);
        if crc32fast::hash(body) != crc {
            return Err(EnvelopeError::Checksum);
        }
        if body[0] != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version(body[0]));
        }
        let (fixed, parts) = body.split_at(HEADER_BYTES - PREFIX_BYTES);
        let kept_len = u32_at(fixed, 26) as usize;
        let (kept, text) = parts.split_at_checked(kept_len).ok_or(EnvelopeError::Parts)?;
        let text = match (fixed[1], text) {
            (0, []) => StoredText::None,
            (FLAG_TEXT, text) => {
                let (salt, text) = text.split_first_chunk().ok_or(EnvelopeError::Parts)?;
                StoredText::Present { salt: *salt, text }
            }
            (FLAG_ERASED, tombstone) if tombstone.len() == TOMBSTONE_BYTES => StoredText::Erased {
                commitment: Commitment(array_at(tombstone, 0)),
                deletion: Deletion {
                    offset: Offset(u64::from_le_bytes(array_at(tombstone, 32))),
                    time: Timestamp(i64::from_le_bytes(array_at(tombstone, 40))),
                },
            },
            (0 | FLAG_ERASED, _) => return Err(EnvelopeError::Parts),
            (flags, _) => return Err(EnvelopeError::Flags(flags)),
        };
        let envelope = Envelope {
            kind: Kind(u16::from_le_bytes(array_at(fixed, 2))),
            schema: Schema(u16::from_le_bytes(array_at(fixed, 4))),
            offset: Offset(u64::from_le_bytes(array_at(fixed, 6))),
            time: Timestamp(i64::from_le_bytes(array_at(fixed, 14))),
            tag: Tag(u32_at(fixed, 22)),
            kept,
            text,
        };
        Ok((envelope, rest))
    }

    /// What follows the record at the start of `bytes`, by its length alone.
    pub(crate) fn skip(bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
        split(bytes).map(|(_, rest)| rest)
    }

    /// The record without its text, if it has one, as it is after this deletion.
    pub(crate) fn erased_by(self, deletion: Deletion) -> Envelope<'a> {
        match self.text {
            StoredText::Present { salt, text } => {
                let commitment = chain::commitment(&salt, text);
                Envelope { text: StoredText::Erased { commitment, deletion }, ..self }
            }
            StoredText::None | StoredText::Erased { .. } => self,
        }
    }

    /// The record as a reader sees it.
    pub(crate) fn as_record(&self) -> Record<'a> {
        Record {
            offset: self.offset,
            time: self.time,
            kind: self.kind,
            schema: self.schema,
            tag: self.tag,
            kept: self.kept,
            text: match self.text {
                StoredText::None => Text::None,
                StoredText::Present { text, .. } => Text::Present(text),
                StoredText::Erased { deletion, .. } => Text::Gone(deletion),
            },
        }
    }

    /// What stands for the text in the chain: computed while there is a text, remembered once it is erased.
    pub(crate) fn commitment(&self) -> Option<Commitment> {
        match self.text {
            StoredText::None => None,
            StoredText::Present { salt, text } => Some(chain::commitment(&salt, text)),
            StoredText::Erased { commitment, .. } => Some(commitment),
        }
    }

    /// The fields that the chain's value covers, beside the text.
    pub(crate) fn link(&self) -> Link<'a> {
        Link { kind: self.kind, schema: self.schema, offset: self.offset, time: self.time, kept: self.kept }
    }
}

/// Splits `bytes` after the first record, by its length; gives what its checksum covers and the rest.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), EnvelopeError> {
    if bytes.len() < HEADER_BYTES {
        return Err(EnvelopeError::Short);
    }
    let len = u32_at(bytes, 0);
    let body = len as usize;
    if !(HEADER_BYTES - PREFIX_BYTES..=RECORD_BYTES_MAX - PREFIX_BYTES).contains(&body) {
        return Err(EnvelopeError::Length(len));
    }
    bytes[PREFIX_BYTES..].split_at_checked(body).ok_or(EnvelopeError::Short)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests;
