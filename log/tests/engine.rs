//! The chunked engine on both of its stores: a random history is what a plain list would be, and damage is never served.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{log_on, note, shown};
use proptest::prelude::*;
use scrollback_log::codec::PART_BYTES_MAX;
use scrollback_log::engine::chunked::{ChunkStore, ChunkedEngine, ChunkedError};
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::engine::sled::SledStore;
use scrollback_log::{
    AppendError, Appender, ChunkOptions, Deletion, Encoding, Engine, Erasure, Head, Kind, Log, NewRecord,
    Offset, ReadError, Schema, Text, Timestamp, verify,
};

const CACHE_BYTES: u64 = 1 << 20;
/// As docs/format.md draws them.
const CHUNK_HEADER_BYTES: usize = 44;
const CHUNK_CHAIN_AT: usize = 8;
const RECORD_TAG_AT: usize = 30;

/// A record as the tests remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    time: i64,
    kind: u16,
    kept: Vec<u8>,
    text: Option<Result<Vec<u8>, Deletion>>,
}

fn read_all(engine: &dyn Engine, from: u64, to: u64) -> Result<Vec<(u64, Remembered)>, ReadError> {
    let mut records = Vec::new();
    engine.scan(Offset(from), Offset(to), &mut |record| {
        let text = match record.text {
            Text::None => None,
            Text::Present(text) => Some(Ok(text.to_vec())),
            Text::Gone(deletion) => Some(Err(deletion)),
        };
        let remembered =
            Remembered { time: record.time.0, kind: record.kind.0, kept: record.kept.to_vec(), text };
        records.push((record.offset.0, remembered));
        ControlFlow::Continue(())
    })?;
    Ok(records)
}

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Erase(Vec<u64>),
    Reopen,
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        2 => (any::<u8>(), 0..longest).prop_map(|(byte, len)| vec![byte; len]),
        // Not to be packed, and with its length around what one stored value can hold.
        1 => (any::<u64>(), 4000..longest).prop_map(|(seed, len)| noise(seed, len)),
    ]
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = prop::collection::vec((bytes(6000), prop::option::weighted(0.8, bytes(20_000))), 1..30);
    let step = prop_oneof![
        6 => records.prop_map(Step::Append),
        3 => prop::collection::vec(0_u64..150, 1..10).prop_map(Step::Erase),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..12)
}

fn options() -> impl Strategy<Value = ChunkOptions> {
    (1_u16..70, 1_usize..20_000, prop::sample::select(vec![Encoding::Plain, Encoding::Lz4])).prop_map(
        |(records_max, raw_bytes_max, encoding)| ChunkOptions { records_max, raw_bytes_max, encoding },
    )
}

/// Plays a history on the store that `open` opens, and compares all reads with a plain list.
fn history_is_a_list<S: ChunkStore>(options: ChunkOptions, steps: &[Step], open: &dyn Fn() -> S) {
    let start = |engine: ChunkedEngine<S>| -> (Arc<dyn Engine>, Appender) {
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let (_, appender) = Log::new(Arc::clone(&engine), None);
        (engine, appender)
    };
    let (mut engine, mut appender) = start(ChunkedEngine::create(open(), options).unwrap());
    let mut model: Vec<Remembered> = Vec::new();
    let mut chains = Vec::new();
    for step in steps {
        match step {
            Step::Append(parts) => {
                let time = model.len() as i64;
                let records = parts.iter().map(|(kept, text)| NewRecord {
                    kind: Kind(kept.len() as u16),
                    schema: Schema(1),
                    kept: kept.clone(),
                    text: text.clone(),
                });
                let sealed = appender.append(Timestamp(time), records.collect()).unwrap();
                chains.extend(sealed.iter().map(|sealed| sealed.chain));
                model.extend(parts.iter().map(|(kept, text)| Remembered {
                    time,
                    kind: kept.len() as u16,
                    kept: kept.clone(),
                    text: text.clone().map(Ok),
                }));
            }
            Step::Erase(targets) => {
                let deletion = Deletion { offset: Offset(1000), time: Timestamp(model.len() as i64) };
                let erasures: Vec<Erasure> =
                    targets.iter().map(|target| Erasure { offset: Offset(*target), deletion }).collect();
                engine.erase(&erasures).unwrap();
                for target in targets {
                    if let Some(record) = target.checked_sub(1).and_then(|at| model.get_mut(at as usize))
                        && let Some(text @ Ok(_)) = &mut record.text
                    {
                        *text = Err(deletion);
                    }
                }
            }
            Step::Reopen => {
                drop((engine, appender));
                (engine, appender) = start(ChunkedEngine::open_existing(open(), options).unwrap());
            }
        }
        let expected: Vec<(u64, Remembered)> = (1..).zip(model.iter().cloned()).collect();
        let len = model.len() as u64;
        assert_eq!(engine.head().offset, Offset(len));
        assert_eq!(read_all(engine.as_ref(), 0, u64::MAX).unwrap(), expected);
        for from in [1, len / 2, len].into_iter().filter(|from| *from <= len) {
            let wanted = &expected[(from.max(1) as usize - 1).min(expected.len())..];
            assert_eq!(read_all(engine.as_ref(), from, len).unwrap(), wanted);
            let chain = from.checked_sub(1).map(|at| chains[at as usize]).unwrap_or_default();
            assert_eq!(engine.chain_at(Offset(from)).unwrap(), Some(chain));
        }
        assert_eq!(engine.chain_at(Offset(len + 1)).unwrap(), None);
    }
    drop((engine, appender));
    let report = verify::verify_store(&open(), None, &mut |_| {});
    assert_eq!((report.damage, report.records), (Vec::new(), model.len() as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_in_memory_reads_back_as_a_list(options in options(), steps in steps()) {
        let store = MemoryStore::new();
        history_is_a_list(options, &steps, &|| store.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_on_sled_reads_back_as_a_list(options in options(), steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        history_is_a_list(options, &steps, &|| SledStore::open(&dir.path().join("log"), CACHE_BYTES).unwrap());
        let blobs = std::fs::read_dir(dir.path().join("log/blobs")).unwrap().count();
        prop_assert_eq!(blobs, 0, "sled never syncs what it puts there");
    }
}

/// Chunks of four records each: "0" to "3", "4" to "7", and so on. Plain, so that every byte of them counts.
fn chunks_of_four(store: &MemoryStore, records: usize) -> (Arc<Log>, Appender) {
    let options = ChunkOptions { records_max: 4, encoding: Encoding::Plain, ..ChunkOptions::default() };
    let (log, mut appender) =
        Log::new(Arc::new(ChunkedEngine::create(store.clone(), options).unwrap()), None);
    let notes: Vec<String> = (0..records).map(|number| number.to_string()).collect();
    common::append_notes(&mut appender, notes.iter().map(String::as_str));
    (log, appender)
}

/// What a scan shows, and the offset it ends at if it ends with damage.
fn scan(log: &Log, from: u64) -> (Vec<u64>, Option<u64>) {
    let mut offsets = Vec::new();
    let outcome = log.scan(Offset(from), log.head().offset, &mut |record| {
        assert_eq!(
            record.text,
            Text::Present((record.offset.0 - 1).to_string().as_bytes()),
            "what was written"
        );
        offsets.push(record.offset.0);
        ControlFlow::Continue(())
    });
    let damaged_at = outcome.err().map(|error| match error {
        ReadError::Damaged { offset, place, .. } => {
            assert_eq!(place, "the log in memory");
            offset.0
        }
        ReadError::Storage(what) => panic!("{what}"),
    });
    (offsets, damaged_at)
}

#[test]
fn a_damaged_record_is_never_served() {
    for at in 0.. {
        let store = MemoryStore::new();
        let (log, _appender) = chunks_of_four(&store, 12);
        let mut len = 0;
        store.damage(Offset(5), |chunk| {
            len = chunk.len();
            if at < len {
                chunk[at] ^= 0x10;
            }
        });
        if at >= len {
            assert_eq!(at, len);
            break;
        }
        let (shown, damaged_at) = scan(&log, 1);
        let damaged_at = damaged_at.expect("damage is reported");
        assert!(
            (5..=8).contains(&damaged_at) && shown.len() as u64 == damaged_at - 1,
            "byte {at}: {damaged_at}"
        );
        assert_eq!(scan(&log, 9), ((9..=12).collect(), None), "what lies behind can be read");
    }
}

#[test]
fn a_missing_chunk_is_damage_and_not_a_gap() {
    for lost in [1, 5, 9] {
        let store = MemoryStore::new();
        let (log, _appender) = chunks_of_four(&store, 12);
        store.lose(Offset(lost));
        assert_eq!(scan(&log, 1), ((1..lost).collect(), Some(lost)));
        assert_eq!(scan(&log, lost + 2), (vec![], Some(lost + 2)), "a reader that begins inside it");
        let report = verify::verify_store(&store, None, &mut |_| {});
        // The last chunk is missed only by the witness.
        assert_eq!(report.damage.first().map(|damage| damage.offset.0), (lost < 9).then_some(lost));
    }
}

#[test]
fn all_damage_is_listed_with_its_place() {
    let store = MemoryStore::new();
    let (log, _appender) = chunks_of_four(&store, 40);
    let head = log.head();
    store.damage(Offset(5), |chunk| chunk[60] ^= 1);
    store.lose(Offset(13));
    store.damage(Offset(21), |chunk| chunk[0] ^= 1);
    store.lose(Offset(37));
    let mut seen = Vec::new();
    let report = verify::verify_store(&store, Some(head), &mut |progress| seen.push(progress.at.0));
    let places = places(&report);
    assert_eq!(places.len() as u64, report.damage_count);
    assert!((5..=8).contains(&places[0]), "{places:?}");
    assert_eq!(places[1..], [13, 21, 37]);
    assert!(seen.is_sorted() && seen.last() == Some(&36));
}

#[test]
fn a_record_that_was_replaced_by_another_sound_one_breaks_the_chain() {
    let store = MemoryStore::new();
    let (_, mut appender) = chunks_of_four(&store, 8);
    let other = MemoryStore::new();
    let (_, _other) = {
        let options = ChunkOptions { records_max: 4, ..ChunkOptions::default() };
        let (log, mut appender) =
            Log::new(Arc::new(ChunkedEngine::create(other.clone(), options).unwrap()), None);
        common::append_notes(&mut appender, ["0", "1", "2", "forged", "4", "5", "6", "7"]);
        (log, appender)
    };
    let forged = other.chunks().remove(0).1;
    store.damage(Offset(1), |chunk| *chunk = forged);
    let report = verify::verify_store(&store, None, &mut |_| {});
    assert_eq!(report.damage.first().map(|damage| damage.offset), Some(Offset(5)), "{:?}", report.damage);
    assert!(appender.append(Timestamp(9), vec![note("on top")]).is_ok(), "appending reads nothing");
}

/// The offsets at which something is damaged.
fn places(report: &verify::Report) -> Vec<u64> {
    report.damage.iter().map(|damage| damage.offset.0).collect()
}

/// Seals `bytes` again after they were changed: the CRC32 of them at `at`.
fn seal(chunk: &mut [u8], at: usize, bytes: std::ops::Range<usize>) {
    let crc = crc32fast::hash(&chunk[bytes]).to_le_bytes();
    chunk[at..at + 4].copy_from_slice(&crc);
}

#[test]
fn a_record_s_tag_that_is_not_the_chain_s_is_damage_even_under_a_sound_checksum() {
    let store = MemoryStore::new();
    chunks_of_four(&store, 12);
    store.damage(Offset(5), |chunk| {
        let record = CHUNK_HEADER_BYTES;
        let len = u32::from_le_bytes(chunk[record..record + 4].try_into().unwrap()) as usize;
        chunk[record + RECORD_TAG_AT] ^= 1;
        seal(chunk, record + 4, record + 8..record + 8 + len);
    });
    let report = verify::verify_store(&store, None, &mut |_| {});
    let places = places(&report);
    assert_eq!((places, report.records), (vec![5], 12), "{:?}", report.damage);
}

#[test]
fn a_chunk_s_chain_value_that_is_not_its_last_record_s_is_damage_also_at_the_end_of_the_log() {
    let store = MemoryStore::new();
    chunks_of_four(&store, 8);
    store.damage(Offset(5), |chunk| {
        chunk[CHUNK_CHAIN_AT] ^= 1;
        seal(chunk, CHUNK_HEADER_BYTES - 4, 0..CHUNK_HEADER_BYTES - 4);
    });
    let report = verify::verify_store(&store, None, &mut |_| {});
    let places = places(&report);
    assert_eq!((places, report.records), (vec![5], 8), "{:?}", report.damage);
}

#[test]
fn a_sound_log_that_is_not_the_one_its_witness_knows_is_damage() {
    let store = MemoryStore::new();
    let (log, _appender) = chunks_of_four(&store, 8);
    let known = Head { offset: Offset(6), chain: log.chain_at(Offset(6)).unwrap().unwrap(), ..log.head() };
    let report = verify::verify_store(&store, Some(known), &mut |_| {});
    assert_eq!(report.damage, []);
    let other = Head { chain: log.head().chain, ..known };
    let report = verify::verify_store(&store, Some(other), &mut |_| {});
    let places = places(&report);
    assert_eq!(places, [6], "{:?}", report.damage);
}

#[test]
fn an_append_on_another_head_is_refused_and_writes_nothing() {
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    common::append_notes(&mut appender, ["one"]);
    let before = store.calls();
    let outcome = appender.append_after(Head::default(), Timestamp(2), vec![note("two")]);
    assert!(matches!(outcome, Err(AppendError::HeadMoved(head)) if head == log.head()));
    assert_eq!(store.calls(), before);
    common::append_notes(&mut appender, ["two"]);
    assert_eq!(shown(&log), ["one", "two"]);
}

#[test]
fn a_part_that_is_too_long_is_refused_and_the_log_goes_on() {
    let longest = PART_BYTES_MAX as usize;
    let store = MemoryStore::new();
    let (log, mut appender) = log_on(&store);
    let record = |kept, text| NewRecord { kind: Kind(1), schema: Schema(1), kept, text: Some(text) };
    for (kept, text) in [(longest + 1, 0), (0, longest + 1)] {
        let outcome = appender.append(Timestamp(1), vec![record(vec![0; kept], vec![0; text])]);
        assert!(matches!(outcome, Err(AppendError::TooLarge { offset: Offset(1), .. })));
    }
    appender.append(Timestamp(1), vec![record(noise(1, longest), noise(2, longest))]).unwrap();
    appender.publish();
    let text =
        log.read(Offset(1), |record| matches!(record.text, Text::Present(text) if text == noise(2, longest)));
    assert_eq!(text, Ok(Some(true)));
}

#[test]
fn nothing_is_written_after_a_failed_write() {
    let store = MemoryStore::new();
    let (_, mut appender) = log_on(&store);
    common::append_notes(&mut appender, ["one"]);
    store.fail_at(2);
    assert!(matches!(appender.append(Timestamp(1), vec![note("two")]), Err(AppendError::OutcomeUnknown(_))));
    let calls = store.calls();
    assert!(matches!(
        appender.append(Timestamp(1), vec![note("three")]),
        Err(AppendError::OutcomeUnknown(_))
    ));
    assert_eq!(store.calls(), calls);
}

#[test]
fn a_log_of_a_newer_format_is_not_touched() {
    let store = MemoryStore::new();
    store.set_mark("format", 2).unwrap();
    let Err(error) = ChunkedEngine::open(store) else { panic!("it opened") };
    assert!(matches!(error, ChunkedError::NewerFormat { found: 2, .. }));
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_chunk_of_several_values_is_read_whole_while_it_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let options = ChunkOptions { records_max: 64, raw_bytes_max: 60_000, encoding: Encoding::Plain };
    let store = SledStore::open(&dir.path().join("log"), CACHE_BYTES).unwrap();
    let engine = Arc::new(ChunkedEngine::create(store, options).unwrap());
    let (log, mut appender) = Log::new(Arc::clone(&engine) as Arc<dyn Engine>, None);
    let count = 50;
    let records = (0..count).map(|number| note(&format!("{number} ").repeat(500)));
    appender.append(Timestamp(1), records.collect()).unwrap();
    appender.publish();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut scans = 0_u64;
                    while !done.load(Ordering::SeqCst) || scans == 0 {
                        let records = read_all(engine.as_ref(), 1, count).unwrap();
                        assert_eq!(records.len() as u64, count);
                        for offset in 1..=count {
                            log.read(Offset(offset), |_| ()).unwrap().unwrap();
                        }
                        scans += 1;
                    }
                })
            })
            .collect();
        for offset in 1..=count {
            let deletion = Deletion { offset: Offset(99), time: Timestamp(1) };
            engine.erase(&[Erasure { offset: Offset(offset), deletion }]).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert!(
        read_all(engine.as_ref(), 1, count)
            .unwrap()
            .iter()
            .all(|(_, record)| matches!(record.text, Some(Err(_))))
    );
}
