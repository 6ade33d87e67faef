//! A chat for the benches of what lies above the log: some people, some channels, and messages, made once and not timed.

#![allow(clippy::expect_used, reason = "a bench that cannot go on has nothing to measure")]

use scrollback_log::{ChainValue, NewRecord, Offset, Origin, Sealed, Timestamp, codec};
use scrollback_projections::facts::{
    self, Body, ChannelCreated, KeyDigest, MessageSent, Name, OriginStarted, Role, UserCreated, VaultKey,
};
use scrollback_projections::{ViewSettings, Views};

#[path = "../src/text.rs"]
#[allow(unused_imports, reason = "a bench that runs as a test leaves out the tests of what it borrows")]
mod text;

/// How many people there are.
const PEOPLE: u64 = 100;
/// How many channels the messages are spread over.
const CHANNELS: u64 = 10;
/// The length of a body.
const BODY_BYTES: usize = 256;
/// The time of the first record.
const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// Microseconds between two records.
const INTERVAL: i64 = 1_000;

/// A chat.
pub(crate) struct Chat {
    /// What there is before the first message.
    pub(crate) views: Views,
    /// The messages, from the record behind those views on.
    pub(crate) messages: Vec<Sealed>,
}

impl Chat {
    /// A chat with this many messages; if `keyed`, each was sent with an idempotency key of its own.
    pub(crate) fn new(messages: u64, keyed: bool) -> Chat {
        let mut views = Views::new(ViewSettings::default());
        let people_end = Offset::FIRST.plus(PEOPLE);
        let records = std::iter::once(origin()).chain((0..PEOPLE).map(person));
        let records = records.chain((0..CHANNELS).map(channel));
        for (offset, record) in (1..).zip(records) {
            apply(&mut views, &sealed(Offset(offset), record));
        }
        let message = |number: u64| {
            let random = text::scatter(number);
            let mut key = [0; 16];
            key[..8].copy_from_slice(&random.to_le_bytes());
            let kept = MessageSent {
                channel: people_end.plus(1 + random % CHANNELS),
                sender: Offset::FIRST.plus(1 + (random >> 32) % PEOPLE),
                key: keyed.then_some(KeyDigest(key)),
            };
            let body = text::message("", number, BODY_BYTES);
            sealed(views.at().plus(1 + number), made(facts::record_with(&kept, &Body { body: &body })))
        };
        let messages = (0..messages).map(message).collect();
        Chat { views, messages }
    }
}

/// Takes `views` one record on.
pub(crate) fn apply(views: &mut Views, sealed: &Sealed) {
    views.apply(&sealed.as_record()).expect("the record follows those before it");
}

fn origin() -> NewRecord {
    made(facts::record(&OriginStarted { origin: Origin::draw() }))
}

fn person(number: u64) -> NewRecord {
    let name = format!("person {number}");
    let kept = UserCreated { role: Role::Member, credential: VaultKey([0; 16]), invitation: None };
    made(facts::record_with(&kept, &Name { shown: &name, folded: &name }))
}

fn channel(number: u64) -> NewRecord {
    let name = format!("channel {number}");
    let kept = ChannelCreated { creator: None, private: false, key: None };
    made(facts::record_with(&kept, &Name { shown: &name, folded: &name }))
}

fn made(record: Result<NewRecord, codec::CodecError>) -> NewRecord {
    record.expect("a small fact can be encoded")
}

/// The record at its place. Its chain value is none that a log would give it, but as random.
fn sealed(offset: Offset, record: NewRecord) -> Sealed {
    let mut chain = ChainValue::BEGINNING;
    chain.0[..8].copy_from_slice(&text::scatter(offset.0).to_le_bytes());
    Sealed { offset, time: Timestamp(START.0 + offset.0 as i64 * INTERVAL), record, salt: [0; 16], chain }
}
