//! A log that is not the newest of itself: an older copy, an empty one, one of another server, a missing witness.

use std::fs;

use serde_json::json;

use crate::support::files;
use crate::support::server::{Ended, Server};

/// A stopped server with messages, and a copy of its data from before the last of them.
fn with_older_copy() -> (Server, tempfile::TempDir) {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..20 {
        owner.say(&channel, &format!("in both {n}"));
    }
    server.stop();
    let older = tempfile::tempdir().unwrap();
    files::copy(server.data(), older.path());
    server.start();
    for n in 0..20 {
        owner.say(&channel, &format!("only in the newer {n}"));
    }
    server.stop();
    (server, older)
}

/// Asserts that neither the server nor an operator command goes on with this data as if nothing had happened.
#[track_caller]
fn assert_refused(server: &mut Server, words: &[&str]) {
    let refused: [Ended; 2] =
        [server.try_start().expect_err("the server started"), server.operate("verify", &[])];
    for ended in refused {
        ended.must_exit(3);
        let said = format!("{}{}", ended.stdout, ended.stderr).to_lowercase();
        assert!(words.iter().any(|word| said.contains(word)), "what happened is not said: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

fn replace(from: &std::path::Path, to: &std::path::Path) {
    fs::remove_dir_all(to).unwrap();
    files::copy(from, to);
}

#[test]
fn an_older_log_put_back_is_refused() {
    let (mut server, older) = with_older_copy();
    let log = files::current_log(server.data());
    replace(&older.path().join(log.file_name().unwrap()), &log);
    assert_refused(&mut server, &["older", "rolled back", "was durable up to", "lost"]);
}

#[test]
fn an_older_log_is_refused_without_views_to_compare_it_with() {
    let (mut server, older) = with_older_copy();
    let log = files::current_log(server.data());
    replace(&older.path().join(log.file_name().unwrap()), &log);
    fs::remove_dir_all(server.data().join("views")).unwrap();
    assert_refused(&mut server, &["older", "rolled back", "was durable up to", "lost"]);
}

#[test]
fn an_older_log_is_refused_without_a_witness_of_the_newer() {
    let (mut server, older) = with_older_copy();
    let log = files::current_log(server.data());
    replace(&older.path().join(log.file_name().unwrap()), &log);
    let witness = server.data().join("witness");
    if witness.is_dir() {
        fs::remove_dir_all(&witness).unwrap()
    } else {
        fs::remove_file(&witness).unwrap()
    }
    assert_refused(&mut server, &["older", "rolled back", "was durable up to", "lost", "witness"]);
}

#[test]
fn an_empty_log_in_place_of_one_is_refused() {
    let (mut server, _older) = with_older_copy();
    let log = files::current_log(server.data());
    fs::remove_dir_all(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert_refused(&mut server, &["older", "rolled back", "was durable up to", "lost", "empty", "missing"]);
}

#[test]
fn a_log_that_is_gone_is_refused() {
    let (mut server, _older) = with_older_copy();
    fs::remove_dir_all(files::current_log(server.data())).unwrap();
    assert_refused(
        &mut server,
        &["older", "rolled back", "was durable up to", "lost", "missing", "not there", "no such"],
    );
}

#[test]
fn the_log_of_another_server_is_refused() {
    let (mut server, _older) = with_older_copy();
    let (mut other, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..60 {
        owner.say(&channel, &format!("of the other server {n}"));
    }
    other.stop();
    replace(&files::current_log(other.data()), &files::current_log(server.data()));
    assert_refused(&mut server, &["another", "foreign", "chain", "lost"]);
}

#[test]
fn the_whole_of_an_older_copy_is_a_past_that_clients_are_told_of() {
    let (mut server, older) = with_older_copy();
    server.start();
    let mut owner = server.client();
    owner.log_in("owner", crate::support::PASSWORD);
    let token = owner.get("/api/boot").ok(200)["resume_token"].as_str().unwrap().to_owned();
    server.stop();
    // Nothing in the data can show that there ever was more: only those who saw it can.
    let mut old = Server::on(older.path(), &[]);
    old.start();
    let mut owner = old.client();
    owner.log_in("owner", crate::support::PASSWORD);
    let poll = |owner: &mut crate::support::client::Client| {
        owner.get(&format!("/api/events/poll?after={token}&wait=0")).ok(200)["resume"].clone()
    };
    assert_eq!(poll(&mut owner), "ahead");
    let channel = owner.get("/api/channels").ok(200)["channels"][0]["id"].as_str().unwrap().to_owned();
    for n in 0..40 {
        owner.say(&channel, &format!("another future {n}"));
    }
    assert_eq!(poll(&mut owner), json!("other_history"));
}

#[test]
fn lost_views_are_rebuilt_and_the_answers_are_the_same() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    for n in 0..30 {
        let said = owner.say(&channel, &format!("message {n}"));
        if n % 7 == 0 {
            owner.delete(&format!("/api/messages/{}", said["id"].as_str().unwrap())).ok(200);
        }
    }
    let paths = ["/api/boot", "/api/channels", "/api/users", "/api/events/poll?after=0&limit=500"];
    let history = format!("/api/channels/{channel}/messages");
    let mut answers =
        || paths.map(|path| owner.get(path).text()).into_iter().chain([owner.get(&history).text()]);
    let before: Vec<String> = answers().collect();
    server.stop();
    fs::remove_dir_all(server.data().join("views")).unwrap();
    server.start();
    assert_eq!(answers().collect::<Vec<_>>(), before);
    // A rebuilt view is the kept one, byte for byte.
    server.stop();
    let views = |server: &Server| -> Vec<_> {
        let views = server.data().join("views");
        files::all(&views).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };
    let kept = views(&server);
    fs::remove_dir_all(server.data().join("views")).unwrap();
    server.operate("replay", &[]).must_exit(0);
    assert!(views(&server) == kept, "replay gives other bytes");
}
