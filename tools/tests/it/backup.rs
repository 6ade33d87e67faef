//! Backup and restore as an operator uses them: from a running server, cut and gone on with, restored beside clients that
//! remember.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::client::{Client, Identity, Request, number, text};
use crate::support::events::offset_of;
use crate::support::files;
use crate::support::http::Conn;
use crate::support::random::Random;
use crate::support::server::{Ended, Server, run, scrollback};

/// A server, its owner with an API token, and a channel.
struct Chat {
    server: Server,
    owner: Client,
    token: String,
    channel: String,
}

impl Chat {
    fn new() -> Chat {
        let (server, mut owner) = Server::set_up(&[]);
        let token = owner.token("backups");
        let channel = owner.create_channel("general");
        Chat { server, owner, token, channel }
    }

    fn say(&mut self, body: &str) -> Value {
        self.owner.say(&self.channel, body)
    }

    fn delete(&mut self, message: &Value) {
        self.owner.delete(&format!("/api/messages/{}", text(message, "id"))).ok(200);
    }

    fn backup(&self, name: &str) -> PathBuf {
        let file = self.server.data().with_file_name(name);
        self.server.ask(&self.token, "backup", &[file.to_str().unwrap()]).must_exit(0);
        file
    }

    /// Everything anybody can see, by an owner who logs in anew.
    fn bodies(&mut self) -> Vec<String> {
        self.owner = self.server.client();
        self.owner.log_in("owner", crate::support::PASSWORD);
        self.owner.history(&self.channel, 500).iter().map(|message| text(message, "body")).collect()
    }

    fn resume(&mut self, token: &str) -> Value {
        self.owner.get(&format!("/api/events/poll?after={token}&wait=0")).ok(200)["resume"].clone()
    }

    fn token_of_now(&mut self) -> String {
        text(&self.owner.get("/api/boot").ok(200), "resume_token")
    }
}

fn restore(data: &Path, arguments: &[&str]) -> Ended {
    run(scrollback().arg("restore").arg("--data").arg(data).args(arguments))
}

#[test]
fn clients_with_an_intact_past_go_on_after_a_restore_and_the_others_are_told() {
    let mut chat = Chat::new();
    for n in 0..10 {
        chat.say(&format!("before {n}"));
    }
    let gone = chat.say("deleted before the backup");
    chat.delete(&gone);
    let intact = chat.token_of_now();
    let file = chat.backup("one.backup");
    let gone = chat.say("said and deleted after the backup");
    chat.delete(&gone);
    let first = text(&chat.owner.history(&chat.channel, 500)[0], "id");
    chat.owner.delete(&format!("/api/messages/{first}")).ok(200);
    chat.say("lost");
    let broken = chat.token_of_now();
    chat.server.stop();

    restore(chat.server.data(), &[file.to_str().unwrap()]).must_exit(5);
    let ended = restore(chat.server.data(), &[file.to_str().unwrap(), "--yes", "--json"]);
    let told: Value = serde_json::from_str(&ended.must_exit(0).stdout).unwrap();
    assert_eq!(told["carried"]["messages"], 1);
    assert_eq!(told["replaced"]["lost"]["messages"], 2);

    chat.server.start();
    let expected: Vec<String> = (1..10).map(|n| format!("before {n}")).collect();
    assert_eq!(chat.bodies(), expected, "neither deletion comes back");
    assert_eq!(chat.resume(&intact), "ok");
    assert_eq!(chat.resume(&broken), "other_history", "while the log is shorter than it was");
    // The one whose past is intact learns of the deletion that was carried over.
    let missed = chat.owner.poll_all(&intact);
    let kinds: Vec<_> = missed.iter().map(|event| (text(event, "type"), text(event, "event"))).collect();
    assert_eq!(kinds, [("message".to_owned(), "deleted".to_owned())]);
    while offset_of(&chat.token_of_now()) <= offset_of(&broken) {
        chat.say("after");
    }
    assert_eq!(chat.resume(&broken), "other_history", "when the log is longer again");
    chat.server.stop();
    chat.server.operate("verify", &[]).must_exit(0);
}

#[test]
fn a_restore_ends_every_session_and_api_token() {
    let mut chat = Chat::new();
    chat.say("something");
    let file = chat.backup("one.backup");
    chat.server.stop();
    restore(chat.server.data(), &[file.to_str().unwrap(), "--yes"]).must_exit(0);
    chat.server.start();
    chat.owner.get("/api/auth/me").refused_as(401, "unauthenticated");
    chat.server.client().with_token(&chat.token).get("/api/auth/me").refused_as(401, "unauthenticated");
    assert_eq!(chat.bodies(), ["something"], "the password is good");
}

#[test]
fn only_an_owner_takes_a_backup_and_only_one_at_a_time() {
    let mut chat = Chat::new();
    let (mut member, _) = chat.owner.invite_member("member");
    member.get("/api/admin/backup").refused_as(403, "forbidden");
    chat.server.client().get("/api/admin/backup").refused_as(401, "unauthenticated");
    chat.owner.get("/api/admin/backup?after=x").refused_as(400, "bad_resume_point");
    chat.owner.get("/api/admin/backup?after=5000").refused_as(409, "ahead");
    chat.owner.get("/api/admin/backup?after=2-00000001").refused_as(409, "other_history");

    let _slow = big_and_half_read(&mut chat);
    let file = chat.server.data().with_file_name("refused.backup");
    let refused = chat.server.ask("0".repeat(64).as_str(), "backup", &[file.to_str().unwrap()]);
    assert!(refused.must_exit(1).stderr.contains("does not know the token"), "{refused:?}");
    assert!(!file.with_file_name("refused.backup.part").exists());
    let busy = chat.owner.get("/api/admin/backup");
    busy.refused_as(503, "busy");
    assert!(busy.header("retry-after").is_some());
}

/// Opens a backup that does not fit the sockets' buffers, and reads its beginning.
fn big_and_half_read(chat: &mut Chat) -> (Conn, Vec<u8>) {
    let mut random = Random::new(7);
    for _ in 0..300 {
        let body: String = (0..60_000).map(|_| char::from(b'!' + (random.below(90)) as u8)).collect();
        chat.say(&body);
    }
    let mut connection = Conn::open(chat.server.address.get()).unwrap();
    let request =
        Request::get("/api/admin/backup").header("authorization", &format!("Bearer {}", chat.token));
    connection.write(&request.encode(chat.server.address.clone(), &Identity::Nobody)).unwrap();
    assert_eq!(connection.read_head().unwrap().status, 200);
    let first = connection.read_chunk().unwrap().unwrap();
    (connection, first)
}

#[test]
fn a_backup_that_a_killed_server_cut_goes_on_where_it_stopped() {
    let mut chat = Chat::new();
    chat.say("the first");
    let (connection, first) = big_and_half_read(&mut chat);
    chat.server.keep_address();
    chat.server.kill9();
    drop(connection);
    let file = chat.server.data().with_file_name("cut.backup");
    let part = file.with_file_name("cut.backup.part");
    // As much as came, and not at a frame's end.
    fs::write(&part, &first[..first.len() - 1]).unwrap();
    chat.server.start();
    let ended = chat.server.ask(&chat.token, "backup", &[file.to_str().unwrap()]);
    ended.must_exit(0);
    assert!(!part.exists());
    assert!(fs::read(&file).unwrap().starts_with(&first[..1000]), "what had come was kept");
    let fresh = chat.backup("fresh.backup");
    assert!(fs::metadata(&fresh).unwrap().len().abs_diff(fs::metadata(&file).unwrap().len()) < 200_000);
    chat.server.stop();
    restore(chat.server.data(), &[file.to_str().unwrap(), "--yes"]).must_exit(0);
    chat.server.start();
    let bodies = chat.bodies();
    assert_eq!((bodies.len(), bodies[0].as_str()), (301, "the first"));
}

#[test]
fn a_backup_of_a_stopped_server_is_that_of_the_running_one() {
    let mut chat = Chat::new();
    for n in 0..30 {
        chat.say(&format!("message {n}"));
    }
    let running = chat.backup("running.backup");
    chat.server.stop();
    let file = chat.server.data().with_file_name("stopped.backup");
    chat.server.operate("backup", &[file.to_str().unwrap()]).must_exit(0);
    let again = chat.server.operate("backup", &[file.to_str().unwrap()]);
    assert!(again.must_exit(1).stderr.contains("is there already"), "{again:?}");
    let piped = chat.server.operate("backup", &["-"]);
    piped.must_exit(0);
    // They differ in when they were made.
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    assert_eq!(length(&running), length(&file));

    let space = tempfile::tempdir().unwrap();
    let other = space.path().join("other");
    let ended = restore(&other, &[file.to_str().unwrap(), "--yes"]);
    assert!(ended.must_exit(0).stdout.contains("30 live messages"), "{ended:?}");
    chat.server = Server::on(&other, &[]);
    chat.server.start();
    assert_eq!(chat.bodies().len(), 30);
}

#[test]
fn what_was_deleted_is_in_no_byte_of_a_later_backup() {
    let mut chat = Chat::new();
    let secret = chat.say("a secret that must not be found 0451");
    chat.delete(&secret);
    let file = chat.backup("one.backup");
    let bytes = fs::read(file).unwrap();
    assert_eq!(files::position(&bytes, b"that must not be found 0451"), None);
}

#[test]
fn what_is_no_backup_or_a_damaged_one_changes_nothing() {
    let mut chat = Chat::new();
    chat.say("still here");
    let file = chat.backup("one.backup");
    chat.server.stop();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let cases: [(&str, &[u8], i32, &str); 3] = [
        ("flipped", &bytes, 3, "damaged at byte"),
        ("cut", &bytes[..middle / 2], 3, ""),
        ("other", b"{\"channel\":\"a\"}", 1, "not a backup"),
    ];
    for (name, bytes, code, said) in cases {
        let path = file.with_file_name(name);
        fs::write(&path, bytes).unwrap();
        let ended = restore(chat.server.data(), &[path.to_str().unwrap(), "--yes"]);
        assert!(ended.must_exit(code).stderr.contains(said), "{name}: {ended:?}");
    }
    restore(chat.server.data(), &["/nowhere/at/all", "--yes"]).must_exit(1);
    restore(chat.server.data(), &["--yes"]).must_exit(2);
    restore(chat.server.data(), &[file.to_str().unwrap(), "--accept-current", "--yes"]).must_exit(2);
    chat.server.start();
    assert_eq!(chat.bodies(), ["still here"]);
    let running = restore(chat.server.data(), &[file.to_str().unwrap(), "--yes"]);
    running.must_exit(4);
}

#[test]
fn a_log_that_was_put_back_is_gone_on_with_when_the_operator_says_so() {
    let mut chat = Chat::new();
    chat.say("in both");
    let intact = chat.token_of_now();
    chat.server.stop();
    let older = tempfile::tempdir().unwrap();
    files::copy(chat.server.data(), older.path());
    chat.server.start();
    chat.say("only in the newer one");
    let broken = chat.token_of_now();
    chat.server.stop();
    let log = files::current_log(chat.server.data());
    fs::remove_dir_all(&log).unwrap();
    files::copy(&older.path().join(log.file_name().unwrap()), &log);
    assert!(chat.server.try_start().is_err());

    restore(chat.server.data(), &["--accept-current"]).must_exit(5);
    let ended = restore(chat.server.data(), &["--accept-current", "--yes"]);
    assert!(ended.must_exit(0).stdout.contains("are lost"), "{ended:?}");
    chat.server.start();
    assert_eq!(chat.bodies(), ["in both"]);
    assert_eq!(chat.resume(&intact), "ok");
    assert_eq!(chat.resume(&broken), "other_history");
    let boot = chat.owner.get("/api/boot").ok(200);
    assert_eq!(
        number(&boot, "resume_point"),
        offset_of(&intact) + 2,
        "its new origin and a note are records"
    );
    assert_eq!(boot["messages"][0]["body"], json!("in both"));
}
