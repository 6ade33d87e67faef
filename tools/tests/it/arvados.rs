//! Arvados' event protocol, as docs/arvados.md has it, told by a client of the test's own. The real clients are tried in
//! `arvados_clients`.

mod asking;
mod bookmarks;
mod ends;
mod frames;
mod imported;
mod lists;
mod order;

use serde_json::{Value, json};

use crate::support::client::{Client, number};
use crate::support::ws::Ws;

/// A socket of whoever this client is.
#[track_caller]
fn open(client: &Client) -> Ws {
    open_at(client, "/websocket")
}

#[track_caller]
fn open_at(client: &Client, path: &str) -> Ws {
    match Ws::try_open_at(client, path).expect("an answer") {
        Ok(socket) => socket,
        Err(refusal) => panic!("the upgrade was refused: {} {}", refusal.status, refusal.text()),
    }
}

/// Says something and gives the answer, which must be the next thing that is not an event or a sign of life.
#[track_caller]
fn ask(socket: &mut Ws, message: &Value) -> Value {
    socket.say(message);
    socket.next_of(|heard| heard.get("status").is_some())
}

/// Subscribes, and gives the number of that.
#[track_caller]
fn subscribe(socket: &mut Ws, filters: &Value, last_log_id: impl Into<Option<u64>>) -> u64 {
    let mut message = json!({"method": "subscribe", "filters": filters});
    if let Some(id) = last_log_id.into() {
        message["last_log_id"] = json!(id);
    }
    let answer = ask(socket, &message);
    assert_eq!(answer["status"], 200, "{answer}");
    number(&answer, "subscription")
}

/// The next event.
#[track_caller]
fn event(socket: &mut Ws) -> Value {
    socket.next_of(|heard| heard.get("msgID").is_some())
}

/// The ids of the events up to and with this one.
#[track_caller]
fn ids_to(socket: &mut Ws, last: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.last().is_none_or(|id| *id != last) {
        ids.push(number(&event(socket), "id"));
    }
    ids
}

/// The offsets of all events that somebody may see, and that are wanted.
fn offsets(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Vec<u64> {
    client.poll_all("0").iter().filter(|event| wanted(event)).map(|event| number(event, "offset")).collect()
}
