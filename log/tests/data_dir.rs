//! Opening a data directory: one process at a time, and only the log that was there before, all of it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use common::{append_notes, copy_dir, note, shown};
use scrollback_log::data_dir::{DataDir, DataDirError, write_atomically};
use scrollback_log::{
    Appender, ChainValue, Head, Log, LogOptions, Offset, OpenError, Timestamp, open, open_accepting_witness,
    verify,
};

type Opened = (DataDir, Arc<Log>, Appender);

fn create(root: &Path, notes: &[&str]) -> Head {
    let (_dir, log, mut appender) = go_on(root);
    append_notes(&mut appender, notes.iter().copied());
    appender.sync_witness().unwrap();
    log.head()
}

fn go_on(root: &Path) -> Opened {
    let dir = DataDir::create_or_open(root).unwrap();
    let (log, appender) = open(&dir, &LogOptions::default()).unwrap();
    (dir, log, appender)
}

fn refusal(root: &Path) -> OpenError {
    let dir = DataDir::open_existing(root).unwrap();
    match open(&dir, &LogOptions::default()) {
        Ok((log, _)) => panic!("it opened at {:?}", log.head()),
        Err(error) => error,
    }
}

#[test]
fn a_log_is_there_again_after_a_stop() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("far/away/data");
    let head = create(&root, &["one", "two"]);
    let (_dir, log, mut appender) = go_on(&root);
    assert_eq!(log.head(), head);
    append_notes(&mut appender, ["three"]);
    assert_eq!(shown(&log), ["one", "two", "three"]);
}

#[test]
fn only_one_process_has_a_directory_and_the_refusal_names_it() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let held = go_on(&root);
    for outcome in [DataDir::create_or_open(&root), DataDir::open_existing(&root)] {
        let Err(error @ DataDirError::InUse { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    }
    drop(held);
    DataDir::open_existing(&root).unwrap();
}

#[test]
fn nobody_else_can_read_what_is_in_a_directory() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    // A second opening leaves a snapshot of sled's.
    create(&root, &["two"]);
    fn check(path: &Path, entries: &mut usize) {
        *entries += 1;
        let metadata = std::fs::metadata(path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
        if metadata.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path(), entries));
        }
    }
    let mut entries = 0;
    check(&root, &mut entries);
    assert!(entries >= 9, "{entries}");
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone() {
    let space = tempfile::tempdir().unwrap();
    std::fs::write(space.path().join("thesis.tex"), b"\\begin").unwrap();
    let Err(error) = DataDir::create_or_open(space.path()) else { panic!("taken") };
    assert!(matches!(&error, DataDirError::Foreign { entry, .. } if entry == "thesis.tex"), "{error}");
    assert!(matches!(DataDir::open_existing(space.path()), Err(DataDirError::NotThere { .. })));
    assert_eq!(std::fs::read_dir(space.path()).unwrap().count(), 1, "nothing was put into it");
}

#[test]
fn only_a_complete_directory_is_an_existing_one() {
    let space = tempfile::tempdir().unwrap();
    for root in [space.path().to_owned(), space.path().join("not there")] {
        assert!(matches!(DataDir::open_existing(&root), Err(DataDirError::NotThere { .. })));
    }
    assert_eq!(std::fs::read_dir(space.path()).unwrap().count(), 0);
}

#[test]
fn data_without_the_name_of_their_log_are_not_begun_anew() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    std::fs::remove_file(root.join("CURRENT")).unwrap();
    for outcome in [DataDir::create_or_open(&root), DataDir::open_existing(&root)] {
        assert!(matches!(outcome, Err(DataDirError::CurrentMissing { .. })), "{outcome:?}");
    }
    assert!(root.join("log.1/db").exists());
}

#[test]
fn a_directory_that_was_complete_once_is_never_begun_anew() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    // What a crash leaves between the last two steps of making a directory.
    std::fs::write(root.join("CREATING"), b"").unwrap();
    create(&root, &["two"]);
    std::fs::remove_file(root.join("CURRENT")).unwrap();
    let outcome = DataDir::create_or_open(&root);
    assert!(matches!(outcome, Err(DataDirError::CurrentMissing { .. })), "{outcome:?}");
    assert!(root.join("log.1/db").exists());
}

#[test]
fn every_changed_byte_of_the_log_s_name_is_noticed() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    std::fs::create_dir(root.join("log.3")).unwrap();
    let current = std::fs::read(root.join("CURRENT")).unwrap();
    let mut changes: Vec<Vec<u8>> = (0..current.len()).map(|len| current[..len].to_vec()).collect();
    for bit in 0..current.len() * 8 {
        let mut changed = current.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        changes.push(changed);
    }
    changes.push([current.as_slice(), b" "].concat());
    for changed in changes {
        std::fs::write(root.join("CURRENT"), &changed).unwrap();
        let outcome = DataDir::create_or_open(&root);
        assert!(matches!(outcome, Err(DataDirError::CurrentDamaged { .. })), "{changed:?} gives {outcome:?}");
    }
    std::fs::write(root.join("CURRENT"), &current).unwrap();
    go_on(&root);
}

#[test]
fn an_older_state_of_the_log_is_a_lost_tail() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let older = create(&root, &["one"]);
    copy_dir(&root.join("log.1"), &space.path().join("older"));
    let newer = create(&root, &["two", "three"]);
    std::fs::remove_dir_all(root.join("log.1")).unwrap();
    copy_dir(&space.path().join("older"), &root.join("log.1"));
    let error = refusal(&root);
    assert!(
        matches!(error, OpenError::LostTail { witness, head, .. } if witness == newer && head == older),
        "{error}"
    );
    assert!(error.to_string().contains("ends at offset 1, but was durable up to offset 3"), "{error}");
    let dir = DataDir::open_existing(&root).unwrap();
    let report = verify::verify(&dir, &LogOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(report.damage.iter().map(|damage| damage.offset).collect::<Vec<_>>(), [Offset(2)]);
}

#[test]
fn what_was_appended_before_a_kill_is_missed_when_an_older_log_is_put_back() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    let (dir, log, mut appender) = go_on(&root);
    append_notes(&mut appender, ["two"]);
    copy_dir(&root.join("log.1"), &space.path().join("older"));
    append_notes(&mut appender, ["three"]);
    // Without a clean stop: nothing but the append itself has told the witness.
    let killed = space.path().join("killed");
    copy_dir(&root, &killed);
    drop((dir, log, appender));
    std::fs::remove_dir_all(killed.join("log.1")).unwrap();
    copy_dir(&space.path().join("older"), &killed.join("log.1"));
    let error = refusal(&killed);
    assert!(
        matches!(error, OpenError::LostTail { witness, head, .. } if (witness.offset, head.offset) == (Offset(3), Offset(2))),
        "{error}"
    );
}

#[test]
fn a_log_that_came_up_empty_is_a_lost_tail() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    std::fs::remove_dir_all(root.join("log.1")).unwrap();
    std::fs::create_dir(root.join("log.1")).unwrap();
    let error = refusal(&root);
    assert!(matches!(error, OpenError::LostTail { head, .. } if head == Head::default()), "{error}");
}

#[test]
fn another_log_is_refused_even_if_it_is_longer() {
    let space = tempfile::tempdir().unwrap();
    let (root, other) = (space.path().join("data"), space.path().join("other"));
    create(&root, &["one", "two"]);
    create(&other, &["one", "other", "three"]);
    std::fs::remove_dir_all(root.join("log.1")).unwrap();
    copy_dir(&other.join("log.1"), &root.join("log.1"));
    let error = refusal(&root);
    assert!(matches!(error, OpenError::OtherChain { offset: Offset(2), .. }), "{error}");
}

#[test]
fn a_log_ahead_of_its_witness_is_what_a_crash_leaves() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    let witness = std::fs::read(root.join("witness")).unwrap();
    create(&root, &["two", "three"]);
    std::fs::write(root.join("witness"), witness).unwrap();
    let (_dir, log, _appender) = go_on(&root);
    assert_eq!(shown(&log), ["one", "two", "three"]);
}

#[test]
fn without_a_sound_witness_a_log_is_only_opened_after_a_whole_check() {
    for bytes in [None, Some(vec![0; 8192]), Some(b"sbw1".to_vec()), Some(vec![])] {
        let space = tempfile::tempdir().unwrap();
        let root = space.path().join("data");
        create(&root, &["one", "two"]);
        let witness = root.join("witness");
        match &bytes {
            None => std::fs::remove_file(&witness).unwrap(),
            Some(bytes) => std::fs::write(&witness, bytes).unwrap(),
        }
        let error = refusal(&root);
        match bytes {
            None => assert!(matches!(error, OpenError::WitnessMissing { .. }), "{error}"),
            Some(_) => assert!(matches!(error, OpenError::WitnessDamaged { .. }), "{error}"),
        }
        assert!(error.to_string().contains("scrollback replay"), "{error}");
        let dir = DataDir::open_existing(&root).unwrap();
        let mut checked = Offset::BEGINNING;
        let (log, appender) =
            open_accepting_witness(&dir, &LogOptions::default(), &mut |progress| checked = progress.at)
                .unwrap();
        assert_eq!((shown(&log), checked), (vec!["one".into(), "two".into()], Offset(2)));
        drop((dir, log, appender));
        go_on(&root);
    }
}

#[test]
fn another_log_of_the_same_length_is_found_by_a_check_that_tells_how_far_it_is() {
    let space = tempfile::tempdir().unwrap();
    let (root, other) = (space.path().join("data"), space.path().join("other"));
    create(&root, &["one", "two", "three"]);
    create(&other, &["uno", "dos", "tres"]);
    let check = |root: &Path| {
        let mut told = Vec::new();
        let dir = DataDir::open_existing(root).unwrap();
        let report =
            verify::verify(&dir, &LogOptions::default(), &mut |progress| told.push(progress)).unwrap();
        let last = told.last().map(|progress| (progress.at, progress.head));
        assert_eq!(last, Some((Offset(3), Offset(3))));
        report.damage
    };
    assert_eq!(check(&root), []);
    std::fs::remove_dir_all(root.join("log.1")).unwrap();
    copy_dir(&other.join("log.1"), &root.join("log.1"));
    let damage = check(&root);
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].offset == Offset(3) && damage[0].what.contains("another log"), "{damage:?}");
}

#[test]
fn a_witness_that_cannot_be_read_is_not_taken_for_a_missing_one() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    std::fs::remove_file(root.join("witness")).unwrap();
    std::fs::create_dir(root.join("witness")).unwrap();
    let error = refusal(&root);
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("witness"), "{error}");
}

#[test]
fn a_record_s_tag_is_the_chain_s_and_there_is_none_beyond_the_head() {
    let space = tempfile::tempdir().unwrap();
    let (_dir, log, mut appender) = go_on(&space.path().join("data"));
    let before = log.syncs();
    append_notes(&mut appender, ["one"]);
    assert!(log.syncs() > before, "what is acknowledged was synced");
    let first = log.head();
    append_notes(&mut appender, ["two"]);
    assert_eq!(log.tag_at(Offset(1)).unwrap(), Some(first.chain.tag()));
    assert_eq!(log.tag_at(Offset(2)).unwrap(), Some(log.head().chain.tag()));
    assert_eq!(log.tag_at(Offset(3)).unwrap(), None);
    assert_eq!(log.tag_at(Offset::BEGINNING).unwrap(), Some(ChainValue::BEGINNING.tag()));
}

#[test]
fn a_finished_log_has_a_snapshot_of_all_of_it() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one", "two"]);
    let snapshots = || {
        let files = std::fs::read_dir(root.join("log.1")).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.to_string_lossy().contains("/snap.")).collect::<Vec<_>>()
    };
    snapshots().iter().for_each(|snapshot| std::fs::remove_file(snapshot).unwrap());
    let dir = DataDir::open_existing(&root).unwrap();
    scrollback_log::finish(&dir, &LogOptions::default()).unwrap();
    assert_eq!(snapshots().len(), 1);
    drop(dir);
    let (_dir, log, _appender) = go_on(&root);
    assert_eq!(shown(&log), ["one", "two"]);
}

#[test]
fn what_an_interrupted_compaction_left_is_removed_at_the_next_opening() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    create(&root, &["one"]);
    copy_dir(&root.join("log.1"), &root.join("log.2"));
    std::fs::create_dir(root.join("log.of another kind")).unwrap();
    go_on(&root);
    assert!(!root.join("log.2").exists());
    assert!(root.join("log.of another kind").exists(), "not one of ours");
}

#[test]
fn a_file_is_replaced_whole_and_privately() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("file");
    std::fs::write(space.path().join("file.new"), vec![1; 100]).unwrap();
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(space.path()).unwrap().count(), 1);
}

#[test]
fn records_are_on_disk_without_a_clean_stop() {
    let space = tempfile::tempdir().unwrap();
    let root = space.path().join("data");
    let (_dir, log, mut appender) = go_on(&root);
    for number in 0..50 {
        appender.append(Timestamp(number), vec![note(&number.to_string())]).unwrap();
        appender.publish();
    }
    // As a kill would leave it: the files at this moment.
    let killed = space.path().join("killed");
    copy_dir(&root, &killed);
    let (_dir, recovered, _appender) = go_on(&killed);
    assert_eq!(recovered.head(), log.head());
    assert_eq!(shown(&recovered), shown(&log));
}
