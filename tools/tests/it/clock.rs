//! A clock that steps, by libfaketime, which lies to the server about the time of day and not about how time passes: stamps
//! never go back, nothing expires because of a step, and what expires does so once and in order.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::{Client, number, text};
use crate::support::server::Server;
use crate::support::until;

const OPTIONS: [&str; 6] = ["--expiry-every", "100ms", "--channel-expiry", "off", "--message-expiry", "12h"];

/// Where Debian puts the library.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found =
        places.map(|place| place.path().join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    found.next().expect("libfaketime, from the package faketime")
}

/// The clock of a server.
struct Clock {
    file: PathBuf,
    _directory: TempDir,
}

impl Clock {
    /// Lets the next starts of this server see this clock, which is right at first.
    fn of(server: &mut Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Self { file: directory.path().join("clock"), _directory: directory };
        clock.step("+0");
        let variables = [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ];
        server.set_environment(&variables.map(|(name, value)| (name.to_owned(), value)));
        clock
    }

    /// Sets it off from the right time by so much.
    fn step(&self, by: &str) {
        // At once, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, by).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

/// A running server with a clock of its own, its owner, and a channel.
fn set_up() -> (Server, Clock, Client, String) {
    let mut server = Server::new(&OPTIONS);
    let clock = Clock::of(&mut server);
    server.start();
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    (server, clock, owner, channel)
}

fn paused(server: &Server) -> bool {
    server.client().figure("scrollback_expiry_paused") == Some(1)
}

fn until_paused(server: &Server) {
    until("expiry pauses", || paused(server).then_some(()));
}

fn say_some(client: &mut Client, channel: &str) -> Vec<Value> {
    (0..3).map(|n| client.say(channel, &format!("message {n}"))).collect()
}

/// The offsets of what has expired, in the order of their expiry; times never go back in the log meanwhile.
fn expired(client: &mut Client) -> Vec<u64> {
    let events = client.poll_all("0");
    let times: Vec<String> = events
        .iter()
        .map(|event| text(event, if event["recorded_at"].is_string() { "recorded_at" } else { "at" }))
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "a stamp went back: {times:?}");
    let messages: std::collections::HashMap<&str, u64> = events
        .iter()
        .filter(|event| event["type"] == "message" && event["event"] == "sent")
        .map(|event| (event["id"].as_str().unwrap(), number(event, "offset")))
        .collect();
    let gone = events.iter().filter(|event| event["type"] == "message" && event["event"] == "deleted");
    gone.map(|event| messages[event["id"].as_str().unwrap()]).collect()
}

#[test]
#[ignore = "needs faketime (tools/test installs it)"]
fn a_clock_that_steps_expires_nothing_and_stamps_never_go_back() {
    for steps in [["+1d", "-1d", "+0"], ["-1d", "+1d", "-2d"], ["+2h", "+0", "+3h"]] {
        let (mut server, clock, mut owner, channel) = set_up();
        let mut said = say_some(&mut owner, &channel);
        assert!(!paused(&server));
        for (n, step) in steps.iter().enumerate() {
            clock.step(step);
            until_paused(&server);
            said.extend(say_some(&mut owner, &channel));
            assert_eq!(owner.history(&channel, 50), said, "step {n} to {step}");
            assert!(expired(&mut owner).is_empty(), "step {n} to {step}");
        }
        // Nor does a restart delete what is young by the clock of now.
        let ended = server.stop();
        assert!(
            ended.stderr.contains("WARN")
                && ended.stderr.contains("clock")
                && ended.stderr.contains("--confirm-clock"),
            "{}",
            ended.stderr
        );
        clock.step("+0");
        server.start();
        said.extend(say_some(&mut owner, &channel));
        assert_eq!(owner.history(&channel, 50), said);
        assert!(expired(&mut owner).is_empty());
        server.stop();
        server.operate("verify", &[]).must_exit(0);
    }
}

#[test]
#[ignore = "needs faketime (tools/test installs it)"]
fn once_the_clock_is_confirmed_all_expires_in_order_and_once() {
    let (mut server, clock, mut owner, channel) = set_up();
    // A token's session does not end in the meantime.
    let mut owner = server.client().with_token(&owner.token("owner"));
    let mut said: Vec<u64> = Vec::new();
    // Stamped out of the order of the right time, by a clock that goes to and fro.
    for step in ["+3h", "+0", "+1h", "-1d"] {
        clock.step(step);
        said.extend(say_some(&mut owner, &channel).iter().map(|message| number(message, "offset")));
    }
    server.stop();
    clock.step("+40d");
    server.start();
    until_paused(&server);
    assert!(expired(&mut owner).is_empty());
    server.stop();
    let mut confirmed = OPTIONS.to_vec();
    confirmed.push("--confirm-clock");
    server.set_options(&confirmed);
    server.start();
    let until_expired = |owner: &mut Client| {
        until("expiry goes on", || owner.history(&channel, 50).is_empty().then_some(()));
    };
    until_expired(&mut owner);
    assert_eq!(expired(&mut owner), said, "in the order of their records, each once");
    // Neither a step nor a start expires anything a second time, whatever the clock shows.
    let young: Vec<u64> =
        say_some(&mut owner, &channel).iter().map(|message| number(message, "offset")).collect();
    for step in ["+0", "+39d", "+41d"] {
        server.stop();
        clock.step(step);
        server.start();
        if step == "+41d" {
            until_expired(&mut owner);
        }
    }
    assert_eq!(expired(&mut owner), [said, young].concat());
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}
