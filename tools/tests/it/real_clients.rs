//! Clients that others wrote: Python's httpx-sse and Node's eventsource consume the stream while the server is killed and
//! started again under them. They come back by themselves and see everything exactly once.

use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::Value;

use crate::support::client::number;
use crate::support::count;
use crate::support::installed::{installed, lines, program};
use crate::support::server::{Server, wait};

/// A client waits up to 8 s before it comes back, as the server told it to.
const EVENT_WAIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs httpx-sse, which tools/test installs"]
fn python_httpx_sse_sees_everything_once_over_kills() {
    let mut python = Command::new(installed("venv/bin/python"));
    python.arg(program("httpx_sse_client.py"));
    consume_over_kills(python);
}

#[test]
#[ignore = "needs Node's eventsource, which tools/test installs"]
fn node_eventsource_sees_everything_once_over_kills() {
    let mut node = Command::new("node");
    node.arg(program("eventsource_client.mjs")).env("EVENTSOURCE", installed("node_modules/eventsource"));
    consume_over_kills(node);
}

/// Runs a client that prints the data of every event on a line of its own.
fn consume_over_kills(mut client: Command) {
    let (mut server, mut owner) = Server::set_up(&[]);
    server.keep_address();
    let channel = owner.create_channel("general");
    let token = owner.token("client");
    for n in 0..20 {
        owner.say(&channel, &format!("before the client came {n}"));
    }
    let url = format!("http://{}/api/events", server.address.get());
    let mut child = client.args([&url, &token]).stdout(Stdio::piped()).spawn().expect("the client's program");
    let seen = lines(&mut child);
    let mut got: Vec<Value> = Vec::new();
    let mut owner = server.client().with_token(&token);
    let mut last = 0;
    for kill in 0..count("SCROLLBACK_CLIENT_KILLS", 3) {
        for n in 0..20 {
            last = number(&owner.say(&channel, &format!("live, \u{1f600} {kill}/{n}")), "offset");
        }
        receive(&seen, &mut got, last);
        for n in 0..5 {
            last = number(
                &owner.say(&channel, &format!("perhaps not read before the kill {kill}/{n}")),
                "offset",
            );
        }
        server.kill9();
        server.start();
        for n in 0..5 {
            last = number(&owner.say(&channel, &format!("while the client is away {kill}/{n}")), "offset");
        }
    }
    receive(&seen, &mut got, last);
    child.kill().unwrap();
    wait(&mut child);
    assert_eq!(got, owner.poll_all("0"));
}

/// Waits until the event at an offset has come.
fn receive(seen: &Receiver<String>, got: &mut Vec<Value>, to: u64) {
    while got.last().is_none_or(|event| number(event, "offset") < to) {
        let line =
            seen.recv_timeout(EVENT_WAIT).unwrap_or_else(|_| panic!("the client saw nothing up to {to}"));
        let event: Value = line.parse().expect("the data of an event");
        if event.get("event").is_some() {
            got.push(event);
        }
    }
}
