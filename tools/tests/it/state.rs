//! The state at one offset: `boot`, its limits, and reads that must include what was just written.

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::corpus::Corpus;
use crate::support::events::assert_is_token;
use crate::support::server::Server;

#[test]
fn the_boot_is_exact_at_its_resume_point() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, member_id) = owner.invite_member("member");
    let channel = owner.create_channel("general");
    member.say(&channel, "one");
    let last = owner.say(&channel, "two");
    let boot = member.get("/api/boot").ok(200);
    assert_eq!(boot["user"]["id"], json!(member_id));
    assert_eq!(boot["resume_point"], last["offset"]);
    assert_is_token(&text(&boot, "resume_token"));
    assert!(text(&boot, "resume_token").starts_with(&format!("{}-", boot["resume_point"])));
    assert!(number(&boot, "heartbeat") > 0);
    assert_eq!(boot["truncated"], false);
    assert_eq!(boot["users"].as_array().unwrap().len(), 2);
    assert_eq!(boot["channels"][0]["last_offset"], last["offset"]);
    assert_eq!(bodies(&boot), ["one", "two"]);
    let after = owner.poll_all(&text(&boot, "resume_token"));
    assert!(after.is_empty(), "{after:?}");
}

#[test]
fn the_boot_holds_the_newest_messages_of_each_channel() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channels = [owner.create_channel("first"), owner.create_channel("second")];
    for n in 0..60 {
        for channel in &channels {
            owner.say(channel, &format!("message {n}"));
        }
    }
    let per_channel = |boot: &Value, channel: &str| {
        let messages = boot["messages"].as_array().unwrap();
        messages.iter().filter(|m| m["channel"] == *channel).map(|m| text(m, "body")).collect::<Vec<_>>()
    };
    for (query, expected) in [("", 50), ("?messages=1", 1), ("?messages=7", 7), ("?messages=500", 60)] {
        let boot = owner.get(&format!("/api/boot{query}")).ok(200);
        for channel in &channels {
            let wanted: Vec<_> = (60 - expected..60).map(|n| format!("message {n}")).collect();
            assert_eq!(per_channel(&boot, channel), wanted, "{query}");
        }
        assert_eq!(boot["truncated"], false, "{query}");
    }
    for bad in ["501", "-1", "x", "", "99999999999999999999"] {
        let response = owner.get(&format!("/api/boot?messages={bad}"));
        assert_eq!(response.status, 400, "{bad:?}: {}", response.text());
    }
}

#[test]
fn a_boot_has_at_most_5000_messages() {
    let (_server, mut owner, corpus) = imported(12, 500, 10);
    assert_eq!(corpus.lines.len(), 6000);
    let boot = owner.get("/api/boot?messages=500").ok(200);
    let messages = boot["messages"].as_array().unwrap();
    assert_eq!(boot["truncated"], true);
    assert!(messages.len() <= 5000 && messages.len() >= 3000, "{}", messages.len());
    assert_newest_of_each_channel(&boot, &corpus);
    let whole = owner.get("/api/boot?messages=400").ok(200);
    assert_eq!(whole["truncated"], false);
    assert_eq!(whole["messages"].as_array().unwrap().len(), 4800);
}

#[test]
fn a_boot_has_at_most_4_mib_of_messages() {
    let (_server, mut owner, corpus) = imported(4, 40, 60_000);
    let response = owner.get("/api/boot?messages=500");
    assert!(response.body.len() < 5 << 20, "{}", response.body.len());
    let boot = response.ok(200);
    assert_eq!(boot["truncated"], true);
    assert!(boot["messages"].as_array().unwrap().len() >= 32);
    assert_newest_of_each_channel(&boot, &corpus);
}

#[test]
fn a_read_may_ask_for_a_state_that_includes_an_offset() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let head = number(&owner.say(&channel, "one"), "offset");
    let reads = ["/api/boot", "/api/channels", "/api/users", &format!("/api/channels/{channel}/messages")];
    for path in reads {
        owner.get(&format!("{path}?at_least={head}")).ok(200);
        for bad in ["x", "-1", "", "1.5"] {
            owner.get(&format!("{path}?at_least={bad}")).refused(400);
        }
    }
    owner.get(&format!("/api/channels?at_least={}", head + 1)).refused_as(409, "behind");
    owner.get("/api/channels?at_least=18446744073709551615").refused_as(409, "behind");
}

#[test]
fn a_read_that_is_ahead_waits_for_the_record() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut reader = owner.clone();
    let head = number(&owner.say(&channel, "one"), "offset");
    let path = format!("/api/channels/{channel}/messages?at_least={}", head + 1);
    let waiting = std::thread::spawn(move || reader.get(&path));
    owner.say(&channel, "two");
    let page = waiting.join().unwrap().ok(200);
    assert_eq!(bodies(&page), ["one", "two"]);
}

fn bodies(state: &Value) -> Vec<String> {
    state["messages"].as_array().unwrap().iter().map(|message| text(message, "body")).collect()
}

fn imported(channels: usize, messages: usize, body_bytes: usize) -> (Server, Client, Corpus) {
    let mut server = Server::new(&["--message-expiry", "off", "--channel-expiry", "off"]);
    let directory = tempfile::tempdir().unwrap();
    let corpus = Corpus::made(directory.path(), channels, messages, body_bytes);
    server.operate("import", &[corpus.file()]).must_exit(0);
    server.start();
    let owner = server.owner();
    (server, owner, corpus)
}

#[track_caller]
fn assert_newest_of_each_channel(boot: &Value, corpus: &Corpus) {
    for channel in boot["channels"].as_array().unwrap() {
        let all = corpus.lines.iter().filter(|line| channel["name"] == line.channel.as_str());
        let all: Vec<_> = all.map(|line| line.body.clone()).collect();
        let got = boot["messages"].as_array().unwrap().iter().filter(|m| m["channel"] == channel["id"]);
        let got: Vec<_> = got.map(|message| text(message, "body")).collect();
        assert!(!got.is_empty(), "a channel without messages");
        assert_eq!(got, all[all.len() - got.len()..], "the newest of {}", channel["name"]);
    }
}
