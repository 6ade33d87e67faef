//! Backups: the same log comes back, however they were cut, and nothing that was deleted before they ended.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::sync::Arc;

use common::{append_notes, log_on, note, removal, shown};
use proptest::prelude::*;
use roaring::RoaringTreemap;
use scrollback_log::backup::{BackupError, BackupReader, BackupWriter, BeginError, Standing, Summary};
use scrollback_log::data_dir::DataDir;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::{
    Appender, Deletion, Log, LogOptions, Offset, ResumePoint, StoredText, Tag, Text, Timestamp, restore,
};

const BEGINNING: ResumePoint = ResumePoint { offset: Offset::BEGINNING, tag: None };
const MADE: Timestamp = Timestamp(77);

fn remove(log: &Log, appender: &mut Appender, target: u64) {
    appender.append(Timestamp(2), vec![removal(Offset(target))]).unwrap();
    let deletion = Deletion { offset: appender.head().offset, time: Timestamp(2) };
    log.mask(deletion, RoaringTreemap::from_iter([target]));
    appender.publish();
}

/// Takes a backup to its end; `between` is called between its steps.
fn take(log: &Arc<Log>, after: ResumePoint, between: &mut dyn FnMut(Offset)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BackupWriter::begin(Arc::clone(log), after, MADE, &mut bytes).unwrap();
    loop {
        between(writer.progress().at);
        if !writer.step(&mut bytes).unwrap() {
            break;
        }
    }
    writer.attach(b"a credential", &mut bytes).unwrap();
    writer.finish(&mut bytes);
    bytes
}

/// What was read of a backup: its summary, and its texts, none for those that are gone.
type Read = (Summary, Vec<Option<String>>);

/// Reads a backup, and tells how far that went.
fn read(bytes: &[u8]) -> (Result<Read, BackupError>, Standing) {
    let mut texts = Vec::new();
    let mut reader = BackupReader::new(bytes);
    let outcome = reader.read(&mut |envelope| {
        texts.push(match envelope.text {
            StoredText::Present { text, .. } => Some(String::from_utf8(text.to_vec()).unwrap()),
            StoredText::None | StoredText::Erased { .. } => None,
        });
        Ok::<(), BackupError>(())
    });
    (outcome.map(|summary| (summary, texts)), reader.standing())
}

fn restored(bytes: &[u8]) -> (tempfile::TempDir, DataDir, restore::Staged) {
    let space = tempfile::tempdir().unwrap();
    let dir = DataDir::create_or_open(&space.path().join("data")).unwrap();
    let (staged, _) = restore::stage(&dir, &mut BackupReader::new(bytes), &LogOptions::default()).unwrap();
    (space, dir, staged)
}

/// A log of 300 notes in many commits, every tenth of which is removed; half of these are erased on disk.
fn example() -> (Arc<Log>, Appender) {
    let (log, mut appender) = log_on(&MemoryStore::new());
    for number in 1..=300 {
        append_notes(&mut appender, [format!("the text of note {number}").as_str()]);
    }
    for target in (10..=300).step_by(10) {
        remove(&log, &mut appender, target);
        if target == 150 {
            while appender.erase_step().unwrap() {}
        }
    }
    (log, appender)
}

#[test]
fn a_backup_is_the_log_with_its_chain_and_without_what_was_deleted() {
    let (log, _appender) = example();
    let bytes = take(&log, BEGINNING, &mut |_| {});
    let (summary, texts) = read(&bytes).0.unwrap();
    assert_eq!((summary.head, summary.records, summary.made), (log.head(), 330, MADE));
    assert_eq!(summary.attachments, [b"a credential".to_vec()]);
    assert_eq!(summary.erased_through, log.erased_through());
    for (number, text) in (1..=300).zip(&texts) {
        assert_eq!(text.is_some(), number % 10 != 0, "note {number}");
    }

    let (_space, _dir, staged) = restored(&bytes);
    assert_eq!(staged.log.head(), log.head());
    assert_eq!(shown(&staged.log), shown(&log));
    for offset in [1, 9, 10, 150, 151, 300, 301, 330] {
        assert_eq!(staged.log.chain_at(Offset(offset)).unwrap(), log.chain_at(Offset(offset)).unwrap());
    }
}

#[test]
fn a_backup_can_hold_one_record_or_none_and_go_on_by_one() {
    let (log, mut appender) = log_on(&MemoryStore::new());
    let mut bytes = take(&log, BEGINNING, &mut |_| {});
    assert_eq!(read(&bytes).0.unwrap().0.records, 0);
    for records in 1..=3 {
        append_notes(&mut appender, ["a note"]);
        assert_eq!(read(&take(&log, BEGINNING, &mut |_| {})).0.unwrap().0.records, records);
        // The same one, gone on with by what is new.
        let standing = read(&bytes).1;
        bytes.truncate(standing.bytes as usize);
        bytes.extend(take(&log, standing.after, &mut |_| {}));
        assert_eq!(read(&bytes).0.unwrap().0.records, records);
    }
}

#[test]
fn what_is_deleted_while_a_backup_is_taken_is_left_out_together_with_its_deletion_or_not_at_all() {
    // Steps are of a MiB, so this log takes several.
    let (log, mut appender) = log_on(&MemoryStore::new());
    let mut noise = blake3::Hasher::new().finalize_xof();
    for _ in 0..40 {
        let mut bytes = vec![0; 60_000];
        noise.fill(&mut bytes);
        let text: String = bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect();
        append_notes(&mut appender, [text.as_str()]);
    }
    let mut ats = Vec::new();
    let bytes = take(&log, BEGINNING, &mut |at| {
        ats.push(at.0);
        // One that is in the backup already, and one that comes.
        let (before, behind) = (at.0.max(1), at.0 + 5);
        if at.0 > 0 {
            remove(&log, &mut appender, before);
        }
        if behind <= 40 {
            remove(&log, &mut appender, behind);
        }
    });
    assert!(ats.len() >= 3, "the log is too short to be caught in the middle: {ats:?}");
    let (summary, texts) = read(&bytes).0.unwrap();
    let (_space, _dir, staged) = restored(&bytes);
    let mut left_out = 0;
    staged
        .log
        .scan(Offset::FIRST, Offset(40), &mut |record| {
            if let Text::Gone(deletion) = record.text {
                left_out += 1;
                assert!(deletion.offset <= summary.head.offset, "{deletion:?} is behind the end");
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert!(left_out >= 2, "nothing was deleted in time");
    assert_eq!(texts.len() as u64, summary.head.offset.0);
}

#[test]
fn a_backup_that_was_cut_is_gone_on_with_only_in_the_same_history() {
    let (log, _appender) = example();
    let tag = log.tag_at(Offset(120)).unwrap();
    let begin = |log: &Arc<Log>, offset, tag| {
        BackupWriter::begin(
            Arc::clone(log),
            ResumePoint { offset: Offset(offset), tag },
            MADE,
            &mut Vec::new(),
        )
        .map(|writer| writer.progress().at)
    };
    assert_eq!(begin(&log, 120, tag).unwrap(), Offset(120));
    assert!(matches!(begin(&log, 120, Some(Tag(1))), Err(BeginError::OtherHistory(Offset(120)))));
    assert!(matches!(begin(&log, 331, None), Err(BeginError::Ahead { head: Offset(330), .. })));
}

#[test]
fn what_is_no_backup_a_newer_one_or_followed_by_something_is_refused() {
    let (log, _appender) = example();
    let bytes = take(&log, BEGINNING, &mut |_| {});
    for other in [&b""[..], b"\x01", b"PK\x03\x04 something else that is long enough", &bytes[9..]] {
        assert!(matches!(read(other).0, Err(BackupError::NotABackup)), "{other:?}");
    }
    // The first frame with another format, and the right checksum for it.
    let mut newer = bytes.clone();
    let format = newer.windows(4).position(|four| four == [1, 0, 0, 0]).unwrap().max(9 + 18);
    newer[format] = 9;
    let length = u32::from_le_bytes(newer[1..5].try_into().unwrap()) as usize;
    let crc = crc32fast::hash(&[&newer[..5], &newer[9..9 + length]].concat());
    newer[5..9].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(read(&newer).0, Err(BackupError::Newer { found: 9 })));
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(read(&longer).0, Err(BackupError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_backup_that_was_cut_anywhere_and_gone_on_with_is_whole(cuts in proptest::collection::vec(0.0..1.0_f64, 1..4)) {
        let (log, mut appender) = example();
        let mut bytes = take(&log, BEGINNING, &mut |_| {});
        for (number, cut) in cuts.iter().enumerate() {
            let at = (cut * (bytes.len() - 1) as f64) as usize;
            bytes.truncate(at);
            let (outcome, standing) = read(&bytes);
            let is_cut = matches!(outcome, Err(BackupError::Incomplete { .. } | BackupError::NotABackup));
            prop_assert!(is_cut, "{outcome:?}");
            bytes.truncate(standing.bytes as usize);
            // Meanwhile life goes on.
            appender.append(Timestamp(2), vec![note("a later note")]).unwrap();
            appender.publish();
            remove(&log, &mut appender, number as u64 + 1);
            bytes.extend(take(&log, standing.after, &mut |_| {}));
        }
        let (summary, _) = read(&bytes).0.unwrap();
        prop_assert_eq!(summary.head, log.head());
        prop_assert_eq!(summary.attachments.len(), 1);
    }

    #[test]
    fn no_flipped_bit_in_a_backup_goes_unseen(place in 0.0..1.0_f64, bit in 0..8_u8) {
        let (log, _appender) = example();
        let mut bytes = take(&log, BEGINNING, &mut |_| {});
        let at = (place * bytes.len() as f64) as usize;
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes).0.is_err(), "byte {at}, bit {bit}");
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_read_as_a_backup(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).0.is_err());
    }
}
