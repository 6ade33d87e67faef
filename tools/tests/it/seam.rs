//! The seam between a state and the stream after it, raced: a reader takes the boot at R and then what comes after R,
//! while others write and delete what is still fresh in memory. Nothing may be missed or come twice, and what is asked for
//! after a deletion was answered may not show the text.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::events::Events;
use crate::support::history::{Ack, Erasure, History, Session, is_masked};
use crate::support::random::Random;
use crate::support::server::Server;

const WRITERS: u64 = 3;
const READERS: u64 = 3;
/// A writer keeps at most so many of its messages alive, so that the whole state fits in one boot.
const ALIVE_MAX: usize = 60;

/// One boot: when it was asked for, where it stood, what it showed.
struct Boot {
    asked: Instant,
    at: u64,
    messages: Vec<Value>,
}

#[derive(Default)]
struct Seen {
    acks: Vec<Ack>,
    erasures: Vec<Erasure>,
    readers: Vec<Vec<Session>>,
    boots: Vec<Boot>,
}

#[test]
fn a_boot_and_the_stream_after_it_are_the_whole() {
    let races = count("SCROLLBACK_F14_RACES", 60);
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let left = Arc::new(AtomicUsize::new(races));
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let (client, channel, over) = (owner.clone(), channel.clone(), Arc::clone(&over));
            std::thread::spawn(move || write(n, client, &channel, &over))
        })
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|n| {
            let (client, left) = (owner.clone(), Arc::clone(&left));
            std::thread::spawn(move || race(n, client, &left))
        })
        .collect();
    let mut seen = Seen::default();
    for reader in readers {
        let reader = reader.join().unwrap();
        seen.readers.extend(reader.readers);
        seen.boots.extend(reader.boots);
    }
    over.store(true, Ordering::SeqCst);
    for writer in writers {
        let writer = writer.join().unwrap();
        seen.acks.extend(writer.acks);
        seen.erasures.extend(writer.erasures);
        seen.readers.extend(writer.readers);
    }
    let log = owner.poll_all("0");
    eprintln!("{races} races, {} events, {} deletions", log.len(), seen.erasures.len());
    assert!(seen.erasures.len() > 10, "too little was deleted to prove anything");
    check_boots(&seen, &log);
    History { acks: seen.acks, erasures: seen.erasures, readers: seen.readers, log }.must_hold();
}

/// Writes, and deletes what was just written or some older message; after every deletion asks at once for the place
/// where the text was, in one way or another.
fn write(writer: u64, mut client: Client, channel: &str, over: &AtomicBool) -> Seen {
    let mut random = Random::new(0x3E40 + writer);
    let mut seen = Seen::default();
    let mut alive: Vec<(String, u64)> = Vec::new();
    for n in 0_u64.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let body = format!("writer {writer} message {n} {}.", random.words(60));
        let key = format!("{writer}-{n}");
        let path = format!("/api/channels/{channel}");
        let said = client.send(&Request::post(&path, &json!({"body": body})).key(&key)).ok(201);
        let (id, offset) = (text(&said, "id"), number(&said, "offset"));
        seen.acks.push(Ack { offset, id: id.clone(), body, key });
        alive.push((id, offset));
        if alive.len() > ALIVE_MAX || random.one_in(2) {
            let newest = alive.len() as u64 - 1;
            let place = if random.one_in(3) { random.below(newest + 1) } else { newest };
            let (id, offset) = alive.remove(place as usize);
            client.delete(&format!("/api/messages/{id}")).ok(200);
            seen.erasures.push(Erasure { id: id.clone(), at: Instant::now() });
            let asked = Instant::now();
            let events = ask_for(&mut client, channel, offset, &id, random.below(4));
            seen.readers.push(vec![Session { asked, after: offset - 1, events, complete_to: None }]);
        }
    }
    seen
}

/// The record at an offset, asked for in one of four ways; where the message is not shown at all, nothing.
fn ask_for(client: &mut Client, channel: &str, offset: u64, id: &str, way: u64) -> Vec<Value> {
    let after = offset - 1;
    match way {
        0 => client.get(&format!("/api/events/poll?after={after}&wait=0&limit=20")).ok(200)["events"]
            .as_array()
            .unwrap()
            .clone(),
        1 => Events::open(client, &format!("?resume_point={after}"), None).take_events(1),
        2 => absent(client, &format!("/api/channels/{channel}/messages?limit=100"), id),
        _ => absent(client, "/api/boot?messages=500", id),
    }
}

/// Asserts that a deleted message is not in a state asked for afterwards.
fn absent(client: &mut Client, path: &str, id: &str) -> Vec<Value> {
    let state = client.get(path).ok(200);
    let messages = state["messages"].as_array().unwrap();
    assert!(messages.iter().all(|message| message["id"] != id), "a deleted message in {path}");
    Vec::new()
}

/// Boots and streams from there, over and over; in every way in which one may go on.
fn race(reader: u64, mut client: Client, left: &AtomicUsize) -> Seen {
    let mut random = Random::new(0x4ACE + reader);
    let mut seen = Seen::default();
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
        let asked = Instant::now();
        let boot = client.get("/api/boot?messages=500").ok(200);
        assert_eq!(boot["truncated"], false, "the state of this test fits in one boot");
        let (after, token) = (number(&boot, "resume_point"), text(&boot, "resume_token"));
        seen.boots.push(Boot { asked, at: after, messages: boot["messages"].as_array().unwrap().clone() });
        let asked = Instant::now();
        let wanted = 1 + random.below(20) as usize;
        let mut session = Session { asked, after, events: Vec::new(), complete_to: None };
        match random.below(4) {
            0 => {
                let poll =
                    client.get(&format!("/api/events/poll?after={token}&wait=20&limit={wanted}")).ok(200);
                assert_eq!(poll["resume"], "ok");
                session.events = poll["events"].as_array().unwrap().clone();
                session.complete_to = Some(crate::support::events::offset_of(&text(&poll, "next")));
            }
            way => {
                let mut stream = match way {
                    1 => Events::open(&client, "", Some(&token)),
                    2 => Events::open(&client, &format!("?resume_point={after}"), None),
                    _ => Events::open(&client, &format!("?resume_point={token}"), None),
                };
                // Over the moment when the stream turns live, and some events beyond it.
                let mut live = 0;
                while live < wanted {
                    let frame = stream.next();
                    if frame.is_event() {
                        live += usize::from(session.complete_to.is_some());
                        session.events.push(frame.json());
                    } else if frame.kind == "caught_up" {
                        session.complete_to = frame.json()["offset"].as_u64();
                    }
                }
            }
        }
        seen.readers.push(vec![session]);
    }
    seen
}

/// Every boot is the fold of the log up to its offset: the same messages, each with its text, unless it was deleted
/// afterwards.
fn check_boots(seen: &Seen, log: &[Value]) {
    let acks: HashMap<&str, &Ack> = seen.acks.iter().map(|ack| (ack.id.as_str(), ack)).collect();
    let erased: HashMap<&str, Instant> = seen.erasures.iter().map(|e| (e.id.as_str(), e.at)).collect();
    let mut boots: Vec<&Boot> = seen.boots.iter().collect();
    boots.sort_by_key(|boot| boot.at);
    let (mut alive, mut place) = (BTreeMap::new(), 0);
    let mut offsets: HashMap<String, u64> = HashMap::new();
    for boot in boots {
        while let Some(event) = log.get(place).filter(|event| number(event, "offset") <= boot.at) {
            match (event["type"].as_str(), event["event"].as_str()) {
                (Some("message"), Some("sent")) => {
                    offsets.insert(text(event, "id"), number(event, "offset"));
                    alive.insert(number(event, "offset"), text(event, "id"));
                }
                (Some("message"), Some("deleted")) => drop(alive.remove(&offsets[&text(event, "id")])),
                _ => {}
            }
            place += 1;
        }
        let expected: Vec<&String> = alive.values().collect();
        let got: Vec<String> = boot.messages.iter().map(|message| text(message, "id")).collect();
        assert!(got.iter().eq(expected), "the boot at {} is not the fold of the log up to it", boot.at);
        for message in &boot.messages {
            let id = text(message, "id");
            let gone_before = erased.get(id.as_str()).is_some_and(|&at| boot.asked >= at);
            assert!(!gone_before, "a message deleted before the boot at {} was asked for", boot.at);
            let body = text(message, "body");
            let may_be_gone = erased.contains_key(id.as_str());
            let whole = acks.get(id.as_str()).is_none_or(|ack| ack.body == body);
            assert!(whole || (may_be_gone && body.is_empty()), "{message} in the boot at {}", boot.at);
            assert!(!is_masked(message) || body.is_empty(), "{message}");
        }
    }
}
