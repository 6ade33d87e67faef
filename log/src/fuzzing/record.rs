//! One record's bytes, and a chunk of them.

use crate::chunk::{Header, Packer, repack};
use crate::envelope::{Envelope, StoredText};
use crate::{
    ChainValue, ChunkOptions, Commitment, Deletion, Encoding, Kind, Offset, Schema, Tag, Timestamp, chain,
};

/// How long a record's fields before its kept part are.
const RECORD_HEADER_BYTES: usize = 38;
/// How long a chunk's header is.
pub(super) const CHUNK_HEADER_BYTES: usize = 44;

/// What is read as a record is written as the same bytes, and is what a plain reader makes of them. The same holds for the
/// records of a chunk, which follow each other; whole chunks stay what they are when they are packed anew.
pub fn record(data: &[u8]) {
    one(data);
    let mut sound = data.to_vec();
    make_sound(&mut sound);
    one(&sound);
    chunk(data);
    for placed in [false, true] {
        let (mut sound, mut from) = (data.to_vec(), ChainValue::BEGINNING);
        make_chunk_sound(&mut sound, placed.then_some(Offset(7)), &mut from);
        chunk(&sound);
    }
}

fn one(bytes: &[u8]) {
    let read = Envelope::decode(bytes);
    let plain = plainly(bytes);
    let Ok((envelope, rest)) = read else {
        assert_eq!(plain, None, "a record was refused that can be read");
        return;
    };
    assert_eq!(plain, Some((envelope, rest)));
    let mut again = Vec::new();
    envelope.encode(&mut again);
    assert_eq!([&again, rest].concat(), bytes, "a record has one spelling");
    assert_eq!(again.len(), envelope.encoded_len());
    assert_eq!(Envelope::skip(bytes), Ok(rest));
    // Erasing keeps all but the text, and what stands for it in the chain.
    let erased = envelope.erased_by(Deletion { offset: Offset(9), time: Timestamp(9) });
    assert_eq!(erased.commitment(), envelope.commitment());
    assert!(!matches!(erased.text, StoredText::Present { .. }));
    assert_eq!(chain_of(&erased), chain_of(&envelope));
    let mut tombstone = Vec::new();
    erased.encode(&mut tombstone);
    assert_eq!(Envelope::decode(&tombstone), Ok((erased, &[][..])));
}

fn chain_of(envelope: &Envelope<'_>) -> ChainValue {
    chain::chain(&ChainValue::BEGINNING, envelope.link(), envelope.commitment().as_ref())
}

/// The record at the beginning of these bytes, read field by field.
fn plainly(bytes: &[u8]) -> Option<(Envelope<'_>, &[u8])> {
    fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
        let (taken, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(taken)
    }
    let mut rest = bytes;
    let length = u32::from_le_bytes(*take(&mut rest)?) as usize;
    let crc = u32::from_le_bytes(*take(&mut rest)?);
    let (mut body, rest) = (length <= RECORD_HEADER_BYTES + 16 + 2 * 192 * 1024 - 8)
        .then(|| rest.split_at_checked(length))
        .flatten()?;
    if crc32fast::hash(body) != crc || take::<1>(&mut body)? != &[1] {
        return None;
    }
    let flags = take::<1>(&mut body)?[0];
    let kind = Kind(u16::from_le_bytes(*take(&mut body)?));
    let schema = Schema(u16::from_le_bytes(*take(&mut body)?));
    let offset = Offset(u64::from_le_bytes(*take(&mut body)?));
    let time = Timestamp(i64::from_le_bytes(*take(&mut body)?));
    let tag = Tag(u32::from_le_bytes(*take(&mut body)?));
    let kept = u32::from_le_bytes(*take(&mut body)?) as usize;
    let (kept, mut body) = body.split_at_checked(kept)?;
    let text = match flags {
        0 => StoredText::None,
        1 => StoredText::Present { salt: *take(&mut body)?, text: std::mem::take(&mut body) },
        2 => {
            let commitment = Commitment(*take(&mut body)?);
            let offset = Offset(u64::from_le_bytes(*take(&mut body)?));
            let time = Timestamp(i64::from_le_bytes(*take(&mut body)?));
            StoredText::Erased { commitment, deletion: Deletion { offset, time } }
        }
        _ => return None,
    };
    body.is_empty().then_some((Envelope { offset, time, kind, schema, tag, kept, text }, rest))
}

fn chunk(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    let mut buffer = Vec::new();
    // The store's key says the first offset; here the first record does.
    let first = match header.records(Offset(1), &mut buffer) {
        Ok(mut records) => match records.next() {
            Some(Err(crate::chunk::ChunkError::WrongOffset(offset))) => offset,
            _ => Offset(1),
        },
        Err(_) => return,
    };
    let Ok(records) = header.records(first, &mut buffer) else { return };
    let mut read = Vec::new();
    let mut whole = true;
    for record in records.clone() {
        match record {
            Ok(envelope) => read.push(envelope),
            Err(_) => whole = false,
        }
    }
    for (envelope, place) in read.iter().zip(0..) {
        assert_eq!(Some(envelope.offset.0), first.0.checked_add(place));
    }
    assert!(read.is_sorted_by_key(|envelope| envelope.time));
    assert!(read.len() <= usize::from(header.count));
    if !whole {
        return;
    }
    assert_eq!(read.len(), usize::from(header.count));
    let mut skipped = records;
    let middle = read.len() / 2;
    skipped.skip_to(read[middle].offset).unwrap();
    assert_eq!(skipped.map(Result::unwrap).collect::<Vec<_>>(), read[middle..]);

    let erased =
        read.iter().map(|envelope| envelope.erased_by(Deletion { offset: first, time: Timestamp(1) }));
    let erased: Vec<_> = erased.collect();
    for records in [&read, &erased] {
        for encoding in [Encoding::Plain, Encoding::Lz4] {
            let packed = repack(encoding, &header.chain, records.iter().copied());
            if encoding == Encoding::Plain && bytes[1] == 0 && records == &read {
                assert_eq!(packed, bytes, "a plain chunk has one spelling");
            }
            let header_again = Header::decode(&packed).unwrap();
            assert_eq!((header_again.count, header_again.chain), (header.count, header.chain));
            let mut buffer = Vec::new();
            let again: Vec<_> =
                header_again.records(first, &mut buffer).unwrap().map(Result::unwrap).collect();
            assert_eq!(&again, records);
        }
    }
}

/// Puts a length and a checksum into the record at the beginning of these bytes so that it is sound, if it is not too
/// short. Gives how long it is.
fn make_sound(bytes: &mut [u8]) -> Option<usize> {
    let rest = bytes.len().checked_sub(RECORD_HEADER_BYTES)?;
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let length = length.clamp(RECORD_HEADER_BYTES - 8, RECORD_HEADER_BYTES - 8 + rest);
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = crc32fast::hash(&bytes[8..8 + length]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Some(8 + length)
}

/// Puts the checksums into a chunk, and with `place` also what the records' places in the log ask for: offsets from there
/// on, the chain's values from `chain` on. It is unpacked for that.
pub(super) fn make_chunk_sound(chunk: &mut Vec<u8>, place: Option<Offset>, chain: &mut ChainValue) {
    let seal = |chunk: &mut Vec<u8>| {
        let crc = crc32fast::hash(&chunk[..40]);
        chunk[40..CHUNK_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    };
    if chunk.len() < CHUNK_HEADER_BYTES {
        return;
    }
    chunk[0] = 1;
    chunk[1] &= 1;
    seal(chunk);
    if chunk[1] == 1 {
        let raw_length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]) as usize;
        if place.is_none() || raw_length > 1 << 20 {
            return;
        }
        let Ok(raw) = lz4_flex::block::decompress(&chunk[CHUNK_HEADER_BYTES..], raw_length) else { return };
        chunk.truncate(CHUNK_HEADER_BYTES);
        chunk.extend_from_slice(&raw);
        chunk[1] = 0;
    }
    let (header, mut payload) = chunk.split_at_mut(CHUNK_HEADER_BYTES);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let (mut count, mut next) = (0_u16, place);
    while let Some(length) = make_sound(payload) {
        let (record, rest) = std::mem::take(&mut payload).split_at_mut(length);
        if let Some(offset) = next {
            record[14..22].copy_from_slice(&offset.0.to_le_bytes());
            make_sound(record);
            if let Ok((envelope, _)) = Envelope::decode(record) {
                *chain = chain::chain(chain, envelope.link(), envelope.commitment().as_ref());
                record[30..34].copy_from_slice(&chain.tag().0.to_le_bytes());
                make_sound(record);
            }
            next = Some(offset.next());
        }
        payload = rest;
        count = count.saturating_add(1);
    }
    if place.is_some() {
        header[2..4].copy_from_slice(&count.to_le_bytes());
        header[8..40].copy_from_slice(&chain.0);
    }
    seal(chunk);
}

/// The records of a small log: with a text, without one, and with one that is gone.
pub(super) fn small_log() -> Vec<(Envelope<'static>, ChainValue)> {
    let texts = [
        StoredText::None,
        StoredText::Present { salt: [0xa5; 16], text: b"hello" },
        StoredText::Erased {
            commitment: Commitment([7; 32]),
            deletion: Deletion { offset: Offset(5), time: Timestamp(1_700_000_000_000_004) },
        },
        StoredText::Present { salt: [1; 16], text: b"" },
        StoredText::None,
    ];
    let mut chain = ChainValue::BEGINNING;
    let sealed = texts.into_iter().zip(1_u64..).map(|(text, offset)| {
        let mut envelope = Envelope {
            offset: Offset(offset),
            time: Timestamp(1_700_000_000_000_000 + offset.cast_signed()),
            kind: Kind(6),
            schema: Schema(1),
            tag: Tag(0),
            kept: &b"kept for ever"[..2 * offset as usize],
            text,
        };
        chain = chain::chain(&chain, envelope.link(), envelope.commitment().as_ref());
        envelope.tag = chain.tag();
        (envelope, chain)
    });
    sealed.collect()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (envelope, _) in small_log() {
        let mut bytes = Vec::new();
        envelope.encode(&mut bytes);
        seeds.push(bytes);
    }
    for (records_max, encoding) in
        [(1, Encoding::Plain), (2, Encoding::Plain), (9, Encoding::Plain), (9, Encoding::Lz4)]
    {
        let mut packer = Packer::new(ChunkOptions { records_max, raw_bytes_max: 4096, encoding });
        small_log().iter().for_each(|(envelope, chain)| packer.push(envelope, *chain));
        seeds.extend(packer.finish().into_iter().map(|(_, bytes)| bytes));
    }
    seeds
}
