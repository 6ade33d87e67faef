//! The log crate without a disk.
//!
//! Timed: sealing and packing a batch, unpacking and checking what was packed, and checking the whole chain of hashes.
//! The store is the one in memory, which copies a chunk into two maps as it is written and copies it again for `verify`;
//! there is no write, no sync and no witness in these figures, and no writer loop. `driver log-append` has those.

#![allow(clippy::expect_used, reason = "a bench that cannot go on has nothing to measure")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scrollback_log::engine::chunked::ChunkedEngine;
use scrollback_log::engine::memory::MemoryStore;
use scrollback_log::verify::verify_store;
use scrollback_log::{Appender, Kind, Log, NewRecord, Offset, Schema, Timestamp};

#[path = "../src/text.rs"]
#[allow(unused_imports, reason = "a bench that runs as a test leaves out the tests of what it borrows")]
mod text;

/// How many records one append has.
const BATCH: u64 = 64;
/// The length of a record: kept and text.
const RECORD_BYTES: usize = 300;
/// What a record of a 256-byte message keeps beside its text is about this long.
const KEPT_BYTES: usize = 44;
/// How many records are read.
const RECORDS: u64 = 10_000;

fn record(number: u64) -> NewRecord {
    NewRecord {
        kind: Kind(1),
        schema: Schema(1),
        kept: text::message("", !number, KEPT_BYTES).into_bytes(),
        text: Some(text::message("", number, RECORD_BYTES - KEPT_BYTES).into_bytes()),
    }
}

fn empty() -> (MemoryStore, Arc<Log>, Appender) {
    let store = MemoryStore::new();
    let engine = ChunkedEngine::open(store.clone()).expect("an empty store becomes a log");
    let (log, appender) = Log::new(Arc::new(engine), None);
    (store, log, appender)
}

/// A log of [`RECORDS`] records that were appended in batches.
fn filled() -> (MemoryStore, Arc<Log>) {
    let (store, log, mut appender) = empty();
    let records: Vec<NewRecord> = (0..RECORDS).map(record).collect();
    for batch in records.chunks(BATCH as usize) {
        appender.append(Timestamp(1), batch.to_vec()).expect("memory takes all writes");
    }
    appender.publish();
    (store, log)
}

fn append(criterion: &mut Criterion) {
    let batch: Vec<NewRecord> = (0..BATCH).map(record).collect();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("append a batch of 64", |bencher| {
        // Always to an empty log, so that what memory there is does not depend on how long this runs.
        bencher.iter_batched(
            || (empty(), batch.clone()),
            |((store, log, mut appender), batch)| {
                let sealed = appender.append(Timestamp(1), batch).expect("memory takes all writes");
                (store, log, appender, sealed)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let (store, log) = filled();
    let head = log.head();
    let report = verify_store(&store, Some(head), &mut |_| {});
    assert_eq!((report.records, report.damage_count), (RECORDS, 0));

    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| {
            log.scan(Offset::FIRST, head.offset, &mut |record| {
                black_box(&record);
                ControlFlow::Continue(())
            })
            .expect("the log is sound");
        });
    });
    group.bench_function("verify, two threads", |bencher| {
        bencher.iter(|| black_box(verify_store(&store, Some(head), &mut |_| {})));
    });
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
