//! The views.
//!
//! Timed: folding messages into views that hold people and channels already, with and without an idempotency key on
//! each message, and writing the views of keyed messages in their canonical form, which is nearly all of a checkpoint.
//! Not timed: reading the records from a log, the checkpoint's checksum and its file. Loading a checkpoint needs a file,
//! so it is not here; the time of a start has it.

#![allow(clippy::expect_used, reason = "a bench that cannot go on has nothing to measure")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scrollback_projections::Views;

mod chat;
use chat::Chat;

/// How many messages are folded.
const MESSAGES: u64 = 100_000;

fn fold(criterion: &mut Criterion) {
    for (name, keyed) in [("fold messages", false), ("fold messages with keys", true)] {
        let chat = Chat::new(MESSAGES, keyed);
        let mut group = criterion.benchmark_group("projections");
        group.throughput(Throughput::Elements(MESSAGES));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || chat.views.clone(),
                |views| folded(views, &chat),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn write(criterion: &mut Criterion) {
    let chat = Chat::new(MESSAGES, true);
    let views = folded(chat.views.clone(), &chat);
    let mut bytes = Vec::new();
    let mut group = criterion.benchmark_group("projections");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("write views with keys", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            views.write_canonical(&mut bytes).expect("memory takes all writes");
            black_box(&bytes);
        });
    });
    group.finish();
}

fn folded(mut views: Views, chat: &Chat) -> Views {
    for message in &chat.messages {
        chat::apply(&mut views, message);
    }
    views
}

criterion_group!(benches, fold, write);
criterion_main!(benches);
