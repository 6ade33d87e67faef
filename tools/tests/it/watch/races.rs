//! A watch that is set while its channel is written to, and read on each way.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::socket::read;
use super::{next_notice, set, stream};
use crate::support::client::{Client, number, text};
use crate::support::count;
use crate::support::http::ANSWER_WAIT;
use crate::support::latency::must_be_within;
use crate::support::server::Server;
use crate::support::ws::Ws;

/// A channel that is being written to by another thread.
struct Race<'a> {
    number: usize,
    owner: &'a mut Client,
    channel: &'a str,
    /// The newest record of the channel before that.
    before: u64,
    writing: std::thread::JoinHandle<u64>,
}

impl Race<'_> {
    /// Every other one says what its watcher knows: all but what may be written at this moment.
    fn watch(&self) -> Value {
        let mut channel = json!({"id": self.channel});
        if self.number / 3 % 2 == 1 {
            channel["since"] = json!(self.before);
        }
        json!({"watch": [channel], "max_delay_ms": 0})
    }

    /// What the watcher knows, which is of the state that the answer is of.
    fn known(&self, kept: &Value) -> u64 {
        let newest = number(&kept["status"][self.channel], "offset");
        assert!(self.before <= newest && newest <= number(kept, "head"), "race {}: {kept}", self.number);
        if self.number / 3 % 2 == 1 { self.before } else { newest }
    }

    /// Waits for the write that the setting raced with, and writes once more; gives the offsets of both.
    fn written(writing: std::thread::JoinHandle<u64>, owner: &mut Client, channel: &str) -> [u64; 2] {
        let raced = writing.join().unwrap();
        [raced, number(&owner.say(channel, "later"), "offset")]
    }

    /// Asserts that a watcher who knew this much was told of what they did not know, in order, up to the last.
    fn judge(number: usize, known: u64, [raced, later]: [u64; 2], told: &[u64]) {
        let mut all: Vec<u64> = [raced, later].into_iter().filter(|offset| *offset > known).collect();
        assert!(
            told.last() == Some(&later) && told.is_sorted_by(|one, next| one < next),
            "race {number}: {told:?}"
        );
        all.retain(|offset| told.contains(offset));
        assert_eq!(told, all, "race {number}, after {known}, written {raced}, {later}");
    }

    fn by_poll(self) -> Duration {
        let kept = set(self.owner, "w", &self.watch());
        let known = self.known(&kept);
        let Race { number: n, owner, channel, writing, .. } = self;
        let mut poller = owner.clone();
        let waiting = std::thread::spawn(move || poller.get("/api/watch/w/changes?wait=20"));
        let written = Self::written(writing, owner, channel);
        let acknowledged = Instant::now();
        let page = waiting.join().unwrap().ok(200);
        let waited = acknowledged.elapsed();
        let mut told = vec![number(&page["changed"][0], "offset")];
        // Whoever waits is told of what they do not know, whatever it raced with, and then of all that is newer.
        let rest = owner.get(&format!("/api/watch/w/changes?after={}", text(&page, "next"))).ok(200);
        told.extend(rest["changed"].as_array().unwrap().iter().map(|change| number(change, "offset")));
        Self::judge(n, known, written, &told);
        waited
    }

    fn by_events(self) -> Duration {
        let kept = set(self.owner, "w", &self.watch());
        let known = self.known(&kept);
        let Race { number: n, owner, channel, writing, .. } = self;
        let mut events = stream(owner, "w", None);
        let written = Self::written(writing, owner, channel);
        let (mut told, acknowledged) = (Vec::new(), Instant::now());
        while told.last() != Some(&written[1]) {
            let notice = next_notice(&mut events).json();
            assert_eq!(notice["epoch"], kept["epoch"]);
            told.push(number(&notice["changed"][0], "offset"));
        }
        let waited = acknowledged.elapsed();
        Self::judge(n, known, written, &told);
        waited
    }

    fn by_socket(self, socket: &mut Ws) -> Duration {
        let kept = read(socket, "s", json!({"set": self.watch()}));
        let known = self.known(&kept);
        let Race { number: n, owner, channel, writing, .. } = self;
        let written = Self::written(writing, owner, channel);
        let (mut told, acknowledged) = (Vec::new(), Instant::now());
        while told.last() != Some(&written[1]) {
            let message = socket.try_next(ANSWER_WAIT).expect("a notice");
            if message["type"] == "changed" && message["epoch"] == kept["epoch"] {
                told.push(number(&message["changed"][0], "offset"));
            } else {
                // What was said to the reader before came before the answer.
                let kind = message["type"].as_str().unwrap_or("");
                let is_of_before = message["epoch"] != kept["epoch"] && ["bye", "changed"].contains(&kind);
                assert!(
                    ["caught_up", "checkpoint", "heartbeat"].contains(&kind)
                        || is_of_before && told.is_empty(),
                    "{message}"
                );
            }
        }
        let waited = acknowledged.elapsed();
        Self::judge(n, known, written, &told);
        waited
    }
}

#[test]
fn a_watch_that_is_set_while_others_write_loses_no_change() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut before = number(&owner.say(&channel, "before"), "offset");
    let writer = owner.clone();
    let mut socket = Ws::open(&owner);
    let mut longest = Duration::ZERO;
    for n in 0..count("SCROLLBACK_WATCH_RACES", 90) {
        let (mut writer, of) = (writer.clone(), channel.clone());
        let writing = std::thread::spawn(move || number(&writer.say(&of, &n.to_string()), "offset"));
        let race = Race { number: n, owner: &mut owner, channel: &channel, before, writing };
        let waited = match n % 3 {
            0 => race.by_poll(),
            1 => race.by_events(),
            _ => race.by_socket(&mut socket),
        };
        longest = longest.max(waited);
        before = number(&owner.say(&channel, "between"), "offset");
    }
    eprintln!("the longest from a write's answer to its notice: {:.1} ms", longest.as_secs_f64() * 1e3);
    must_be_within("SCROLLBACK_WATCH_NOTICE_SECONDS_MAX", longest.as_secs_f64(), "a notice without a delay");
}
