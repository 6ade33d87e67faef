//! What time makes of messages and channels: they expire, by an event like any other, and their text is gone.

use serde_json::json;

use crate::support::client::{number, text};
use crate::support::events::Events;
use crate::support::files;
use crate::support::server::Server;

const SOON: [&str; 4] = ["--expiry-every", "100ms", "--channel-expiry", "off"];

#[test]
fn a_message_expires_and_its_text_is_gone() {
    let mut options = SOON.to_vec();
    options.extend(["--message-expiry", "1s"]);
    let (mut server, mut owner) = Server::set_up(&options);
    let channel = owner.create_channel("general");
    let mut stream = Events::open(&owner, "?type=message&event=deleted", None);
    stream.until("caught_up");
    let first = owner.say(&channel, "short-lived");
    let event = stream.take_events(1).remove(0);
    assert_eq!(
        (&event["type"], &event["event"], &event["reason"]),
        (&json!("message"), &json!("deleted"), &json!("expired"))
    );
    assert_eq!(
        (&event["id"], &event["channel"], &event["by"]),
        (&first["id"], &json!(channel), &json!(null))
    );
    assert_eq!(event["sender"], first["sender"]);
    for _ in 0..2 {
        assert!(owner.history(&channel, 50).is_empty());
        owner.delete(&format!("/api/messages/{}", text(&first, "id"))).refused(404);
        let events = owner.poll_all("0");
        let expired = events.iter().filter(|e| e["reason"] == "expired").count();
        assert_eq!(expired, 1, "a message expires once: {events:?}");
        let sent = events.iter().find(|e| e["offset"] == first["offset"]).unwrap();
        assert_eq!((&sent["body"], sent["deleted_at"].is_string()), (&json!(""), true));
        server.restart();
    }
}

#[test]
fn what_expired_while_the_server_was_down_expires_when_it_comes_up() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let token = owner.token("reader");
    for n in 0..5 {
        owner.say(&channel, &format!("message {n}"));
    }
    server.stop();
    let mut options = SOON.to_vec();
    options.extend(["--message-expiry", "1ms"]);
    server.set_options(&options);
    server.start();
    let reader = server.client().with_token(&token);
    let events = Events::open(&reader, "?type=message&event=deleted", None).take_events(5);
    let offsets: Vec<u64> = events.iter().map(|event| number(event, "offset")).collect();
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(events.iter().all(|event| event["reason"] == "expired"));
}

#[test]
fn a_channel_expires_with_all_it_holds() {
    let options = ["--expiry-every", "100ms", "--message-expiry", "off", "--channel-expiry", "1s"];
    let (_server, mut owner) = Server::set_up(&options);
    let mut stream = Events::open(&owner, "?type=channel&event=deleted", None);
    stream.until("caught_up");
    let channel = owner.create_channel("general");
    owner.say(&channel, "short-lived");
    let event = stream.take_events(1).remove(0);
    assert_eq!(
        (&event["id"], &event["reason"], &event["by"]),
        (&json!(channel), &json!("expired"), &json!(null))
    );
    owner.get(&format!("/api/channels/{channel}/messages")).refused(404);
    assert_eq!(owner.get("/api/boot").ok(200)["channels"], json!([]));
    owner.create_channel("general");
}

#[test]
fn nothing_expires_when_expiry_is_off() {
    let options = ["--expiry-every", "10ms", "--message-expiry", "off", "--channel-expiry", "off"];
    let (mut server, mut owner) = Server::set_up(&options);
    let channel = owner.create_channel("general");
    for n in 0..50 {
        owner.say(&channel, &format!("message {n}"));
    }
    // Every start looks at once; the looks in between had the time of the fifty messages.
    server.restart();
    assert_eq!(owner.history(&channel, 50).len(), 50);
    assert!(owner.poll_all("0").iter().all(|event| event["event"] != "deleted"));
}

#[test]
fn the_bytes_of_a_deleted_text_leave_the_disk() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("a channel whose name is to be forgotten");
    let kept = owner.create_channel("kept");
    owner.say(&channel, "in a channel that goes: zebra crossing quagmire");
    let gone = owner.say(&kept, "taken back by its author: xylophone vortex umbrella");
    let stays = owner.say(&kept, "this one stays: juniper kaleidoscope mango");
    owner.delete(&format!("/api/messages/{}", text(&gone, "id"))).ok(200);
    owner.delete(&format!("/api/channels/{channel}")).ok(200);
    let before = owner.poll_all("0");
    server.stop();
    server.operate("compact", &["--yes"]).must_exit(0);
    let words = ["zebra crossing quagmire", "xylophone vortex umbrella", "whose name is to be forgotten"];
    for needle in words {
        assert_eq!(files::find(server.data(), needle.as_bytes()), None, "{needle}");
    }
    assert!(files::find(server.data(), b"juniper kaleidoscope mango").is_some(), "this search can find");
    server.operate("verify", &[]).must_exit(0);
    server.start();
    assert_eq!(owner.poll_all("0"), before);
    let said = owner.say(&kept, "after the compaction");
    assert_eq!(number(&said, "offset"), number(before.last().unwrap(), "offset") + 1);
    assert_eq!(owner.history(&kept, 50), [stays, said]);
}
