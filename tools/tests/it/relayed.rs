//! Every kind of client behind a relay that cuts connections, drips, closes one half of them or falls silent: each ends with
//! exactly the log, and each message that was sent again and again is there once.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::history::{Ack, History};
use crate::support::judge::Case;
use crate::support::random::Random;
use crate::support::reader::{Orders, Reader, Transport};
use crate::support::relay::{Relay, Treatment};
use crate::support::server::Server;

/// Enough that a treatment begins within a few messages.
const BODY_BYTES: u64 = 2_000;

fn write(messages: usize, writer: usize, mut client: Client, channel: &str) -> Vec<Ack> {
    let mut random = Random::new(0xF8 + writer as u64);
    (0..messages)
        .map(|n| {
            let key = format!("{writer}-{n}");
            let length = random.below(BODY_BYTES) as usize;
            let body = format!("{key} {}.", random.words(length));
            let request =
                Request::post(&format!("/api/channels/{channel}"), &json!({"body": body})).key(&key);
            let said = client.insist(&request, &[201]).1;
            Ack { offset: number(&said, "offset"), id: text(&said, "id"), body, key }
        })
        .collect()
}

#[test]
fn behind_a_relay_that_mistreats_them_all_clients_end_with_exactly_the_log() {
    let messages = count("SCROLLBACK_F8_MESSAGES", 60);
    let (server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let began = Instant::now();
    let id = text(&owner.get("/api/auth/me").ok(200), "id");
    let channel = owner.create_channel("general");
    let token = owner.token("for good");
    let owner = owner.with_token(&token);
    let relay = Relay::to(&server.address, &Treatment::BAD, 0xF8);
    let orders = Orders::default();
    let of_messages = json!([[["type", "=", "message"]]]);
    let (history, mut case) = std::thread::scope(|scope| {
        let (orders, channel, id) = (&orders, channel.as_str(), id.as_str());
        let transports =
            [Transport::Sse, Transport::Poll, Transport::WebSocket(1000), Transport::WebSocket(3)];
        let readers: Vec<_> = [Value::Null, of_messages]
            .into_iter()
            .flat_map(|filters| transports.map(|transport| (transport, filters.clone())))
            .map(|(transport, filters)| {
                let client = owner.at(relay.address());
                scope.spawn(move || Reader::new(client, id, transport, &filters, orders).run())
            })
            .collect();
        let writers: Vec<_> = (0..3)
            .map(|n| {
                let client = owner.at(relay.address());
                scope.spawn(move || write(messages, n, client, channel))
            })
            .collect();
        let mut history = History::default();
        writers.into_iter().for_each(|writer| history.acks.extend(writer.join().unwrap()));
        relay.treat(&[Treatment::Pass]);
        let last = owner.clone().say(channel, "the last word");
        orders.goal.store(number(&last, "offset"), Ordering::SeqCst);
        let readings = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        (history, Case { began, log: Vec::new(), changes: Vec::new(), readings })
    });
    case.log = owner.clone().poll_all("0");
    let history = History { log: case.log.clone(), ..history };
    eprintln!(
        "{} messages by 3 writers and {} readers over {} connections in {:.1} s",
        history.acks.len(),
        case.readings.len(),
        relay.served(),
        began.elapsed().as_secs_f64()
    );
    assert!(relay.served() > 4 * Treatment::BAD.len(), "too little happened to prove anything");
    history.must_hold();
    case.must_hold();
}
