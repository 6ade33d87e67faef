use std::ops::ControlFlow;
use std::process::Command;

use scrollback_log::{NewRecord, Text, Timestamp, verify};
use scrollback_projections::testing::{History, SETTINGS};

use super::*;

/// Set it to write the fixtures anew.
const UPDATE: &str = "SCROLLBACK_UPDATE_GOLDEN";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/tests/fixtures")
}

/// Something that happens to a table.
type Change<'a> = &'a dyn Fn(&sled::Tree);

/// Writes a data directory as a program of format 0 would have.
fn write_format_0(root: &Path, records: &[(Timestamp, NewRecord)]) {
    write_format_0_and(root, records, &|_| {});
}

/// [`write_format_0`] with something done to its table at the end.
fn write_format_0_and(root: &Path, records: &[(Timestamp, NewRecord)], change: Change<'_>) {
    let log = root.join("log.1");
    std::fs::create_dir_all(&log).unwrap();
    let db = sled::Config::new().path(&log).open().unwrap();
    let (table, marks) = (db.open_tree("records").unwrap(), db.open_tree("marks").unwrap());
    for (index, (time, record)) in records.iter().enumerate() {
        let offset = index as u64 + 1;
        table.insert(offset.to_be_bytes(), format_0_value(offset, *time, record)).unwrap();
    }
    let mut mark = 0_u64.to_le_bytes().to_vec();
    mark.extend(crc32fast::hash(&mark).to_le_bytes());
    marks.insert("format", mark).unwrap();
    change(&table);
    db.flush().unwrap();
    drop((table, marks, db));
    std::fs::write(root.join("CURRENT"), format!("log.1 {:08x}\n", crc32fast::hash(b"log.1"))).unwrap();
}

fn format_0_value(offset: u64, time: Timestamp, record: &NewRecord) -> Vec<u8> {
    let mut value = Vec::new();
    value.extend(record.kind.0.to_le_bytes());
    value.extend(record.schema.0.to_le_bytes());
    value.extend(offset.to_le_bytes());
    value.extend(time.0.to_le_bytes());
    value.extend(&record.kept);
    value.extend(record.text.as_deref().unwrap_or_default());
    [&crc32fast::hash(&value).to_le_bytes()[..], &value].concat()
}

fn run(data: &Path, dry_run: bool, progress: &mut dyn FnMut(Step)) -> Result<Option<Migrated>, NodeError> {
    migrate(data, SETTINGS, dry_run, progress)
}

/// Asserts that the log in `data` is that history: every record and time, no text that was deleted, every other one.
fn assert_is(data: &Path, history: &History) {
    let dir = DataDir::open_existing(data).unwrap();
    let (log, _appender) = scrollback_log::open(&dir, &LogOptions::default()).unwrap();
    let deleted: Vec<Offset> = history.deletions.iter().flat_map(|(_, targets)| targets.clone()).collect();
    let mut expected = history.records.iter();
    log.scan(Offset::FIRST, log.head().offset, &mut |record| {
        let (time, new) = expected.next().unwrap();
        assert_eq!(
            (record.time, record.kind, record.schema, record.kept),
            (*time, new.kind, new.schema, &new.kept[..])
        );
        match (record.text, &new.text) {
            (Text::Present(text), Some(expected)) => {
                assert_eq!(text, expected);
                assert!(!deleted.contains(&record.offset), "{} was deleted", record.offset);
            }
            (Text::Gone(_), Some(_)) => assert!(deleted.contains(&record.offset), "{}", record.offset),
            (Text::None, None) => {}
            other => panic!("{other:?}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(expected.len(), 0);
    assert_eq!(log.with_masks(Masks::texts_waiting), 0, "all of it is erased, not only masked");
    drop((log, _appender));
    let report = verify::verify(&dir, &LogOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(report.damage, []);
}

#[test]
fn a_log_of_format_0_becomes_the_same_log_without_its_deleted_texts() {
    let space = tempfile::tempdir().unwrap();
    let data = space.path().join("data");
    let history = History::fixed_of_format_0(500);
    write_format_0(&data, &history.records);
    let count = history.records.len() as u64;

    let refused = crate::node::testing::settings(&data);
    let clock = std::sync::Arc::new(scrollback_log::clock::SystemClock);
    let error = crate::Node::open_existing(refused, clock, &mut |_| {}).err().unwrap().to_string();
    assert!(error.contains("format 0") && error.contains("replay --migrate"), "{error}");

    let tried = run(&data, true, &mut |_| {}).unwrap().unwrap();
    assert_eq!((tried.old.records, tried.head, tried.kept), (count, Offset(count), None));
    assert!(!data.join("log.2").exists() && !data.join("kept").exists());

    let mut steps = Vec::new();
    let done = run(&data, false, &mut |step| steps.push(step)).unwrap().unwrap();
    assert_eq!((done.old, done.head, done.erased), (tried.old, tried.head, tried.erased));
    assert!(done.erased > 10, "the history deletes something");
    assert_is(&data, &history);
    assert_eq!(run(&data, false, &mut |_| {}).unwrap(), None, "a second one has nothing to do");
    // What is kept is what the older program can use.
    let kept = DataDir::open_existing(&done.kept.unwrap()).unwrap();
    let old = OldLog::open(&kept, &LogOptions::default()).unwrap().unwrap();
    assert_eq!(old.check(&format0::split, &mut |_| {}).unwrap(), done.old);
}

#[test]
fn damage_to_an_old_log_is_found_before_anything_is_changed() {
    let history = History::fixed_of_format_0(60);
    assert!(history.records.len() > 30);
    let damage: [(&str, Change<'_>); 4] = [
        ("a flipped bit", &|table| {
            let mut value = table.get(30_u64.to_be_bytes()).unwrap().unwrap().to_vec();
            value[26] ^= 1;
            table.insert(30_u64.to_be_bytes(), value).unwrap();
        }),
        ("a missing record", &|table| drop(table.remove(30_u64.to_be_bytes()).unwrap())),
        ("another one's record", &|table| {
            let other = table.get(29_u64.to_be_bytes()).unwrap().unwrap();
            table.insert(30_u64.to_be_bytes(), other).unwrap();
        }),
        ("an unknown kind", &|table| {
            let record = NewRecord { kind: scrollback_log::Kind(99), ..history.records[29].1.clone() };
            table.insert(30_u64.to_be_bytes(), format_0_value(30, history.records[29].0, &record)).unwrap();
        }),
    ];
    for (what, change) in damage {
        let space = tempfile::tempdir().unwrap();
        let data = space.path().join("data");
        write_format_0_and(&data, &history.records, change);
        let error = run(&data, false, &mut |_| {}).unwrap_err();
        assert!(error.is_damage(), "{what}: {error}");
        assert!(error.to_string().contains("offset 30"), "{what}: {error}");
        assert!(!data.join("log.2").exists(), "{what}");
        assert_eq!(std::fs::read_to_string(data.join("CURRENT")).unwrap().split(' ').next(), Some("log.1"));
    }
}

/// The fixtures are what programs of their time wrote; they are only written anew while their format is not released.
#[test]
fn the_fixtures_are_there_and_hold_the_history_they_should() {
    let history = History::fixed_of_format_0(400);
    if std::env::var_os(UPDATE).is_some() {
        let space = tempfile::tempdir().unwrap();
        write_format_0(&space.path().join("data"), &history.records);
        pack(space.path(), &fixtures().join("format-0.tar.gz"));
        run(&space.path().join("data"), false, &mut |_| {}).unwrap().unwrap();
        std::fs::remove_dir_all(space.path().join("data/kept")).unwrap();
        pack(space.path(), &fixtures().join("format-1.tar.gz"));
    }
    for name in ["format-0", "format-1"] {
        let space = tempfile::tempdir().unwrap();
        let archive = fixtures().join(format!("{name}.tar.gz"));
        let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(space.path()).status();
        assert!(unpacked.unwrap().success(), "{archive:?} is not there");
        let data = space.path().join("data");
        let migrated = run(&data, false, &mut |_| {}).unwrap();
        assert_eq!(migrated.is_some(), name == "format-0");
        assert_is(&data, &history);
        let golden = fixtures().join("state.json");
        let mut state = Vec::new();
        crate::node::write_state(&data, Offset(history.records.len() as u64), &mut state, &mut |_| {})
            .unwrap();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&golden, &state).unwrap();
        }
        assert!(state == std::fs::read(&golden).unwrap(), "{name} has another state than {golden:?}");
    }
}

fn pack(space: &Path, archive: &Path) {
    std::fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let packed = Command::new("tar").arg("-czf").arg(archive).arg("-C").arg(space).arg("data").status();
    assert!(packed.unwrap().success());
}
