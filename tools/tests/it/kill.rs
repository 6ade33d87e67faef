//! The server is killed by `kill -9` again and again while many write, delete and read. Writers send again what had no
//! answer, under the same key; readers come back with the last id they saw. In the end the history must hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::events::{End, Events, offset_of};
use crate::support::history::{Ack, Erasure, History, Session};
use crate::support::progress::Progress;
use crate::support::random::Random;
use crate::support::server::{PROCESS_WAIT, Server};

const WRITERS: u64 = 6;
const READERS: u64 = 3;
/// One message in so many is deleted by its writer.
const DELETED_ONE_IN: u64 = 6;
/// One cycle in so many is killed while it starts.
const KILLED_EARLY_ONE_IN: u64 = 6;
/// A cycle is killed after at most so many answers.
const ANSWERS_MAX: u64 = 80;

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let cycles = count("SCROLLBACK_F1_CYCLES", 6);
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let owner = server.client().with_token(&owner.token("everybody"));
    let progress = Arc::new(Progress::default());
    let head = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let (client, channel, progress) = (owner.clone(), channel.clone(), Arc::clone(&progress));
            std::thread::spawn(move || write(n, client, &channel, &progress))
        })
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (client, head) = (owner.clone(), Arc::clone(&head));
            std::thread::spawn(move || read(&client, &head))
        })
        .collect();

    let mut random = Random::new(0xF1);
    for _ in 0..cycles {
        progress.wait_for(1 + random.below(ANSWERS_MAX));
        server.kill9();
        if random.one_in(KILLED_EARLY_ONE_IN) {
            server.spawn();
            std::thread::sleep(Duration::from_millis(random.below(60)));
            server.kill9();
        }
        server.start();
    }
    progress.end();
    let mut history = History::default();
    for writer in writers {
        let (acks, erasures) = writer.join().unwrap();
        history.acks.extend(acks);
        history.erasures.extend(erasures);
    }
    // One more record, by which the readers know that they have seen everything.
    let last = owner.clone().say(&channel, "the last word");
    head.store(number(&last, "offset"), Ordering::SeqCst);
    for reader in readers {
        history.readers.push(reader.join().unwrap());
    }
    server.kill9();
    server.start();
    history.log = owner.clone().poll_all("0");
    eprintln!(
        "{cycles} kills, {} messages acknowledged, {} deleted, {} events, {} sessions of readers",
        history.acks.len(),
        history.erasures.len(),
        history.log.len(),
        history.readers.iter().map(Vec::len).sum::<usize>()
    );
    assert!(
        history.acks.len() > cycles && !history.erasures.is_empty(),
        "too little happened to prove anything"
    );
    history.must_hold();
    let live = owner.clone().history(&channel, 500);
    assert_eq!(
        live.len(),
        history.acks.len() + 1 - history.erasures.len(),
        "the history is not what is left"
    );
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}

/// Writes and deletes until all is over; nothing is given up before it has an answer.
fn write(writer: u64, mut client: Client, channel: &str, progress: &Progress) -> (Vec<Ack>, Vec<Erasure>) {
    let (mut acks, mut erasures) = (Vec::new(), Vec::new());
    let mut random = Random::new(0x3717 + writer);
    for n in 0_u64.. {
        if progress.is_over() {
            break;
        }
        let key = format!("writer-{writer}-{n}");
        let length = random.below(400) as usize;
        let body = format!("{key} {}.", random.words(length));
        let request = Request::post(&format!("/api/channels/{channel}"), &json!({"body": body})).key(&key);
        let said = client.insist(&request, &[201]).1;
        acks.push(Ack { offset: number(&said, "offset"), id: text(&said, "id"), body, key });
        progress.step();
        if random.one_in(DELETED_ONE_IN) {
            let id = text(&said, "id");
            let (tries, _) =
                client.insist(&Request::new("DELETE", &format!("/api/messages/{id}")), &[200, 404]);
            assert!(
                tries.status == 200 || tries.tries > 1,
                "a message acknowledged is not there to be deleted"
            );
            erasures.push(Erasure { id, at: Instant::now() });
            progress.step();
        }
    }
    (acks, erasures)
}

/// Reads from the beginning, coming back after every end, until the last word is seen.
fn read(client: &Client, head: &AtomicU64) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut last_id: Option<String> = None;
    let deadline = Instant::now() + 10 * PROCESS_WAIT;
    loop {
        assert!(Instant::now() < deadline, "a reader never came to the end");
        let asked = Instant::now();
        let Ok(opened) = Events::try_open(client, "", last_id.as_deref()) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let Ok(mut stream) = opened else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let after = last_id.as_deref().map_or(0, offset_of);
        let mut session = Session { asked, after, events: Vec::new(), complete_to: None };
        loop {
            match stream.try_next(Duration::from_millis(200)) {
                Ok(frame) if frame.is_event() => session.events.push(frame.json()),
                Ok(frame) if frame.kind == "hello" => {
                    assert_eq!(frame.json()["resume"], "ok", "{}", frame.data)
                }
                Ok(frame) if frame.kind == "caught_up" => {
                    session.complete_to = session.complete_to.max(frame.json()["offset"].as_u64());
                }
                Ok(_) | Err(End::Silent) => {}
                Err(End::Closed | End::Broken) => break,
            }
            let goal = head.load(Ordering::SeqCst);
            if goal > 0 && session.events.last().is_some_and(|event| number(event, "offset") >= goal) {
                sessions.push(session);
                return sessions;
            }
        }
        last_id = stream.last_id.clone();
        sessions.push(session);
    }
}
