//! Whole backups.

use std::io::{self, Read};

use super::record::{make_chunk_sound, small_log};
use crate::backup::fuzzing::{begin, end, frame};
use crate::backup::{BackupError, BackupReader, Standing, Summary};
use crate::chunk::Packer;
use crate::envelope::Envelope;
use crate::{ChainValue, ChunkOptions, Encoding, Offset, ResumePoint, Tag, chain};

/// How long a frame's header is.
const FRAME_HEADER_BYTES: usize = 9;
/// What stands before the fields of a part's beginning: a mark and the format.
const MARK_BYTES: usize = 22;

/// Whatever the bytes are, the records that are shown follow each other from 1 on, each in its place in the chain; the file
/// can be gone on with from where it stands; and a complete one holds what it says.
pub fn backup_file(data: &[u8]) {
    check(data);
    check(&repaired(data, false));
    check(&repaired(data, true));
}

/// Everything that was seen of a file.
#[derive(Debug)]
struct Seen {
    outcome: Result<Summary, BackupError>,
    standing: Standing,
    /// As records are stored.
    records: Vec<Vec<u8>>,
    /// Before the first and after each.
    chains: Vec<ChainValue>,
}

fn read(data: &[u8], piece: usize) -> Seen {
    let mut reader = BackupReader::new(Pieces { data, piece });
    let (mut records, mut chains) = (Vec::new(), vec![ChainValue::BEGINNING]);
    let outcome = reader.read::<BackupError>(&mut |envelope| {
        let mut bytes = Vec::new();
        envelope.encode(&mut bytes);
        assert_eq!(envelope.offset.0, records.len() as u64 + 1);
        let before = chains.last().expect("one is there from the beginning");
        let chain = chain::chain(before, envelope.link(), envelope.commitment().as_ref());
        assert_eq!(chain.tag(), envelope.tag);
        records.push(bytes);
        chains.push(chain);
        Ok(())
    });
    Seen { outcome, standing: reader.standing(), records, chains }
}

fn check(data: &[u8]) {
    let seen = read(data, usize::MAX);
    let in_pieces = read(data, 7);
    assert_eq!(format!("{seen:?}"), format!("{in_pieces:?}"), "pieces make a difference");
    if let Err(BackupError::Damaged { byte, .. }) = &seen.outcome {
        assert!(*byte <= data.len() as u64);
    }

    // What is gone on with begins with the records so far, all of them sound, and none more.
    let Standing { bytes, after: ResumePoint { offset, tag } } = seen.standing;
    let good = &data[..usize::try_from(bytes).expect("it is in memory")];
    let known = usize::try_from(offset.0).expect("they were counted");
    let chain = *seen.chains.get(known).expect("it stands at a record that was shown");
    assert_eq!(tag, (known > 0).then(|| chain.tag()));
    let mut gone_on = good.to_vec();
    begin(offset, chain, &mut gone_on);
    end(offset, chain, 0, &mut gone_on);
    let whole = read(&gone_on, usize::MAX);
    let summary = whole.outcome.expect("a backup can be gone on with from where it stands");
    assert_eq!((summary.head.offset, summary.head.chain, summary.records), (offset, chain, offset.0));
    assert_eq!(whole.records, seen.records[..known]);

    if let Ok(summary) = seen.outcome {
        assert_eq!(summary.records, seen.records.len() as u64);
        assert_eq!(summary.head.offset.0, summary.records);
        assert_eq!(Some(&summary.head.chain), seen.chains.last());
        let again = read(&written(&seen.records, &seen.chains, &summary), usize::MAX);
        assert_eq!(again.records, seen.records);
        let again = again.outcome.expect("what was read can be written");
        assert_eq!((again.head, again.records), (summary.head, summary.records));
        assert_eq!(again.attachments, summary.attachments);
    }
}

/// The same backup, with a chunk for each record.
fn written(records: &[Vec<u8>], chains: &[ChainValue], summary: &Summary) -> Vec<u8> {
    let mut out = Vec::new();
    begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut out);
    for (record, chain) in records.iter().zip(&chains[1..]) {
        let mut packer = Packer::new(ChunkOptions { encoding: Encoding::Plain, ..ChunkOptions::default() });
        packer.push(&Envelope::decode(record).expect("it was encoded").0, *chain);
        for (first, chunk) in packer.finish() {
            frame(2, &[&first.0.to_le_bytes(), &chunk[..]].concat(), &mut out);
        }
    }
    summary.attachments.iter().for_each(|attachment| frame(3, attachment, &mut out));
    end(summary.head.offset, summary.head.chain, summary.attachments.len() as u64, &mut out);
    out
}

/// The file with the frames' checksums put right; with `deep` also the records' and their places in the chain, and what
/// parts and the end say of them. So what lies behind those checks is reached too.
fn repaired(data: &[u8], deep: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut at, mut chain, mut attachments) = (Offset::BEGINNING, ChainValue::BEGINNING, 0_u64);
    let mut rest = data;
    while rest.len() >= FRAME_HEADER_BYTES {
        let (header, after) = rest.split_at(FRAME_HEADER_BYTES);
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let (payload, after) = after.split_at(length.min(after.len()));
        rest = after;
        let mut payload = payload.to_vec();
        let place = |payload: &mut [u8], from: usize, at: Offset, chain: ChainValue| {
            if let Some(fields) = payload.get_mut(from..from + 40) {
                fields[..8].copy_from_slice(&at.0.to_le_bytes());
                fields[8..].copy_from_slice(&chain.0);
            }
        };
        match header[0] {
            1 if deep => {
                place(&mut payload, MARK_BYTES, at, chain);
                attachments = 0;
            }
            2 if deep && payload.len() >= 8 => {
                let first = at.next();
                let mut chunk = payload.split_off(8);
                make_chunk_sound(&mut chunk, Some(first), &mut chain);
                if let Some(count) = chunk.get(2..4) {
                    at = Offset(at.0 + u64::from(u16::from_le_bytes([count[0], count[1]])));
                }
                payload = [&first.0.to_le_bytes()[..], &chunk].concat();
            }
            3 => attachments += 1,
            4 if deep => {
                place(&mut payload, 0, at, chain);
                if let Some(counted) = payload.get_mut(40..48) {
                    counted.copy_from_slice(&attachments.to_le_bytes());
                }
            }
            _ => {}
        }
        frame(header[0], &payload, &mut out);
    }
    out.extend_from_slice(rest);
    out
}

/// Gives its bytes in pieces.
struct Pieces<'a> {
    data: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (given, rest) = self.data.split_at(self.piece.min(buffer.len()).min(self.data.len()));
        buffer[..given.len()].copy_from_slice(given);
        self.data = rest;
        Ok(given.len())
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let log = small_log();
    let records = |range: std::ops::Range<usize>, encoding, out: &mut Vec<u8>| {
        let options = ChunkOptions { records_max: 3, raw_bytes_max: 4096, encoding };
        let mut packer = Packer::new(options);
        log[range].iter().for_each(|(envelope, chain)| packer.push(envelope, *chain));
        for (first, chunk) in packer.finish() {
            frame(2, &[&first.0.to_le_bytes(), &chunk[..]].concat(), out);
        }
    };
    let (last, chain) =
        log.last().map(|(envelope, chain)| (envelope.offset, *chain)).expect("it has records");
    let mut whole = Vec::new();
    begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut whole);
    records(0..5, Encoding::Lz4, &mut whole);
    let without_end = whole.clone();
    frame(3, b"a vault", &mut whole);
    end(last, chain, 1, &mut whole);

    let mut parts = Vec::new();
    begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut parts);
    records(0..2, Encoding::Plain, &mut parts);
    frame(3, b"given again later", &mut parts);
    begin(Offset(2), log[1].1, &mut parts);
    records(2..5, Encoding::Plain, &mut parts);
    frame(3, b"a vault", &mut parts);
    frame(3, b"", &mut parts);
    end(last, chain, 2, &mut parts);

    // Sound as bytes, but its second record has another tag than the chain asks for.
    let mut misfit = Vec::new();
    begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut misfit);
    let mut packer = Packer::new(ChunkOptions { encoding: Encoding::Plain, ..ChunkOptions::default() });
    packer.push(&log[0].0, log[0].1);
    packer.push(&Envelope { tag: Tag(7), ..log[1].0 }, log[1].1);
    for (first, chunk) in packer.finish() {
        frame(2, &[&first.0.to_le_bytes(), &chunk[..]].concat(), &mut misfit);
    }

    let mut empty = Vec::new();
    begin(Offset::BEGINNING, ChainValue::BEGINNING, &mut empty);
    end(Offset::BEGINNING, ChainValue::BEGINNING, 0, &mut empty);
    let cut = whole[..whole.len() - 1].to_vec();
    vec![whole, without_end, cut, parts, empty, misfit, b"scrollback backup\n".to_vec()]
}
