//! What clients send to name a place or a thing.
//!
//! Timed: reading resume tokens, and reading message ids and finding the record that each names in a log with one origin.
//! Whether the log has that record, and with that tag, is another question and not asked.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scrollback_api::ids::{self, IdKind};
use scrollback_api::streams::Position;
use scrollback_log::{ResumePoint, Sealed};

mod chat;
use chat::Chat;

/// How many are read.
const TOKENS: u64 = 1_000;

fn parse(criterion: &mut Criterion) {
    let chat = Chat::new(TOKENS, false);
    let origins = chat.views.origins();
    let mut group = criterion.benchmark_group("tokens");
    group.throughput(Throughput::Elements(TOKENS));

    let token = |message: &Sealed| Position { offset: message.offset, tag: message.chain.tag() }.to_string();
    let tokens: Vec<String> = chat.messages.iter().map(token).collect();
    assert!(tokens.iter().all(|token| ResumePoint::parse(token).is_some_and(|point| point.tag.is_some())));
    group.bench_function("read resume tokens", |bencher| {
        bencher.iter(|| {
            for token in &tokens {
                black_box(ResumePoint::parse(black_box(token)));
            }
        });
    });

    let id = |message: &Sealed| ids::show(IdKind::Message, message.offset, origins);
    let ids: Vec<String> = chat.messages.iter().map(id).collect();
    let offset = |id: &String| ids::parse(IdKind::Message, black_box(id), origins);
    assert!(ids.iter().zip(&chat.messages).all(|(id, message)| offset(id) == Some(message.offset)));
    group.bench_function("read message ids", |bencher| {
        bencher.iter(|| {
            for id in &ids {
                black_box(offset(id));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
