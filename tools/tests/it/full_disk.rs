//! A disk that is full: a small file system of its own, filled up from outside.

use std::time::Instant;

use serde_json::json;

use crate::support::client::{Client, text};
use crate::support::disk::Disk;
use crate::support::events::Events;
use crate::support::random::Random;
use crate::support::server::{PROCESS_WAIT, Server};

const DISK_MIB: usize = 48;
const MARK_MIB: usize = 8;

fn say(client: &mut Client, channel: &str, body: &str) -> crate::support::http::Response {
    client.post(&format!("/api/channels/{channel}"), &json!({ "body": body }))
}

fn readiness(server: &Server) -> (u16, serde_json::Value) {
    let answer = server.client().get("/readyz");
    (answer.status, serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["reasons"].clone())
}

/// Makes every message anew until the server answers something else than yes.
fn talk_until_refused(client: &mut Client, channel: &str) -> (Vec<String>, crate::support::http::Response) {
    let mut random = Random::new(0xF5);
    let mut said = Vec::new();
    let deadline = Instant::now() + PROCESS_WAIT;
    loop {
        assert!(Instant::now() < deadline, "the disk does not fill up");
        let body = random.words(30_000);
        let answer = say(client, channel, &body);
        if answer.status != 201 {
            return (said, answer);
        }
        said.push(body);
    }
}

fn bodies(client: &mut Client, channel: &str) -> Vec<String> {
    client.history(channel, 500).iter().map(|message| text(message, "body")).collect()
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn on_a_disk_that_fills_up_writes_are_refused_all_else_goes_on_and_room_is_all_it_takes() {
    let Some(disk) = Disk::mount(DISK_MIB) else { return };
    let mark = format!("{MARK_MIB}MiB");
    let mut server = Server::on(&disk.data(), &["--free-bytes-min", &mark, "--cache-bytes", "4MiB"]);
    server.start();
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    let message = text(&owner.say(&channel, "said before"), "id");
    let (mut leaving, _) = owner.invite_member("leaving");
    owner.token("to be revoked");
    let revoked = text(&owner.get("/api/tokens").ok(200)["tokens"][0], "id");
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    stream.until("caught_up");

    disk.fill_up((MARK_MIB as u64 + 4) << 20);
    let (said, refusal) = talk_until_refused(&mut owner, &channel);
    refusal.refused_as(503, "disk_full");
    assert!(refusal.header("retry-after").is_some());
    assert!(said.len() > 10, "it was full from the beginning: {}", said.len());
    assert_eq!(readiness(&server), (503, json!(["disk_full"])));
    for (path, body) in [
        ("/api/channels".to_owned(), json!({"name": "another"})),
        ("/api/invite".into(), json!({})),
        ("/api/tokens".into(), json!({"label": "another"})),
    ] {
        owner.post(&path, &body).refused_as(503, "disk_full");
    }
    assert_eq!(stream.take_events(said.len()).len(), said.len());
    assert_eq!(bodies(&mut owner, &channel).len(), said.len() + 1);
    owner.get("/api/boot").ok(200);
    Events::open(&owner, "?resume_point=0", None).until("caught_up");
    // Rights are taken away.
    leaving.post("/api/auth/logout", &json!({})).ok(204);
    leaving.get("/api/auth/me").refused(401);
    owner.delete(&format!("/api/tokens/{revoked}")).ok(204);
    assert_eq!(readiness(&server), (503, json!(["disk_full"])));

    disk.make_room();
    let after = say(&mut owner, &channel, "said after").ok(201);
    assert_eq!(stream.take_events(1)[0]["offset"], after["offset"]);
    assert_eq!(readiness(&server), (200, json!([])));
    owner.delete(&format!("/api/messages/{message}")).ok(200);
    server.stop();
    server.operate("verify", &[]).must_exit(0);
    server.start();
    let there = bodies(&mut owner, &channel);
    assert_eq!(there[..said.len()], said[..]);
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_disk_that_is_really_full_ends_the_server_which_starts_again_when_there_is_room() {
    let Some(disk) = Disk::mount(DISK_MIB) else { return };
    let mut server = Server::on(&disk.data(), &["--free-bytes-min", "0", "--cache-bytes", "4MiB"]);
    server.start();
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    stream.until("caught_up");
    disk.fill_up(6 << 20);
    let (said, refusal) = talk_until_refused(&mut owner, &channel);
    refusal.refused_as(503, "outcome_unknown");
    assert_eq!(stream.goodbye()["reason"], "storage");
    let ended = server.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");

    // There is still no room: what a start says must help.
    disk.fill_up(0);
    match server.try_start() {
        Ok(()) => {
            // It reads, or it ends like any server that cannot write.
            let _ = server.terminate();
        }
        Err(ended) => {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(!ended.stderr.contains("panicked"), "{ended:?}");
            assert!(ended.stderr.contains("space"), "it is not told what to do: {ended:?}");
        }
    }
    disk.make_room();
    server.start();
    let there = bodies(&mut owner, &channel);
    assert!(there.len() - said.len() <= 1, "{} of {}", there.len(), said.len());
    assert_eq!(there[..said.len()], said[..]);
    say(&mut owner, &channel, "said after").ok(201);
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}
