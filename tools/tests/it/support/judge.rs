//! The judge of readers whose rights change while they read. It knows the log in the end, who asked for which change of rights
//! and when that was answered, and what every reader was shown and when. The contract it holds them to:
//!
//! - **Missing**: whatever a reader's filters choose and its rights in the end allow was shown to it, by its stream or by the
//!   history that it read when it was told that it had joined. Of a channel that it may not see in the end nothing has to have
//!   been shown, for what it was given depends on when it read.
//! - **Forbidden**: an event of a private channel was shown although the reader had no right to it at the moment of reading. Bytes
//!   on their way cannot be called back, so the moment is bounded from both sides. It is certain that the right was gone if the
//!   request was made after the removal was acknowledged, or if the event was written after the removal; and that it was not back
//!   if the event was there before anybody asked for it back.
//! - **Doubled**, **reordered**: over all the requests of one reader, each of which goes on where the one before stopped, offsets
//!   ascend. The history that it reads besides may show again what the stream has shown.
//! - **Altered**: what was shown is what the log has, but for texts that are gone.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::Value;

use super::history::{is_same, offset};

/// What a change does to rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Added,
    Removed,
    /// To be an owner.
    Raised,
    /// From being one.
    Lowered,
}

/// A change of rights that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) turn: Turn,
    pub(crate) user: String,
    /// The private channel, for a membership.
    pub(crate) channel: Option<String>,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// One request, and what it showed.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) asked: Instant,
    pub(crate) shown: Vec<(Instant, Value)>,
}

/// One reader from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) user: String,
    /// As docs/api.md has them; null for none.
    pub(crate) filters: Value,
    pub(crate) visits: Vec<Visit>,
    /// What it read of the history that it was told of.
    pub(crate) history: Vec<Visit>,
}

/// All that happened.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) began: Instant,
    /// Every event of the log, as an owner sees it when all is over.
    pub(crate) log: Vec<Value>,
    /// In the order in which they were made.
    pub(crate) changes: Vec<Change>,
    pub(crate) readings: Vec<Reading>,
}

/// A broken promise to the reader of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    Missing(usize, u64),
    Forbidden(usize, u64),
    Doubled(usize, u64),
    Reordered(usize, u64),
    Altered(usize, u64),
    /// A record changes rights and nobody asked for it.
    Unasked(u64),
    /// The change of this number was answered and has no record.
    Undone(usize),
}

/// A time without a right.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The record that took the right away, and when that was acknowledged.
    from: u64,
    acknowledged: Instant,
    /// When it was asked for again.
    until: Option<Instant>,
}

/// What a record did to one user's rights.
struct Step<'a> {
    offset: u64,
    change: &'a Change,
}

impl Case {
    #[track_caller]
    pub(crate) fn must_hold(&self) {
        let faults = self.check();
        let of = |n: usize| format!("reader {n}: {} {}", self.readings[n].user, self.readings[n].filters);
        let told: Vec<String> = faults
            .iter()
            .take(20)
            .map(|fault| match *fault {
                Fault::Missing(n, o)
                | Fault::Forbidden(n, o)
                | Fault::Doubled(n, o)
                | Fault::Reordered(n, o)
                | Fault::Altered(n, o) => {
                    format!("{fault:?}, {}: {:?}", of(n), self.log.iter().find(|event| offset(event) == o))
                }
                Fault::Unasked(_) | Fault::Undone(_) => format!("{fault:?}"),
            })
            .collect();
        assert!(faults.is_empty(), "{} broken promises:\n{}", faults.len(), told.join("\n"));
    }

    pub(crate) fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let steps = self.steps(&mut faults);
        let index: HashMap<u64, &Value> = self.log.iter().map(|event| (offset(event), event)).collect();
        let creators: HashMap<&str, &str> = self
            .log
            .iter()
            .filter(|e| e["type"] == "channel" && e["event"] == "created" && e["private"] == true)
            .filter_map(|e| Some((e["id"].as_str()?, e["creator"].as_str().unwrap_or(""))))
            .collect();
        for (number, reading) in self.readings.iter().enumerate() {
            let spans: HashMap<&str, (Vec<Span>, bool)> = creators
                .iter()
                .map(|(channel, creator)| {
                    (*channel, self.spans(&reading.user, channel, *creator == reading.user, &steps))
                })
                .collect();
            check_order(number, reading, &mut faults);
            let mut seen = HashSet::new();
            for visit in reading.visits.iter().chain(&reading.history) {
                for (at, event) in &visit.shown {
                    let offset = offset(event);
                    seen.insert(offset);
                    if !index.get(&offset).is_some_and(|logged| is_same(event, logged)) {
                        faults.push(Fault::Altered(number, offset));
                    }
                    let without = closed_channel(event, &reading.user).and_then(|channel| spans.get(channel));
                    if without.is_some_and(|(spans, _)| is_forbidden(spans, visit.asked, *at, offset)) {
                        faults.push(Fault::Forbidden(number, offset));
                    }
                }
            }
            for event in self.log.iter().filter(|event| passes(&reading.filters, event)) {
                let channel = closed_channel(event, &reading.user).and_then(|channel| spans.get(channel));
                if channel.is_none_or(|(_, in_the_end)| *in_the_end) && !seen.contains(&offset(event)) {
                    faults.push(Fault::Missing(number, offset(event)));
                }
            }
        }
        faults
    }

    /// The records that changed rights, each with what was asked for.
    fn steps(&self, faults: &mut Vec<Fault>) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let mut left: Vec<(usize, &Change)> = self.changes.iter().enumerate().collect();
        let mut roles: HashMap<&str, &str> = HashMap::new();
        for event in &self.log {
            let (user, turn) = match event["type"].as_str() {
                Some("member") if event["event"] == "added" => (event["user"].as_str(), Turn::Added),
                Some("member") => (event["user"].as_str(), Turn::Removed),
                Some("user") => {
                    let (id, role) =
                        (event["id"].as_str().unwrap_or(""), event["role"].as_str().unwrap_or(""));
                    let before = roles.insert(id, role);
                    if event["event"] == "created" || before == Some(role) {
                        continue;
                    }
                    (Some(id), if role == "owner" { Turn::Raised } else { Turn::Lowered })
                }
                _ => continue,
            };
            let is_it = |change: &Change| {
                Some(change.user.as_str()) == user
                    && change.turn == turn
                    && (change.channel.as_deref() == event["channel"].as_str())
            };
            match left.iter().position(|(_, change)| is_it(change)) {
                Some(place) => steps.push(Step { offset: offset(event), change: left.remove(place).1 }),
                None => faults.push(Fault::Unasked(offset(event))),
            }
        }
        faults.extend(left.into_iter().map(|(number, _)| Fault::Undone(number)));
        steps
    }

    /// When a user had no right to see a private channel, and whether they have it in the end.
    fn spans(&self, user: &str, channel: &str, creator: bool, steps: &[Step<'_>]) -> (Vec<Span>, bool) {
        let first =
            self.log.iter().find(|e| e["type"] == "user" && e["event"] == "created" && e["id"] == user);
        let (mut member, mut owner) = (creator, first.is_some_and(|e| e["role"] == "owner"));
        let mut spans = Vec::new();
        if !member && !owner {
            spans.push(Span { from: 0, acknowledged: self.began, until: None });
        }
        for Step { offset, change } in steps.iter().filter(|step| step.change.user == user) {
            let before = member || owner;
            match change.turn {
                Turn::Raised => owner = true,
                Turn::Lowered => owner = false,
                _ if change.channel.as_deref() != Some(channel) => {}
                Turn::Added => member = true,
                Turn::Removed => member = false,
            }
            match (before, member || owner) {
                (true, false) => {
                    spans.push(Span { from: *offset, acknowledged: change.answered, until: None });
                }
                (false, true) => {
                    if let Some(span) = spans.last_mut() {
                        span.until = Some(change.asked);
                    }
                }
                _ => {}
            }
        }
        (spans, member || owner)
    }
}

fn is_forbidden(spans: &[Span], asked: Instant, at: Instant, offset: u64) -> bool {
    spans.iter().any(|span| {
        let not_back = span.until.is_none_or(|until| at < until);
        not_back && (asked >= span.acknowledged || offset > span.from)
    })
}

fn check_order(number: usize, reading: &Reading, faults: &mut Vec<Fault>) {
    let mut newest = 0;
    let mut seen = HashSet::new();
    for (_, event) in reading.visits.iter().flat_map(|visit| &visit.shown) {
        let offset = offset(event);
        if !seen.insert(offset) {
            faults.push(Fault::Doubled(number, offset));
        } else if offset < newest {
            faults.push(Fault::Reordered(number, offset));
        }
        newest = newest.max(offset);
    }
    for visit in &reading.history {
        for pair in visit.shown.windows(2) {
            if offset(&pair[1].1) <= offset(&pair[0].1) {
                faults.push(Fault::Reordered(number, offset(&pair[1].1)));
            }
        }
    }
}

/// The channel of an event if its being private is a reason for not showing it to this user.
fn closed_channel<'a>(event: &'a Value, user: &str) -> Option<&'a str> {
    if event["type"] == "member" && event["user"] == user {
        return None;
    }
    channel_of(event).as_str()
}

fn channel_of(event: &Value) -> &Value {
    if event["type"] == "channel" { &event["id"] } else { &event["channel"] }
}

/// Whether an event passes filters, by a plain reading of the contract; only the attributes that these tests use.
pub(crate) fn passes(filters: &Value, event: &Value) -> bool {
    let Some(filters) = filters.as_array() else { return true };
    filters.iter().any(|filter| {
        filter.as_array().expect("a list of conditions").iter().all(|condition| {
            let [attribute, operator, operand] = [0, 1, 2].map(|n| &condition[n]);
            let value = match attribute.as_str() {
                Some("channel") => channel_of(event),
                Some(name @ ("type" | "event" | "sender")) => &event[name],
                other => panic!("an attribute that is not judged: {other:?}"),
            };
            let is_in = || operand.as_array().expect("a list of operands").contains(value);
            match operator.as_str() {
                Some("=") => value == operand,
                Some("!=") => value != operand,
                Some("in") => is_in(),
                Some("not in") => !is_in(),
                other => panic!("an operator that is not judged: {other:?}"),
            }
        })
    })
}
