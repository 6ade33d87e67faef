//! A chunk: the records of one commit, or of a part of one, as one stored value. docs/format.md draws it.
//!
//! ```text
//! 0   u8   format    1
//! 1   u8   encoding  0: the records' bytes as they are; 1: as one LZ4 block
//! 2   u16  count     records, at least 1
//! 4   u32  raw_len   the records' bytes before LZ4
//! 8        chain     32 bytes: the chain's value after the last record
//! 40  u32  crc32     of the 40 bytes before
//! 44       the records
//! ```
//! All numbers are little endian. Records share a value because a store pays per value; each still has a checksum of
//! its own, so the chunk needs one for its header only.

use crate::envelope::{Envelope, EnvelopeError};
use crate::{ChainValue, Offset, Timestamp};

const FORMAT_VERSION: u8 = 1;
const ENCODING_PLAIN: u8 = 0;
const ENCODING_LZ4: u8 = 1;
const HEADER_BYTES: usize = 44;
/// Decoding takes no more raw bytes than this.
const RAW_BYTES_MAX: usize = 1 << 20;
/// Packing puts no more than this into a chunk, whatever its writer's options: a tombstone can be longer than the text
/// it replaces, but no record doubles.
const PACKED_RAW_BYTES_MAX: usize = RAW_BYTES_MAX / 2;
/// Less than this is stored as it is: LZ4 would not win a byte worth its time.
const LZ4_BYTES_MIN: usize = 128;

/// How many records share a stored value, and how they are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOptions {
    /// A chunk is closed once it holds this many records; at least 1, at most 65,535.
    pub records_max: u16,
    /// A chunk is closed before its records take more than this many bytes unpacked, unless it is one record alone; at
    /// most 512 KiB.
    pub raw_bytes_max: usize,
    /// Whether the records are packed.
    pub encoding: Encoding,
}

/// Whether a chunk's records are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are; for tests that look for bytes.
    Plain,
    /// As one LZ4 block when that is smaller.
    Lz4,
}

impl Default for ChunkOptions {
    fn default() -> ChunkOptions {
        ChunkOptions { records_max: 64, raw_bytes_max: 8 * 1024, encoding: Encoding::Lz4 }
    }
}

/// A chunk ready to be stored: its key is its first record's offset.
pub(crate) type Packed = (Offset, Vec<u8>);

/// Packs records into chunks.
pub(crate) struct Packer {
    options: ChunkOptions,
    first: Offset,
    count: u16,
    chain: ChainValue,
    raw: Vec<u8>,
    closed: Vec<Packed>,
    closed_bytes: usize,
}

impl Packer {
    pub(crate) fn new(options: ChunkOptions) -> Packer {
        Packer {
            options,
            first: Offset::BEGINNING,
            count: 0,
            chain: ChainValue::BEGINNING,
            raw: Vec::new(),
            closed: Vec::new(),
            closed_bytes: 0,
        }
    }

    /// Adds the next record; `chain` is the chain's value after it.
    pub(crate) fn push(&mut self, envelope: &Envelope<'_>, chain: ChainValue) {
        let bytes_max = self.options.raw_bytes_max.min(PACKED_RAW_BYTES_MAX);
        if self.count >= self.options.records_max.max(1)
            || self.raw.len() + envelope.encoded_len() > bytes_max
        {
            self.close();
        }
        if self.count == 0 {
            self.first = envelope.offset;
        }
        envelope.encode(&mut self.raw);
        self.count += 1;
        self.chain = chain;
    }

    /// How many bytes the closed chunks have that were not yet taken.
    pub(crate) fn closed_bytes(&self) -> usize {
        self.closed_bytes
    }

    /// The closed chunks that were not yet taken.
    pub(crate) fn take_closed(&mut self) -> Vec<Packed> {
        self.closed_bytes = 0;
        std::mem::take(&mut self.closed)
    }

    /// All chunks not yet taken.
    pub(crate) fn finish(mut self) -> Vec<Packed> {
        self.close();
        self.closed
    }

    fn close(&mut self) {
        if self.count > 0 {
            let bytes = pack(self.options.encoding, self.count, &self.chain, &self.raw);
            self.closed_bytes += bytes.len();
            self.closed.push((self.first, bytes));
            self.raw.clear();
            self.count = 0;
        }
    }
}

/// The chunk with the same records, some of which have become tombstones: their number and their chain do not change.
pub(crate) fn repack<'a>(
    encoding: Encoding,
    chain: &ChainValue,
    envelopes: impl Iterator<Item = Envelope<'a>>,
) -> Vec<u8> {
    let (mut raw, mut count) = (Vec::new(), 0);
    for envelope in envelopes {
        envelope.encode(&mut raw);
        count += 1;
    }
    pack(encoding, count, chain, &raw)
}

/// One chunk's bytes. `raw` is at most [`RAW_BYTES_MAX`] long.
fn pack(encoding: Encoding, count: u16, chain: &ChainValue, raw: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0] = FORMAT_VERSION;
    bytes[1] = ENCODING_PLAIN;
    bytes[2..4].copy_from_slice(&count.to_le_bytes());
    bytes[4..8].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    bytes[8..40].copy_from_slice(&chain.0);
    if encoding == Encoding::Lz4 && raw.len() >= LZ4_BYTES_MIN {
        bytes.resize(HEADER_BYTES + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
        match lz4_flex::block::compress_into(raw, &mut bytes[HEADER_BYTES..]) {
            Ok(len) if len < raw.len() => {
                bytes.truncate(HEADER_BYTES + len);
                bytes[1] = ENCODING_LZ4;
            }
            _ => bytes.truncate(HEADER_BYTES),
        }
    }
    if bytes[1] == ENCODING_PLAIN {
        bytes.extend_from_slice(raw);
    }
    let crc = crc32fast::hash(&bytes[..40]);
    bytes[40..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why bytes are not a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("the chunk is cut short")]
    Short,
    #[error("the checksum of the chunk's header is wrong")]
    Checksum,
    #[error("the chunk's format {0} is unknown to this program")]
    Format(u8),
    #[error("the chunk's encoding {0} is unknown to this program")]
    Encoding(u8),
    #[error("the chunk's header is impossible")]
    Header,
    #[error("the chunk's packed records cannot be unpacked")]
    Packing,
    #[error("bytes follow the chunk's last record")]
    Trailing,
    #[error("the chunk holds a record of offset {0} in this place")]
    WrongOffset(Offset),
    #[error("the record's time is earlier than the one before")]
    TimeWentBack,
    #[error(transparent)]
    Record(#[from] EnvelopeError),
}

/// A chunk's header, and where its records are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) count: u16,
    /// The chain's value after the last record.
    pub(crate) chain: ChainValue,
    raw_len: usize,
    packed: bool,
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Header<'a>, ChunkError> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(ChunkError::Short)?;
        if crc32fast::hash(&header[..40]).to_le_bytes() != header[40..] {
            return Err(ChunkError::Checksum);
        }
        if header[0] != FORMAT_VERSION {
            return Err(ChunkError::Format(header[0]));
        }
        let mut chain = ChainValue::BEGINNING;
        chain.0.copy_from_slice(&header[8..40]);
        let count = u16::from_le_bytes([header[2], header[3]]);
        let raw_len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let packed = match header[1] {
            ENCODING_PLAIN => false,
            ENCODING_LZ4 => true,
            other => return Err(ChunkError::Encoding(other)),
        };
        if count == 0 || raw_len > RAW_BYTES_MAX || (!packed && payload.len() != raw_len) {
            return Err(ChunkError::Header);
        }
        Ok(Header { count, chain, raw_len, packed, payload })
    }

    /// The chunk's records, the first of which has the offset `first`. They are unpacked into `buffer`, which keeps its
    /// space for the next chunk.
    pub(crate) fn records<'b>(
        &self,
        first: Offset,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Records<'b>, ChunkError>
    where
        'a: 'b,
    {
        // No log comes so far; only bytes that are none do.
        if first.0.checked_add(u64::from(self.count)).is_none() {
            return Err(ChunkError::Header);
        }
        let bytes = if self.packed {
            if buffer.len() < self.raw_len {
                buffer.resize(self.raw_len, 0);
            }
            let raw = &mut buffer[..self.raw_len];
            match lz4_flex::block::decompress_into(self.payload, raw) {
                Ok(len) if len == self.raw_len => &*raw,
                _ => return Err(ChunkError::Packing),
            }
        } else {
            self.payload
        };
        Ok(Records { bytes, next: first, left: self.count, time: Timestamp(i64::MIN) })
    }
}

/// The records of a chunk, in order, each checked against its checksum and its place.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    next: Offset,
    left: u16,
    time: Timestamp,
}

impl<'a> Records<'a> {
    /// The offset of the record that comes next.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next
    }

    /// Passes over the records before `offset` by their lengths, unchecked.
    pub(crate) fn skip_to(&mut self, offset: Offset) -> Result<(), ChunkError> {
        while self.next < offset && self.left > 0 {
            self.bytes = Envelope::skip(self.bytes)?;
            self.next = self.next.next();
            self.left -= 1;
        }
        Ok(())
    }

    fn decode_next(&mut self) -> Result<Envelope<'a>, ChunkError> {
        let (envelope, rest) = Envelope::decode(self.bytes)?;
        if envelope.offset != self.next {
            return Err(ChunkError::WrongOffset(envelope.offset));
        }
        if envelope.time < self.time {
            return Err(ChunkError::TimeWentBack);
        }
        if self.left == 1 && !rest.is_empty() {
            return Err(ChunkError::Trailing);
        }
        self.bytes = rest;
        self.time = envelope.time;
        Ok(envelope)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Envelope<'a>, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = self.decode_next();
        if record.is_ok() {
            self.next = self.next.next();
            self.left -= 1;
        } else {
            // Nothing after a damaged record can be found.
            self.left = 0;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests;
