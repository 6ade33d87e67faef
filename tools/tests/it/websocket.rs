//! Sessions over WebSocket, as docs/api.md has them.

mod abuse;
mod ends;
mod half_sent;
mod handshake;
mod resuming;
mod sends;
mod sessions;
mod transports;

use serde_json::Value;

use crate::support::client::{Client, number, text};
use crate::support::server::Server;

/// A server with two channels and events of several kinds; gives the channels.
fn with_events(options: &[&str]) -> (Server, Client, [String; 2]) {
    let (server, mut owner) = Server::set_up(options);
    let channels = [owner.create_channel("first"), owner.create_channel("second")];
    for n in 0..6 {
        for channel in &channels {
            let said = owner.say(channel, &format!("message {n}"));
            if n == 2 {
                owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
            }
        }
    }
    (server, owner, channels)
}

fn offsets(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| number(event, "offset")).collect()
}

/// Asserts that an `answer` is a refusal as calls of the API have it, and that its code is documented; gives its code.
#[track_caller]
fn refused(answer: &Value, status: u16) -> String {
    assert_eq!((&answer["type"], &answer["status"]), (&"answer".into(), &status.into()), "{answer}");
    let as_call = crate::support::http::Response {
        status,
        headers: vec![("content-type".into(), "application/problem+json".into())],
        body: answer["body"].to_string().into_bytes(),
    };
    as_call.refused(status)
}
