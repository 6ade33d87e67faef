//! Watchers that stop reading while much is written: nothing is kept for them, and whoever reads again is told of each channel's
//! newest record and of nothing twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::socket::{next_as, read};
use super::{set, stream};
use crate::support::client::{Client, number};
use crate::support::count;
use crate::support::events::Events;
use crate::support::http::ANSWER_WAIT;
use crate::support::server::{Server, Way};
use crate::support::ws::Ws;

/// Watchers of each kind.
const WATCHERS: usize = 50;
const CHANNELS: usize = 8;
const WRITERS: usize = 16;
/// What a watcher's system takes while nobody reads.
const RECEIVE_BYTES: usize = 4 << 10;
/// What is kept in memory of the log itself is the same with watchers and without, and little; and nobody is put out as slow here.
const OPTIONS: [&str; 6] = ["--ring-bytes-max", "1MiB", "--cache-bytes", "8MiB", "--write-timeout", "1h"];
/// What the watchers may add. A queue of notices as they are sent, one for each head that was told of, came to 7 MiB with 3,000
/// writes.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

/// A watcher that reads when it is asked to.
enum Watcher {
    Events(Events),
    Socket(Ws),
}

impl Watcher {
    fn begin(client: &mut Client, n: usize, watch: &Value) -> Self {
        let slow = client.at(client.address.by(Way { receive_bytes: Some(RECEIVE_BYTES), ..Way::default() }));
        let name = n.to_string();
        if n.is_multiple_of(2) {
            let mut socket = Ws::open(&slow);
            read(&mut socket, &name, json!({"set": watch}));
            next_as(&mut socket, &name, "caught_up");
            return Self::Socket(socket);
        }
        set(client, &name, watch);
        let mut events = stream(&slow, &name, None);
        events.until("caught_up");
        Self::Events(events)
    }

    /// The next message that is a notice.
    #[track_caller]
    fn notice(&mut self) -> Value {
        loop {
            let message = match self {
                Self::Events(events) => events.next().json(),
                Self::Socket(socket) => socket.try_next(ANSWER_WAIT).expect("a message"),
            };
            match message["type"].as_str().unwrap_or("") {
                "changed" => return message,
                "heartbeat" | "checkpoint" => {}
                _ => panic!("{message}"),
            }
        }
    }
}

/// Writes so many messages, all writers at once, and gives the newest of each channel.
fn write(client: &Client, channels: &[String], messages: usize) -> BTreeMap<String, u64> {
    let next = AtomicUsize::new(0);
    let newest = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (mut client, next) = (client.clone(), &next);
                scope.spawn(move || {
                    let mut newest = BTreeMap::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= messages {
                            return newest;
                        }
                        let channel = &channels[n % channels.len()];
                        newest.insert(channel.clone(), number(&client.say(channel, "x"), "offset"));
                    }
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let mut all = BTreeMap::new();
    for (channel, offset) in newest {
        let known: &mut u64 = all.entry(channel).or_default();
        *known = offset.max(*known);
    }
    all
}

/// By how much the anonymous memory of a server grows while messages are written, with so many watchers that do not read; and
/// how many notices a watcher got in all once it read again.
fn growth(watchers: usize, messages: usize) -> (u64, usize) {
    let (server, mut owner) = Server::set_up(&OPTIONS);
    let token = owner.token("all");
    let mut owner = owner.with_token(&token);
    let channels: Vec<String> = (0..CHANNELS).map(|n| owner.create_channel(&n.to_string())).collect();
    let wanted: Vec<Value> = channels.iter().map(|id| json!({"id": id})).collect();
    let watch = json!({"watch": wanted, "max_delay_ms": 0, "lease_s": 3600});
    let mut all: Vec<Watcher> = (0..watchers).map(|n| Watcher::begin(&mut owner, n, &watch)).collect();
    // What is taken once, whoever watches.
    write(&owner, &channels, 500);
    let before = server.memory_bytes("RssAnon:");
    let newest = write(&owner, &channels, messages);
    let growth = server.memory_bytes("RssAnon:").saturating_sub(before);

    let mut most = 0;
    for watcher in &mut all {
        let (mut told, mut notices) = (BTreeMap::<String, u64>::new(), 0);
        while told != newest {
            notices += 1;
            for change in watcher.notice()["changed"].as_array().unwrap() {
                let (id, offset) = (change["id"].as_str().unwrap().to_owned(), number(change, "offset"));
                let before = told.insert(id, offset);
                assert!(
                    before.is_none_or(|before| before < offset),
                    "told again: {change}, after {before:?}"
                );
            }
        }
        most = most.max(notices);
    }
    // Nothing was left to be told.
    let last = owner.say(&channels[0], "last");
    for watcher in &mut all {
        assert_eq!(watcher.notice()["changed"], json!([{"id": channels[0], "offset": last["offset"]}]));
    }
    (growth, most)
}

#[test]
fn watchers_that_stop_reading_cost_nothing_and_are_told_the_newest_when_they_read_again() {
    let messages = count("SCROLLBACK_WATCH_WRITES", 3_000);
    let (alone, _) = growth(0, messages);
    let (watched, notices) = growth(2 * WATCHERS, messages);
    eprintln!(
        "{messages} messages: anonymous memory grew by {} KiB, beside {} watchers that read nothing by {} KiB; each was told with at \
         most {notices} notices",
        alone >> 10,
        2 * WATCHERS,
        watched >> 10
    );
    assert!(watched <= alone + GROWTH_BYTES_MAX, "{watched} bytes beside watchers, {alone} without");
}
