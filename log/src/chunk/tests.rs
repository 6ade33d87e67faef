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
    Ok((header.chain, records.map(|record| Ok(record?.kept.to_vec())).collect::<Result<_, ChunkError>>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_chunk_whose_offsets_there_cannot_be_is_refused() {
    let chunks = packed(ChunkOptions::default(), u64::MAX, &[b"a".to_vec()]);
    assert_eq!(read(Offset(u64::MAX), &chunks[0].1), Err(ChunkError::Header));
    let chunks = packed(ChunkOptions::default(), u64::MAX - 1, &[b"a".to_vec()]);
    assert!(read(Offset(u64::MAX - 1), &chunks[0].1).is_ok());
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
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
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
fn a_chunk_is_filled_up_to_its_bounds_and_none_is_packed_that_is_not_read() {
    let two = 2 * record(1, &[0; 500]).encoded_len();
    let options = ChunkOptions { raw_bytes_max: two, ..ChunkOptions::default() };
    assert_eq!(packed(options, 1, &vec![vec![0; 500]; 4]).len(), 2, "two fit exactly");
    let boundless = ChunkOptions { raw_bytes_max: usize::MAX, ..ChunkOptions::default() };
    let parts = vec![vec![0; 180 << 10]; 10];
    let chunks = packed(boundless, 1, &parts);
    let found = chunks.iter().flat_map(|(first, bytes)| read(*first, bytes).unwrap().1);
    assert!(found.eq(parts));
}

#[test]
fn closed_chunks_are_taken_once_and_the_rest_at_the_end() {
    let mut packer = Packer::new(ChunkOptions { records_max: 2, ..ChunkOptions::default() });
    let chain = ChainValue::BEGINNING;
    (1..=5).for_each(|offset| packer.push(&record(offset, b"a"), chain));
    let bytes = packer.closed_bytes();
    let taken = packer.take_closed();
    assert_eq!(taken.iter().map(|(first, _)| first.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(taken.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), bytes);
    assert_eq!((packer.closed_bytes(), packer.take_closed()), (0, vec![]));
    assert_eq!(packer.finish().iter().map(|(first, _)| first.0).collect::<Vec<_>>(), [5]);
}

#[test]
fn what_packing_would_not_make_smaller_is_stored_as_it_is() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(2000)
    .collect();
    let bytes = &packed(ChunkOptions::default(), 1, std::slice::from_ref(&noise))[0].1;
    assert_eq!(bytes.len(), HEADER_BYTES + record(1, &noise).encoded_len());
    assert_eq!(read(Offset(1), bytes).unwrap().1, [noise]);
}

#[test]
fn a_header_declares_up_to_a_mebibyte_and_exactly_what_is_unpacked() {
    let whole = pack(Encoding::Plain, 1, &ChainValue::BEGINNING, &vec![0; RAW_BYTES_MAX]);
    assert!(Header::decode(&whole).is_ok());
    let more = pack(Encoding::Plain, 1, &ChainValue::BEGINNING, &vec![0; RAW_BYTES_MAX + 1]);
    assert_eq!(Header::decode(&more).err(), Some(ChunkError::Header));
    let mut bytes = packed(ChunkOptions::default(), 1, &[vec![7; 5000]])[0].1.clone();
    let declared = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    bytes[4..8].copy_from_slice(&(declared + 1).to_le_bytes());
    let crc = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(read(Offset(1), &bytes), Err(ChunkError::Packing));
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

#[test]
fn bytes_behind_the_last_record_are_refused() {
    let mut raw = Vec::new();
    record(1, b"one").encode(&mut raw);
    let alone = raw.len();
    record(2, b"two").encode(&mut raw);
    for encoding in [Encoding::Plain, Encoding::Lz4] {
        let chain = ChainValue::BEGINNING;
        assert!(read(Offset(1), &pack(encoding, 1, &chain, &raw[..alone])).is_ok());
        assert_eq!(read(Offset(1), &pack(encoding, 1, &chain, &raw)), Err(ChunkError::Trailing));
        assert_eq!(
            read(Offset(1), &pack(encoding, 3, &chain, &raw)),
            Err(ChunkError::Record(EnvelopeError::Short))
        );
    }
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
