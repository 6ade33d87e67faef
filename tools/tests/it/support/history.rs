//! The checker of histories: given what was acknowledged, what every reader saw and what the log says in the end, it
//! finds every broken promise in one pass over each. Because the server numbers its events there is nothing to search:
//! the log in the end is the one order, and everything else must agree with it.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::Value;

/// A message that the server said is durable.
#[derive(Debug, Clone)]
pub(crate) struct Ack {
    pub(crate) offset: u64,
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) key: String,
}

/// A deletion that the server said is durable, and when the answer was there.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    pub(crate) id: String,
    pub(crate) at: Instant,
}

/// What one request showed: the events after `after`, in the order in which they came.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) asked: Instant,
    pub(crate) after: u64,
    pub(crate) events: Vec<Value>,
    /// The offset up to which the server said that this is all; none when the connection broke before.
    pub(crate) complete_to: Option<u64>,
}

/// A run of the server, or of many servers after each other on the same data.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) acks: Vec<Ack>,
    pub(crate) erasures: Vec<Erasure>,
    /// Each reader's requests; each goes on where the one before stopped.
    pub(crate) readers: Vec<Vec<Session>>,
    /// Every event of the log, read from its beginning when all was over.
    pub(crate) log: Vec<Value>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Anomaly {
    /// What was acknowledged is not in the log.
    AckedLost(u64),
    /// An offset names one thing here and another there.
    OffsetReused(u64),
    /// One key, or one message, has more than one record.
    KeyTwice(String),
    /// An event came twice to one reader.
    Doubled(u64),
    /// An event came before one with a smaller offset.
    Reordered(u64),
    /// An event did not come to a reader who was shown later ones.
    Missed(u64),
    /// A request made after the deletion was acknowledged showed the text.
    DeletedTextShown(u64),
    /// A reader did not go on from where it stood.
    NotResumed(u64),
}

impl History {
    #[track_caller]
    pub(crate) fn must_hold(&self) {
        let anomalies = self.check();
        assert!(anomalies.is_empty(), "{} broken promises: {:?}", anomalies.len(), first(&anomalies, 20));
    }

    pub(crate) fn check(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let index = self.check_log(&mut found);
        self.check_acks(&index, &mut found);
        let erased: HashMap<&str, Instant> = self.erasures.iter().map(|e| (e.id.as_str(), e.at)).collect();
        for sessions in &self.readers {
            self.check_reader(sessions, &index, &erased, &mut found);
        }
        found
    }

    /// The log itself: ascending, one record for each message; gives the place of each offset.
    fn check_log(&self, found: &mut Vec<Anomaly>) -> HashMap<u64, usize> {
        let mut index = HashMap::new();
        let mut ids = HashSet::new();
        let mut bodies = HashSet::new();
        let mut last = 0;
        for (place, event) in self.log.iter().enumerate() {
            let offset = offset(event);
            check_order(offset, last, found);
            last = last.max(offset);
            index.insert(offset, place);
            if event["type"] == "message" && event["event"] == "sent" {
                let (id, body) = (field(event, "id"), field(event, "body"));
                if is_masked(event) && !body.is_empty() {
                    found.push(Anomaly::DeletedTextShown(offset));
                }
                if !ids.insert(id) || (!body.is_empty() && !bodies.insert(body)) {
                    found.push(Anomaly::KeyTwice(id.to_owned()));
                }
            }
        }
        index
    }

    fn check_acks(&self, index: &HashMap<u64, usize>, found: &mut Vec<Anomaly>) {
        let mut by_key: HashMap<&str, &Ack> = HashMap::new();
        for ack in &self.acks {
            match index.get(&ack.offset).map(|&place| &self.log[place]) {
                None => found.push(Anomaly::AckedLost(ack.offset)),
                Some(event) => {
                    let body = field(event, "body");
                    if field(event, "id") != ack.id || (!is_masked(event) && body != ack.body) {
                        found.push(Anomaly::OffsetReused(ack.offset));
                    }
                }
            }
            let first = by_key.entry(&ack.key).or_insert(ack);
            if (first.offset, &first.id) != (ack.offset, &ack.id) {
                found.push(Anomaly::KeyTwice(ack.key.clone()));
            }
        }
    }

    fn check_reader(
        &self,
        sessions: &[Session],
        index: &HashMap<u64, usize>,
        erased: &HashMap<&str, Instant>,
        found: &mut Vec<Anomaly>,
    ) {
        let place_after = |after| self.log.partition_point(|event| offset(event) <= after);
        let mut place = sessions.first().map_or(0, |session| place_after(session.after));
        for session in sessions {
            // Going on from anywhere between two events is the same; going back is not, and going on further on misses.
            if place_after(session.after) < place {
                found.push(Anomaly::NotResumed(session.after));
                place = place_after(session.after);
            }
            place = self.check_gap(place, session.after, found);
            let mut stand = session.after;
            for event in &session.events {
                let seen = offset(event);
                if !check_order(seen, stand, found) {
                    continue;
                }
                match index.get(&seen) {
                    Some(&at) if is_same(event, &self.log[at]) => {}
                    _ => found.push(Anomaly::OffsetReused(seen)),
                }
                let gone = erased.get(field(event, "id")).is_some_and(|&at| session.asked >= at);
                if (gone || is_masked(event)) && !field(event, "body").is_empty() {
                    found.push(Anomaly::DeletedTextShown(seen));
                }
                place = self.check_gap(place, seen - 1, found);
                place += usize::from(self.log.get(place).is_some_and(|event| offset(event) == seen));
                stand = seen;
            }
            if let Some(complete_to) = session.complete_to {
                place = self.check_gap(place, complete_to, found);
            }
        }
    }

    /// Everything of the log from `place` to `to` was not shown; gives the place after it.
    fn check_gap(&self, mut place: usize, to: u64, found: &mut Vec<Anomaly>) -> usize {
        while let Some(event) = self.log.get(place).filter(|event| offset(event) <= to) {
            found.push(Anomaly::Missed(offset(event)));
            place += 1;
        }
        place
    }
}

fn check_order(offset: u64, last: u64, found: &mut Vec<Anomaly>) -> bool {
    if offset == last {
        found.push(Anomaly::Doubled(offset));
    } else if offset < last {
        found.push(Anomaly::Reordered(offset));
    }
    offset > last
}

pub(crate) fn offset(event: &Value) -> u64 {
    event["offset"].as_u64().unwrap_or_else(|| panic!("an event without an offset: {event}"))
}

fn field<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or("")
}

/// Whether the event's text is gone.
pub(crate) fn is_masked(event: &Value) -> bool {
    event.get("deleted_at").is_some()
}

/// Whether two showings are of one record: equal, but for text that is gone in one of them.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    if is_masked(one) || is_masked(other) {
        return without_text(one) == without_text(other);
    }
    one == other
}

fn without_text(event: &Value) -> Value {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        for name in ["body", "name", "sender_name", "deleted_at"] {
            fields.remove(name);
        }
    }
    event
}

fn first(anomalies: &[Anomaly], count: usize) -> &[Anomaly] {
    &anomalies[..anomalies.len().min(count)]
}
