//! What lies between a record and the bytes that a stream sends.
//!
//! Timed: encoding messages as frames, the same with appending them to the ring as one batch, and reading them back. A
//! reader is either the first of its kind at each place, and copies the frames that it wants, or one of the many after it, and
//! shares them. Not timed: reading from the
//! log, waking readers, sockets.

#![allow(clippy::expect_used, reason = "a bench that cannot go on has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scrollback_api::http::query::Query;
use scrollback_api::ids::{self, IdKind};
use scrollback_api::streams::cut::{Cut, Form};
use scrollback_api::streams::filter::Filters;
use scrollback_api::streams::frame::Encoder;
use scrollback_api::streams::ring::{Ring, RingRead};
use scrollback_api::streams::selection::Selection;
use scrollback_log::{Offset, Record};
use scrollback_projections::Origins;
use scrollback_projections::facts::{Fact, MessageSent};

mod chat;
use chat::Chat;

/// How many messages are encoded and read.
const MESSAGES: u64 = 1_000;
/// More than these messages' frames need.
const RING_BYTES: usize = 16 << 20;
/// How many bytes a reader takes at once: as the server's default, as much as a segment of the ring holds.
const READ_BYTES: usize = 64 << 10;

fn append(criterion: &mut Criterion) {
    let chat = Chat::new(MESSAGES, true);
    let origins = chat.views.origins();
    let batch: Vec<Record<'_>> = chat.messages.iter().map(|message| message.as_record()).collect();
    let mut group = criterion.benchmark_group("streams");
    group.throughput(Throughput::Elements(MESSAGES));

    let private = chat.views.memberships().private();
    let mut frames = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            frames.clear();
            let mut encoder = Encoder::new(origins, private);
            for record in &batch {
                black_box(encoder.encode(record, &mut frames).expect("a message is a fact"));
            }
            black_box(&frames);
        });
    });

    // Records that do not follow begin the ring anew: every append drops what the one before had appended, as in a ring
    // that is full.
    let ring = Ring::new(RING_BYTES);
    group.bench_function("encode and append to the ring", |bencher| {
        bencher.iter(|| ring.append(&batch, &chat.views).expect("a message is a fact"));
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let chat = Chat::new(MESSAGES, true);
    let origins = chat.views.origins();
    let batch: Vec<Record<'_>> = chat.messages.iter().map(|message| message.as_record()).collect();
    let ring = Ring::new(RING_BYTES);
    ring.append(&batch, &chat.views).expect("a message is a fact");
    let everything = Selection::everything();
    let reader = Reader { ring: &ring, after: chat.views.at(), head: chat.views.at().plus(MESSAGES) };
    assert_eq!(reader.frames(&everything), MESSAGES as usize);

    let mut group = criterion.benchmark_group("streams");
    group.throughput(Throughput::Elements(MESSAGES));
    // The ring shares what was made for the same bound. One that is larger than a segment does not matter otherwise.
    let mut bound = READ_BYTES;
    group.bench_function("read as the first", |bencher| {
        bencher.iter(|| {
            bound += 1;
            reader.read(bound, &everything)
        });
    });
    group.bench_function("read as one of many", |bencher| {
        bencher.iter(|| reader.read(READ_BYTES, &everything))
    });

    let (filter, wanted) = one_channel(&batch, origins);
    let selection = Selection::of(filter);
    assert_eq!(reader.frames(&selection), wanted);
    group.bench_function("read one channel of ten as the first", |bencher| {
        bencher.iter(|| {
            bound += 1;
            reader.read(bound, &selection)
        });
    });
    group.finish();
}

/// A filter for the channel of the first message, and how many messages it lets through.
fn one_channel(batch: &[Record<'_>], origins: &Origins) -> (Filters, usize) {
    let channel_of = |record| match Fact::decode(record).expect("a message is a fact") {
        Fact::MessageSent(MessageSent { channel, .. }) => channel,
        other => panic!("{other:?} is no message"),
    };
    let channel = channel_of(&batch[0]);
    let wanted = batch.iter().filter(|record| channel_of(record) == channel).count();
    let id = ids::show(IdKind::Channel, channel, origins);
    let mut query = Query::parse(&format!("channel={id}")).expect("the query is well-formed");
    let filter = Filters::take(&mut query, origins).expect("the filter is a good one");
    (filter, wanted)
}

/// A reader that stands before all messages.
struct Reader<'a> {
    ring: &'a Ring,
    after: Offset,
    head: Offset,
}

impl Reader<'_> {
    /// Takes all that it wants, up to `bytes_max` bytes at a time.
    fn read(&self, bytes_max: usize, selection: &Selection) {
        self.each(bytes_max, selection, |chunk| {
            black_box(chunk);
        });
    }

    /// How many frames it wants.
    fn frames(&self, selection: &Selection) -> usize {
        let mut frames = 0;
        self.each(READ_BYTES, selection, |chunk| {
            frames += chunk.windows(2).filter(|end| end == b"\n\n").count()
        });
        frames
    }

    fn each(&self, bytes_max: usize, selection: &Selection, mut visit: impl FnMut(&[u8])) {
        let mut after = self.after;
        while after < self.head {
            let cut = Cut { form: Form::Sse, bytes_max, events_max: usize::MAX, shared: true };
            let RingRead::Taken(taken) = self.ring.read(after, self.head, cut, selection) else {
                panic!("the ring holds all messages");
            };
            visit(&taken.chunk.chunked());
            after = taken.through.offset;
        }
    }
}

criterion_group!(benches, append, read);
criterion_main!(benches);
