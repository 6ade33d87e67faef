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
        ChunkOptions { records_max: 64, raw_bytes_max: 16 * 1024, encoding: Encoding::Lz4 }
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::StoredText;
    use crate::{Kind, Schema, Tag};

    fn record(offset: u64, kept: &[u8]) -> Envelope<'_> {
        Envelope {
            offset: Offset(offset),
            time: Timestamp(1000),
            kind: Kind(1),
            schema: Schema(1),
            tag: Tag(0x0403_0201),
            kept,
            text: StoredText::None,
        }
    }

    fn packed(options: ChunkOptions, first: u64, parts: &[Vec<u8>]) -> Vec<Packed> {
        let mut packer = Packer::new(options);
        for (place, kept) in parts.iter().enumerate() {
            let offset = first + place as u64;
            packer.push(&record(offset, kept), ChainValue([offset as u8; 32]));
        }
        packer.finish()
    }

    /// All that the chunk's bytes hold, or why they hold nothing.
    fn read(first: Offset, bytes: &[u8]) -> Result<(ChainValue, Vec<Vec<u8>>), ChunkError> {
        let header = Header::decode(bytes)?;
        let mut buffer = Vec::new();
        let records = header.records(first, &mut buffer)?;
        Ok((
            header.chain,
            records.map(|record| Ok(record?.kept.to_vec())).collect::<Result<_, ChunkError>>()?,
        ))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_a_plain_chunk_are_these() {
        let options = ChunkOptions { encoding: Encoding::Plain, ..ChunkOptions::default() };
        let chunks = packed(options, 0x21, &[b"a".to_vec(), b"b".to_vec()]);
        let [(first, bytes)] = chunks.as_slice() else { panic!("one chunk") };
        assert_eq!(*first, Offset(0x21));
        assert_eq!(hex(&bytes[..8]), "010002004e000000");
        assert_eq!(bytes[8..40], [0x22; 32]);
        assert_eq!(hex(&bytes[40..44]), "f87db89d");
        assert_eq!(hex(&bytes[44..48]), "1f000000");
        assert_eq!(bytes.len(), 44 + 2 * 39);
    }

    /// Made by hand from the LZ4 block format: 39 literals, one long match of the byte before, 5 literals.
    #[test]
    fn a_packed_chunk_of_these_bytes_is_read() {
        let bytes = concat!(
            "0101010052010000",
            "0101010101010101010101010101010101010101010101010101010101010101",
            "d1cc3a12",
            "ff18",
            "4a0100006c753b740100010001000100000000000000e803000000000000010203042c01000007",
            "0100ff14",
            "500707070707"
        );
        let bytes: Vec<u8> = (0..bytes.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(read(Offset(1), &bytes), Ok((ChainValue([1; 32]), vec![vec![7; 300]])));
        assert!(
            packed(ChunkOptions::default(), 1, &[vec![7; 300]])[0].1.len() <= bytes.len(),
            "this is how we pack, too"
        );
    }

    #[test]
    fn a_chunk_is_closed_at_its_bounds() {
        let options = ChunkOptions { records_max: 3, raw_bytes_max: 1000, encoding: Encoding::Lz4 };
        let firsts = |parts: &[Vec<u8>]| -> Vec<u64> {
            packed(options, 1, parts).iter().map(|(first, _)| first.0).collect()
        };
        assert_eq!(firsts(&vec![vec![0; 10]; 7]), [1, 4, 7], "by records");
        assert_eq!(firsts(&vec![vec![0; 500]; 3]), [1, 2, 3], "by bytes");
        assert_eq!(firsts(&[vec![0; 10], vec![0; 5000], vec![0; 10]]), [1, 2, 3], "a long record is alone");
        assert_eq!(firsts(&[]), [0; 0]);
    }

    #[test]
    fn unpacking_is_bounded_by_the_declared_length() {
        let mut bytes = packed(ChunkOptions::default(), 1, &[vec![7; 5000]])[0].1.clone();
        for raw_len in [1_u32, 5000, u32::MAX, RAW_BYTES_MAX as u32 + 1, RAW_BYTES_MAX as u32] {
            bytes[4..8].copy_from_slice(&raw_len.to_le_bytes());
            let crc = crc32fast::hash(&bytes[..40]);
            bytes[40..44].copy_from_slice(&crc.to_le_bytes());
            assert!(read(Offset(1), &bytes).is_err(), "{raw_len}");
        }
    }

    #[test]
    fn a_record_out_of_its_place_is_refused() {
        let bytes = &packed(ChunkOptions::default(), 5, &[vec![1], vec![2]])[0].1;
        assert_eq!(read(Offset(6), bytes), Err(ChunkError::WrongOffset(Offset(5))));
        let mut packer = Packer::new(ChunkOptions::default());
        packer.push(&record(1, b""), ChainValue::BEGINNING);
        packer.push(&Envelope { time: Timestamp(999), ..record(2, b"") }, ChainValue::BEGINNING);
        assert_eq!(read(Offset(1), &packer.finish()[0].1), Err(ChunkError::TimeWentBack));
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(prop::sample::select(b"abcx".to_vec()), 0..200), 1..40)
    }

    fn options() -> impl Strategy<Value = ChunkOptions> {
        (1_u16..20, 1_usize..3000, prop::sample::select(vec![Encoding::Plain, Encoding::Lz4])).prop_map(
            |(records_max, raw_bytes_max, encoding)| ChunkOptions { records_max, raw_bytes_max, encoding },
        )
    }

    proptest! {
        #[test]
        fn records_read_back_as_they_were_packed(parts in parts(), options in options(), first in 1_u64..1 << 60) {
            let mut found = Vec::new();
            let chunks = packed(options, first, &parts);
            for (key, bytes) in &chunks {
                prop_assert_eq!(key.0, first + found.len() as u64);
                let (chain, kept) = read(*key, bytes).unwrap();
                found.extend(kept);
                prop_assert_eq!(chain, ChainValue([(first + found.len() as u64 - 1) as u8; 32]));
            }
            prop_assert_eq!(found, parts);
        }

        #[test]
        fn a_changed_chunk_is_refused_or_holds_the_same(
            parts in parts(), options in options(), at: prop::sample::Index, by in 1_u8.., cut: bool,
        ) {
            let (first, bytes) = packed(options, 1, &parts).swap_remove(0);
            let whole = read(first, &bytes).unwrap();
            let mut changed = bytes.clone();
            let at = at.index(bytes.len());
            if cut { changed.truncate(at) } else { changed[at] ^= by }
            if let Ok(found) = read(first, &changed) {
                prop_assert_eq!(found, whole);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), good: bool) {
            if good && bytes.len() >= HEADER_BYTES {
                (bytes[0], bytes[1]) = (FORMAT_VERSION, bytes[1] % 2);
                let crc = crc32fast::hash(&bytes[..40]);
                bytes[40..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = read(Offset(1), &bytes);
        }

        #[test]
        fn passing_over_records_comes_to_the_same_record(parts in parts(), to in 1_u64..60) {
            let options = ChunkOptions { records_max: 100, raw_bytes_max: 100_000, encoding: Encoding::Lz4 };
            let (first, bytes) = packed(options, 1, &parts).swap_remove(0);
            let mut buffer = Vec::new();
            let mut records = Header::decode(&bytes).unwrap().records(first, &mut buffer).unwrap();
            records.skip_to(Offset(to)).unwrap();
            let found = records.next().map(|record| record.unwrap().kept.to_vec());
            prop_assert_eq!(found, parts.get(to as usize - 1).cloned());
        }
    }
}
