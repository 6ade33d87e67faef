//! Bookmarks: how far a connection has looked, told to whoever asks for that.

use serde_json::{Value, json};

use super::{ask, ids_to, offsets, open, subscribe};
use crate::support::client::number;
use crate::support::server::Server;

const MESSAGES: usize = 1_500;
/// Every so many messages something happens that is wanted. Often, or a bookmark too far ahead would lie ahead of nothing.
const WANTED_ONE_IN: usize = 5;

#[test]
fn a_bookmark_is_never_ahead_of_what_was_not_told_and_whoever_goes_on_from_one_is_told_the_rest() {
    let (_server, mut owner) = Server::set_up(&["--heartbeat", "20ms"]);
    let token = owner.token("writers");
    let mut owner = owner.with_token(&token);
    let channel = owner.create_channel("general");
    let wanted = json!([["object_kind", "=", "scrollback#channel"]]);
    let mut socket = open(&owner);
    let question = json!({"method": "subscribe", "filters": wanted, "last_log_id": 0, "bookmarks": true});
    assert_eq!(ask(&mut socket, &question)["status"], 200);
    let mut heard: Vec<Value> = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (mut client, channel) = (owner.clone(), &channel);
                scope.spawn(move || {
                    for n in 0..MESSAGES / 4 {
                        client.say(channel, &format!("{writer} {n}"));
                        if n % WANTED_ONE_IN == 0 {
                            client.create_channel(&format!("channel {writer} {n}"));
                        }
                    }
                })
            })
            .collect();
        let mut last = owner.clone();
        scope.spawn(move || {
            let all_well = writers.into_iter().all(|writer| writer.join().is_ok());
            last.create_channel("the last");
            assert!(all_well);
        });
        let is_last = |row: &Value| row["properties"]["new_attributes"]["name"] == "the last";
        while !heard.last().is_some_and(is_last) {
            heard.push(socket.next_of(|heard| heard.get("id").is_some() || heard.get("bookmark").is_some()));
        }
    });
    // One more, behind everything: it is told of what was looked at and not wanted.
    owner.say(&channel, "not wanted");
    heard.push(socket.next_of(|heard| heard.get("bookmark").is_some()));
    let all = offsets(&mut owner, |event| event["type"] == "channel");
    let (mut told, mut bookmarks) = (Vec::new(), Vec::new());
    for message in &heard {
        match message["bookmark"].as_u64() {
            None => told.push(number(message, "id")),
            Some(bookmark) => {
                let to: Vec<u64> = all.iter().copied().filter(|id| *id <= bookmark).collect();
                assert_eq!(told, to, "bookmark {bookmark}");
                bookmarks.push(bookmark);
            }
        }
    }
    assert_eq!(told, all);
    assert!(bookmarks.is_sorted(), "{bookmarks:?}");
    let between =
        |bookmark: &&u64| all.iter().any(|id| id < *bookmark) && all.iter().any(|id| id > *bookmark);
    let in_the_middle: Vec<&u64> = bookmarks.iter().filter(between).collect();
    assert!(!in_the_middle.is_empty(), "none proves anything: {bookmarks:?}");
    for bookmark in in_the_middle.iter().step_by(in_the_middle.len().div_ceil(8)) {
        let mut back = open(&owner);
        subscribe(&mut back, &wanted, **bookmark);
        let rest: Vec<u64> = all.iter().copied().filter(|id| id > *bookmark).collect();
        assert_eq!(ids_to(&mut back, all[all.len() - 1]), rest, "from {bookmark}");
    }
}
