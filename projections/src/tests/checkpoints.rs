//! The checkpoint's file: damage, other versions, other logs, half-written files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use scrollback_log::{Deletion, Log, Offset, Timestamp};
use tempfile::TempDir;

use super::{a_full_history, append, bytes, folded, log_of, open, opened};
use crate::testing::{History, SETTINGS};
use crate::{
    CheckpointError, CheckpointState, OpenViewsError, RebuildReason, ViewSettings, Views, checkpoint,
    open_views,
};

const FILE: &str = "checkpoint";

fn checkpointed(views: &Views, log: &Log) -> TempDir {
    let dir = TempDir::new().unwrap();
    checkpoint::write(dir.path(), views, log).unwrap().commit().unwrap();
    dir
}

/// Writes the checkpoint again with `change` made to it and a checksum that fits.
fn change(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 4);
    change(&mut bytes);
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
}

#[test]
fn views_from_a_checkpoint_are_those_of_a_whole_fold() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let views = folded(&history, Offset::BEGINNING);
    let dir = checkpointed(&views, &log);
    let again = opened(&log, dir.path());
    assert_eq!(again.from, CheckpointState::Used(history.head()));
    assert_eq!(bytes(&again.views), bytes(&views));
}

#[test]
fn a_checkpoint_is_the_same_bytes_however_its_views_came_about() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let first = checkpointed(&folded(&history, Offset::BEGINNING), &log);
    let second = checkpointed(&opened(&log, first.path()).views, &log);
    assert_eq!(fs::read(first.path().join(FILE)).unwrap(), fs::read(second.path().join(FILE)).unwrap());
}

#[test]
fn damage_at_any_byte_and_any_cut_means_a_rebuild_and_never_other_views() {
    let history = History::new(&[
        [0, 1, 0, 0],
        [2, 0, 1, 4],
        [5, 0, 2, 4],
        [10, 0, 3, 4],
        [11, 0, 1, 4],
        [14, 0, 9, 4],
    ]);
    let (_, log, _) = log_of(&history);
    let views = folded(&history, Offset::BEGINNING);
    let dir = checkpointed(&views, &log);
    let path = dir.path().join(FILE);
    let good = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let opened = opened(&log, dir.path());
        assert!(
            matches!(opened.from, CheckpointState::Rebuilt(RebuildReason::Damaged { .. })),
            "{what}: {:?}",
            opened.from
        );
        assert_eq!(opened.views.digest(), views.digest(), "{what}");
    };
    for place in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[place] ^= flip;
            damaged(&bad, &format!("byte {place} changed by {flip:#x}"));
        }
        damaged(&good[..place], &format!("cut after {place} bytes"));
    }
    let mut longer = good.clone();
    longer.push(0);
    damaged(&longer, "a byte more");
    fs::write(&path, &good).unwrap();
    assert_eq!(opened(&log, dir.path()).from, CheckpointState::Used(history.head()));
}

#[test]
fn a_file_whose_checksum_fits_what_should_not_be_in_it_is_damaged_too() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let views = folded(&history, Offset::BEGINNING);
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 4] = [
        ("not a checkpoint", |bytes| bytes[0] ^= 1),
        ("its views end early", |bytes| bytes.truncate(bytes.len() / 2)),
        ("more than there should be", |bytes| bytes.push(0)),
        ("another time in the header", |bytes| bytes[36] ^= 1),
    ];
    for (what, made) in changes {
        let dir = checkpointed(&views, &log);
        change(dir.path(), made);
        let opened = opened(&log, dir.path());
        assert!(
            matches!(opened.from, CheckpointState::Rebuilt(RebuildReason::Damaged { .. })),
            "{what}: {:?}",
            opened.from
        );
        assert_eq!(opened.views.digest(), views.digest(), "{what}");
    }
}

#[test]
fn a_checkpoint_of_another_version_means_a_rebuild() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let views = folded(&history, Offset::BEGINNING);
    let dir = checkpointed(&views, &log);
    change(dir.path(), |bytes| bytes[8..12].copy_from_slice(&7_u32.to_le_bytes()));
    let opened = opened(&log, dir.path());
    assert_eq!(opened.from, CheckpointState::Rebuilt(RebuildReason::OtherVersion { found: 7 }));
    assert_eq!(opened.views.digest(), views.digest());
}

#[test]
fn a_checkpoint_of_other_settings_means_a_rebuild() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let dir = checkpointed(&folded(&history, Offset::BEGINNING), &log);
    let settings = ViewSettings { key_retention: SETTINGS.key_retention + Duration::from_secs(1) };
    let opened = open_views(&log, dir.path(), settings, &mut |_| {}).unwrap();
    assert_eq!(opened.from, CheckpointState::Rebuilt(RebuildReason::OtherSettings));
    assert_eq!(opened.views.settings(), settings);
}

#[test]
fn a_checkpoint_ahead_of_the_log_is_a_lost_log_whatever_its_version() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let dir = checkpointed(&folded(&history, Offset::BEGINNING), &log);
    let (_, shorter, mut appender) = log_of(&History::default());
    append(&mut appender, &history, 0..history.records.len() - 1);
    for version in [checkpoint::VIEW_VERSION, 7] {
        change(dir.path(), |bytes| bytes[8..12].copy_from_slice(&version.to_le_bytes()));
        let error = open_views(&shorter, dir.path(), SETTINGS, &mut |_| {}).unwrap_err();
        let expected = history.head();
        let lost = matches!(error, OpenViewsError::LostLog { checkpoint, head } if checkpoint == expected && head < expected);
        assert!(lost, "{error}");
    }
}

#[test]
fn a_checkpoint_of_another_log_is_a_lost_log() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let dir = checkpointed(&folded(&history, Offset::BEGINNING), &log);
    // The same facts, sealed with other salts: another log.
    let (_, other, _) = log_of(&history);
    let error = open_views(&other, dir.path(), SETTINGS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, OpenViewsError::LostLog { .. }), "{error}");
    assert!(error.to_string().contains("is another one"), "{error}");
}

#[test]
fn an_empty_logs_checkpoint_can_be_used() {
    let (_, log, _) = log_of(&History::default());
    let dir = checkpointed(&Views::new(SETTINGS), &log);
    assert_eq!(opened(&log, dir.path()).from, CheckpointState::Used(Offset::BEGINNING));
}

#[test]
fn views_ahead_of_the_published_head_are_not_stored() {
    let history = a_full_history();
    let (store, _, mut appender) = log_of(&History::default());
    append(&mut appender, &history, 0..1);
    let (time, record) = history.records[1].clone();
    appender.append(time, vec![record]).unwrap();
    let mut views = Views::new(SETTINGS);
    history.sealed()[..2].iter().for_each(|sealed| {
        views.apply(&sealed.as_record()).unwrap();
    });
    let dir = TempDir::new().unwrap();
    let error = checkpoint::write(dir.path(), &views, appender.log()).unwrap_err();
    let (at, head) = (Offset(2), Offset(1));
    assert!(
        matches!(error, CheckpointError::NotPublished { at: a, head: h } if (a, h) == (at, head)),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    drop(store);
    appender.publish();
    checkpoint::write(dir.path(), &views, appender.log()).unwrap().commit().unwrap();
}

#[test]
fn until_it_is_committed_the_checkpoint_before_stays_in_force_and_a_start_clears_the_rest_away() {
    let history = a_full_history();
    let (_, log, mut appender) = log_of(&History::default());
    append(&mut appender, &history, 0..50);
    let mut views = Views::new(SETTINGS);
    let sealed = history.sealed();
    sealed[..50].iter().for_each(|sealed| drop(views.apply(&sealed.as_record()).unwrap()));
    let dir = checkpointed(&views, &log);
    append(&mut appender, &history, 50..history.records.len());
    sealed[50..].iter().for_each(|sealed| drop(views.apply(&sealed.as_record()).unwrap()));
    drop(checkpoint::write(dir.path(), &views, &log).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(opened(&log, dir.path()).from, CheckpointState::Used(Offset(50)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    checkpoint::write(dir.path(), &views, &log).unwrap().commit().unwrap();
    assert_eq!(opened(&log, dir.path()).from, CheckpointState::Used(history.head()));
}

#[test]
fn a_checkpoint_is_for_its_owner_alone_and_its_directory_is_made_if_missing() {
    let history = a_full_history();
    let (_, log, _) = log_of(&history);
    let dir = TempDir::new().unwrap();
    let views_dir = dir.path().join("views");
    checkpoint::write(&views_dir, &folded(&history, Offset::BEGINNING), &log).unwrap().commit().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&views_dir), mode(&views_dir.join(FILE))), (0o700, 0o600));
    checkpoint::remove(&views_dir).unwrap();
    checkpoint::remove(&views_dir).unwrap();
    assert_eq!(fs::read_dir(&views_dir).unwrap().count(), 0);
}

#[test]
fn a_checkpoint_that_cannot_be_read_at_all_is_an_error_and_not_a_rebuild() {
    let (_, log, _) = log_of(&a_full_history());
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let error = open_views(&log, dir.path(), SETTINGS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, OpenViewsError::Checkpoint(CheckpointError::Io { .. })), "{error}");
}

#[test]
fn only_the_masks_of_deletions_that_the_views_know_are_stored() {
    let history = a_full_history();
    let (store, log, _) = log_of(&history);
    let known = history.deletions[0].clone();
    let later = history.deletions[1].clone();
    let at = known.0.offset;
    let mut views = Views::new(SETTINGS);
    for sealed in history.sealed().iter().take(at.0 as usize) {
        if let Some(named) = views.apply(&sealed.as_record()).unwrap() {
            log.mask(named.deletion, named.targets);
        }
    }
    log.mask(later.0, later.1.iter().map(|target| target.0).collect());
    let dir = checkpointed(&views, &log);
    let stored = checkpoint::Stored::open(dir.path()).unwrap().unwrap().read(SETTINGS).unwrap();
    let waiting: Vec<(Deletion, Vec<Offset>)> =
        stored.waiting.iter().map(|(deletion, set)| (*deletion, set.iter().map(Offset).collect())).collect();
    assert_eq!(waiting, [known]);
    // And what is not stored is met again on the way to the head.
    let (log, _) = open(&store);
    opened(&log, dir.path());
    assert_eq!(log.mask_of(later.1[0]), Some(later.0));
}

#[test]
fn a_deleted_channels_name_is_not_in_the_next_checkpoint() {
    // A channel, and its deletion.
    let mut history = History::new(&[[2, 1, 1, 4]]);
    let (_, log, mut appender) = log_of(&history);
    let dir = checkpointed(&folded(&history, Offset::BEGINNING), &log);
    let has_name = || {
        let bytes = fs::read(dir.path().join(FILE)).unwrap();
        bytes.windows(9).any(|window| window.eq_ignore_ascii_case(b"channel 1"))
    };
    assert!(has_name());
    let before = history.records.len();
    history = History::new(&[[2, 1, 1, 4], [4, 0, 1, 4]]);
    append(&mut appender, &history, before..history.records.len());
    assert_eq!(history.deletions.len(), 1);
    checkpoint::write(dir.path(), &opened(&log, dir.path()).views, &log).unwrap().commit().unwrap();
    assert!(!has_name());
}

#[test]
fn a_time_before_1970_can_be_stored() {
    let mut history = History::new(&[]);
    history.records.iter_mut().for_each(|(time, _)| *time = Timestamp(-1_000_000));
    let (_, log, _) = log_of(&history);
    let views = folded(&history, Offset::BEGINNING);
    let dir = checkpointed(&views, &log);
    assert_eq!(opened(&log, dir.path()).views.time(), Timestamp(-1_000_000));
}
