//! A client may leave one transport at an offset and go on there with another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{offsets, with_events};
use crate::support::client::{Client, number, text};
use crate::support::events::Events;
use crate::support::random::Random;
use crate::support::ws::Ws;

/// Reads at least one event after `token` in one way, and so many more or none; gives them and where it leaves.
fn read(way: u64, client: &Client, token: &str, filter: &Value, most: usize) -> (Vec<Value>, String) {
    let query: String = filter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut events = Vec::new();
    let mut token = token.to_owned();
    match way {
        0 => {
            let mut stream = Events::open(client, &format!("?filter={query}"), Some(&token));
            while events.len() < most {
                let frame = stream.next();
                if frame.is_event() {
                    events.push(frame.json());
                }
            }
            token = stream.last_id.expect("an event has an id");
        }
        1 => {
            let path = format!("/api/events/poll?after={token}&limit={most}&wait=30&filter={query}");
            let page = client.clone().get(&path).ok(200);
            token = text(&page, "next");
            events = page["events"].as_array().unwrap().clone();
        }
        _ => {
            let mut socket = Ws::open(client);
            let how = json!({"resume_point": token, "filters": [filter], "window": most});
            let session = socket.session_id(how);
            (events, token) = socket.take_events(&session, 1);
            assert!(events.len() <= most);
            if way == 2 {
                socket.close();
            } else {
                socket.cut();
            }
        }
    }
    (events, token)
}

#[test]
fn whoever_goes_from_one_transport_to_another_misses_nothing_and_gets_nothing_twice() {
    let (_server, mut owner, channels) = with_events(&[]);
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (mut client, over) = (owner.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut last = 0;
            for n in 0.. {
                if over.load(Ordering::SeqCst) {
                    return last;
                }
                last = number(&client.say(&channels[n % 2], &format!("while they read {n}")), "offset");
                std::thread::sleep(Duration::from_millis(2));
            }
            last
        })
    };
    let filters = [json!([]), json!([["type", "=", "message"], ["event", "!=", "deleted"]])];
    let mut readers = Vec::new();
    for (n, filter) in filters.iter().enumerate() {
        let mut random = Random::new(0x7A + n as u64);
        let (mut seen, mut token) = (Vec::new(), "0".to_owned());
        let mut ways: VecDeque<u64> = (0..24).map(|_| random.below(4)).collect();
        while let Some(way) = ways.pop_front() {
            let most = 1 + random.below(9) as usize;
            let (events, next) = read(way, &owner, &token, filter, most);
            seen.extend(events);
            token = next;
        }
        readers.push((filter, seen, token));
    }
    over.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    let all = owner.poll_all("0");
    for (filter, mut seen, token) in readers {
        let query: String = filter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        seen.extend(Events::open(&owner, &format!("?filter={query}"), Some(&token)).caught_up());
        let wanted: Vec<Value> = all
            .iter()
            .filter(|e| filter == &json!([]) || e["type"] == "message" && e["event"] != "deleted")
            .cloned()
            .collect();
        assert_eq!(offsets(&seen), offsets(&wanted), "{filter}");
        assert_eq!(seen, wanted);
    }
}
