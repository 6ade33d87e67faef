//! The synced database: what is committed is there after a kill, values stay in sled's one synced file, and failures
//! are told.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::path::Path;

use common::copy_dir;
use scrollback_log::synced::{KEY_BYTES_MAX, SyncedBatch, SyncedDb, SyncedError, VALUE_BYTES_MAX};

const CACHE_BYTES: u64 = 1 << 20;

fn open(dir: &Path) -> SyncedDb {
    SyncedDb::open(dir, CACHE_BYTES).unwrap()
}

#[test]
fn what_is_committed_is_there_after_a_kill() {
    let space = tempfile::tempdir().unwrap();
    let (dir, killed) = (space.path().join("db"), space.path().join("killed"));
    let db = open(&dir);
    let (people, tokens) = (db.tree("people").unwrap(), db.tree("tokens").unwrap());
    let mut batch = SyncedBatch::default();
    batch.put(&people, b"ann", b"1").unwrap();
    batch.put(&people, b"bob", b"2").unwrap();
    batch.put(&tokens, b"t", b"3").unwrap();
    db.commit(batch).unwrap();
    let mut batch = SyncedBatch::default();
    batch.remove(&people, b"bob");
    batch.remove(&people, b"nobody");
    batch.put(&people, b"cid", b"4").unwrap();
    db.commit(batch).unwrap();
    copy_dir(&dir, &killed);

    let recovered = open(&killed);
    let people = recovered.tree("people").unwrap();
    let entries: Vec<(Vec<u8>, Vec<u8>)> = people
        .iter()
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect();
    assert_eq!(entries, [(b"ann".to_vec(), b"1".to_vec()), (b"cid".to_vec(), b"4".to_vec())]);
    assert_eq!(people.get(b"bob").unwrap().map(|value| value.to_vec()), None);
    assert_eq!(
        recovered.tree("tokens").unwrap().get(b"t").unwrap().map(|value| value.to_vec()),
        Some(b"3".to_vec())
    );
    let floor = people.at_or_before(b"bz").unwrap().map(|(key, _)| key.to_vec());
    assert_eq!(floor, Some(b"ann".to_vec()));
    assert_eq!(people.range(b"b".to_vec()..).count(), 1);
}

#[test]
fn small_commits_write_into_zeros_that_are_free_space_to_the_next_open() {
    let space = tempfile::tempdir().unwrap();
    let dir = space.path().join("db");
    let length = || std::fs::metadata(dir.join("db")).unwrap().len();
    let commit = |db: &SyncedDb, number: u64| {
        let tree = db.tree("tree").unwrap();
        let mut batch = SyncedBatch::default();
        batch.put(&tree, &number.to_be_bytes(), &[7; 2_000]).unwrap();
        db.commit(batch).unwrap();
        length()
    };
    let db = open(&dir);
    let mut lengths = vec![commit(&db, 0)];
    let is_filled = |lengths: &[u64]| lengths.windows(2).any(|two| two[1] - two[0] > 1 << 19);
    while !is_filled(&lengths) {
        assert!(lengths.len() < 700, "it is never filled");
        lengths.push(commit(&db, lengths.len() as u64));
    }
    let [before, filled] = lengths[lengths.len() - 2..] else { panic!("there are two") };
    assert!(before < 2 << 20 && filled > 2 << 20, "a small file is not filled");
    let committed = lengths.len() as u64 + 100;
    let within = (committed - 100..committed).all(|number| commit(&db, number) == filled);
    assert!(within, "a commit within the zeros needs no new length");

    drop(db);
    // What sled does with free space at its end, cutting it off or writing there, depends on its threads.
    let reopened: Vec<u64> = (0..20).map(|number| commit(&open(&dir), committed + number)).collect();
    assert!(reopened.iter().all(|length| *length < filled + (1 << 20)), "zeros are free space: {reopened:?}");
    let db = open(&dir);
    let tree = db.tree("tree").unwrap();
    assert!((0..committed + 20).all(|number| tree.get(&number.to_be_bytes()).unwrap().is_some()));
}

#[test]
fn what_is_too_long_is_refused_and_nothing_is_harmed() {
    let space = tempfile::tempdir().unwrap();
    let db = open(&space.path().join("db"));
    let tree = db.tree("tree").unwrap();
    let mut batch = SyncedBatch::default();
    for (key, value) in [(KEY_BYTES_MAX + 1, 1), (1, VALUE_BYTES_MAX + 1)] {
        let outcome = batch.put(&tree, &vec![1; key], &vec![1; value]);
        assert!(matches!(outcome, Err(SyncedError::TooLarge { .. })));
    }
    batch.put(&tree, &[1; KEY_BYTES_MAX], &[1; VALUE_BYTES_MAX]).unwrap();
    db.commit(batch).unwrap();
    assert!(!db.has_failed());
    assert_eq!(tree.iter().count(), 1);
}

#[test]
fn the_longest_values_stay_in_the_file_that_is_synced() {
    let space = tempfile::tempdir().unwrap();
    let dir = space.path().join("db");
    let db = open(&dir);
    let tree = db.tree("tree").unwrap();
    let ascending = (0..2000_u64).map(|number| number.to_be_bytes().to_vec());
    let scattered = (0..2000_u64).map(|number| blake3::hash(&number.to_le_bytes()).as_bytes().to_vec());
    for (number, key) in ascending.chain(scattered).enumerate() {
        let mut batch = SyncedBatch::default();
        batch.put(&tree, &key, &[number as u8; VALUE_BYTES_MAX]).unwrap();
        if number % 7 == 0 {
            batch.remove(&tree, &(number as u64 / 2).to_be_bytes());
        }
        db.commit(batch).unwrap();
        assert_eq!(std::fs::read_dir(dir.join("blobs")).unwrap().count(), 0, "after {number} values");
    }
}

#[test]
fn a_second_handle_is_refused_as_in_use() {
    let space = tempfile::tempdir().unwrap();
    let dir = space.path().join("db");
    let _db = open(&dir);
    assert!(matches!(SyncedDb::open(&dir, CACHE_BYTES), Err(SyncedError::InUse { .. })));
}

#[test]
fn a_snapshot_that_a_crash_left_half_written_is_not_used() {
    let space = tempfile::tempdir().unwrap();
    let dir = space.path().join("db");
    for value in [b"1", b"2"] {
        let db = open(&dir);
        let tree = db.tree("tree").unwrap();
        let mut batch = SyncedBatch::default();
        batch.put(&tree, b"key", value).unwrap();
        db.commit(batch).unwrap();
    }
    std::fs::write(dir.join("snap.FFFFFFFFFFFFFFFF.generating"), b"half a snapshot").unwrap();
    let db = open(&dir);
    assert_eq!(
        db.tree("tree").unwrap().get(b"key").unwrap().map(|value| value.to_vec()),
        Some(b"2".to_vec())
    );
}

#[test]
fn after_a_clean_stop_a_snapshot_holds_everything() {
    let space = tempfile::tempdir().unwrap();
    let dir = space.path().join("db");
    let db = open(&dir);
    let tree = db.tree("tree").unwrap();
    let mut batch = SyncedBatch::default();
    batch.put(&tree, b"key", b"value").unwrap();
    db.commit(batch).unwrap();
    assert!(matches!(SyncedDb::write_snapshot(&dir, CACHE_BYTES), Err(SyncedError::InUse { .. })));
    drop((tree, db));
    SyncedDb::write_snapshot(&dir, CACHE_BYTES).unwrap();
    let snapshots = || {
        let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snap.")).collect::<Vec<_>>()
    };
    let before = snapshots();
    assert_eq!(before.len(), 1);
    drop(open(&dir));
    assert_eq!(snapshots(), before, "nothing was left to replay");
}
