//! The operator's commands: what they print, how they end, and that they keep off data in use.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, number, text};
use crate::support::events::Events;
use crate::support::files;
use crate::support::server::{Ended, Server, run, scrollback, wait};

/// A stopped server with two channels, a member and some messages, one deleted.
fn stopped() -> (Server, Client, String) {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    owner.create_channel("second");
    owner.invite_member("member");
    for n in 0..10 {
        let said = owner.say(&channel, &format!("message {n}"));
        if n == 5 {
            owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
        }
    }
    server.stop();
    (server, owner, channel)
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[test]
fn data_in_use_is_left_alone() {
    let (server, mut owner) = Server::set_up(&[]);
    let file = server.data().with_file_name("empty.jsonl");
    fs::write(&file, "").unwrap();
    let commands: [(&str, &[&str]); 8] = [
        ("replay", &[]),
        ("replay", &["--to", "1"]),
        ("compact", &["--yes"]),
        ("verify", &[]),
        ("import", &[file.to_str().unwrap()]),
        ("expire", &["--before", "2010-01-01", "--yes"]),
        ("user", &["list"]),
        ("export", &[]),
    ];
    for (command, arguments) in commands {
        let ended = server.operate(command, arguments);
        ended.must_exit(4);
        assert!(ended.stderr.contains("use"), "{command}: {}", ended.stderr);
    }
    let mut second = Server::on(server.data(), &[]);
    second.try_start().expect_err("a second server on the same data").must_exit(4);
    owner.get("/api/auth/me").ok(200);
}

#[test]
fn bad_usage_is_told_apart() {
    let server = Server::new(&[]);
    for arguments in [&["--nonsense"][..], &["--before"], &["--before", "yesterday"]] {
        server.operate("expire", arguments).must_exit(2);
    }
    run(scrollback().arg("nonsense")).must_exit(2);
    run(&mut scrollback()).must_exit(2);
    let help = run(scrollback().arg("--help"));
    help.must_exit(0);
    for command in ["serve", "replay", "compact", "verify", "export", "tail", "import", "expire", "user"] {
        assert!(help.stdout.contains(command), "{command}");
        run(scrollback().args([command, "--help"])).must_exit(0);
    }
}

#[test]
fn what_changes_data_wants_a_yes() {
    let (server, ..) = stopped();
    let log = files::current_log(server.data());
    let before = server.operate("export", &[]).must_exit(0).stdout.clone();
    for (command, arguments) in [("compact", &[][..]), ("expire", &["--before", "2100-01-01"])] {
        let refused = server.operate(command, arguments);
        assert!(refused.must_exit(5).stderr.contains("--yes"), "{}", refused.stderr);
        server.operate(command, &[arguments, &["--dry-run"]].concat()).must_exit(0);
        server.operate(command, &[arguments, &["--dry-run", "--yes"]].concat()).must_exit(0);
    }
    assert_eq!(files::current_log(server.data()), log);
    assert_eq!(server.operate("export", &[]).must_exit(0).stdout, before);
    server.operate("expire", &["--before", "2100-01-01", "--channel", "nowhere", "--yes"]).must_exit(1);
    server.operate("expire", &["--before", "2100-01-01", "--yes"]).must_exit(0);
    let after = server.operate("export", &[]);
    assert_eq!(after.must_exit(0).stdout.matches("\"reason\":\"expired\"").count(), 9);
}

#[test]
fn verify_and_replay_find_good_data_good() {
    let (mut server, mut owner, channel) = stopped();
    let verified = server.operate("verify", &["--json"]);
    let report: Value = verified.must_exit(0).stdout.trim().parse().unwrap();
    assert_eq!(report["damage"], json!([]));
    assert_eq!(report["head"], report["records"]);
    let digest = |server: &Server| -> Value {
        server.operate("replay", &["--json"]).must_exit(0).stdout.trim().parse::<Value>().unwrap()["digest"]
            .clone()
    };
    let first = digest(&server);
    assert!(first.as_str().is_some_and(|digest| digest.len() >= 32), "{first}");
    assert_eq!(digest(&server), first);
    server.start();
    assert_eq!(owner.history(&channel, 50).len(), 9);
    server.stop();
    assert_eq!(digest(&server), first, "reading changes nothing");
}

#[test]
fn replay_shows_the_state_as_it_was() {
    let (mut server, mut owner, channel) = stopped();
    server.start();
    let events = owner.poll_all("0");
    server.stop();
    let created = events.iter().find(|e| e["type"] == "channel" && e["id"] == channel.as_str()).unwrap();
    let before = number(created, "offset") - 1;
    let state = |to: u64| server.operate("replay", &["--to", &to.to_string(), "--json"]);
    let at = |to: u64| -> String { state(to).must_exit(0).stdout.clone() };
    assert!(!at(before).contains(&channel) && at(before + 1).contains(&channel));
    let head = number(events.last().unwrap(), "offset");
    assert!(at(head).contains("general") && at(head).contains("second"));
    let beyond = state(head + 100);
    assert!(matches!(beyond.code, Some(1 | 2)), "{beyond:?}");
}

#[test]
fn export_prints_what_the_stream_shows() {
    let (mut server, mut owner, _) = stopped();
    server.start();
    let events = owner.poll_all("0");
    let token = owner.token("exporter");
    assert_eq!(lines(server.ask(&token, "export", &[]).must_exit(0)), events);
    server.stop();
    let exported = server.operate("export", &[]);
    assert_eq!(lines(exported.must_exit(0)), events);
    let third = number(&events[2], "offset").to_string();
    assert_eq!(lines(server.operate("export", &["--after", &third]).must_exit(0)), events[3..]);
    let tail = |arguments: &[&str]| lines(server.operate("tail", arguments).must_exit(0));
    assert_eq!(tail(&["-n", "2"]), events[events.len() - 2..]);
    assert_eq!(tail(&["-n", "100000"]), events);
    assert_eq!(tail(&["-n", "1", "--after", &third]), events[events.len() - 1..]);
    assert!(tail(&["--after", "1000000"]).is_empty());
}

#[test]
fn an_export_from_a_server_needs_a_token_that_is_good() {
    let (mut server, ..) = stopped();
    server.start();
    server.ask("nonsense", "export", &[]).must_exit(1);
    let url = format!("http://{}", server.address.get());
    run(scrollback().args(["export", "--server", &url])).must_exit(1);
    run(scrollback().env("SCROLLBACK_TOKEN", "x").args(["export", "--server", "ftp://x"])).must_exit(1);
}

#[test]
fn tail_follows_a_server_over_a_restart() {
    let (mut server, mut owner, channel) = stopped();
    server.start();
    server.keep_address();
    let token = owner.token("tail");
    let now = text(&owner.get("/api/boot").ok(200), "resume_token");
    let url = format!("http://{}", server.address.get());
    let mut child = scrollback()
        .env("SCROLLBACK_TOKEN", &token)
        .args(["tail", "--server", &url, "--after", &now])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut next = || -> Value {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        line.trim().parse().expect("a JSON line")
    };
    let first = owner.say(&channel, "before the kill");
    assert_eq!(next()["offset"], first["offset"]);
    server.kill9();
    server.start();
    let second = owner.say(&channel, "after the kill");
    assert_eq!(next()["offset"], second["offset"]);
    child.kill().unwrap();
    wait(&mut child);
}

#[test]
fn tail_begins_with_the_last_that_a_filter_chooses_or_with_what_came_since() {
    let (mut server, mut owner, channel) = stopped();
    server.start();
    let token = owner.token("tail");
    let (last, other) = (owner.say(&channel, "last"), owner.create_channel("other"));
    let next = owner.say(&other, "next");
    let url = format!("http://{}", server.address.get());
    let here = format!(r#"[["channel","=","{channel}"],["event","=","sent"]]"#);
    let there = format!(r#"[["channel","=","{other}"],["event","=","sent"]]"#);
    let at = text(&last, "at");
    let first = |arguments: &[&str]| -> Value {
        let mut child = scrollback()
            .env("SCROLLBACK_TOKEN", &token)
            .args(["tail", "--server", &url])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        child.kill().unwrap();
        wait(&mut child);
        line.trim().parse().expect("a JSON line")
    };
    assert_eq!(first(&["--last", "1"])["offset"], next["offset"]);
    assert_eq!(first(&["--last", "1", "--filter", &here])["offset"], last["offset"]);
    assert_eq!(first(&["--last", "2", "--filter", &here, "--filter", &there])["offset"], last["offset"]);
    assert_eq!(first(&["--since", &at])["offset"], last["offset"]);
    for wrong in [&["--last", "0"][..], &["--filter", "x"], &["--last", "1", "--since", &at]] {
        let refused = server.ask(&token, "tail", wrong);
        assert!(refused.code.is_some_and(|code| code != 0), "{wrong:?}");
    }
    // What only the server knows is said in its words.
    for (wrong, why) in [
        (["--filter", r#"[["nonsense","=",1]]"#], "condition 1 of filter 1"),
        (["--after", "1000000"], "cannot go on after 1000000"),
        (["--after", "2-00000001"], "has another history"),
    ] {
        let refused = server.ask(&token, "tail", &wrong);
        assert!(refused.must_exit(1).stderr.contains(why), "{refused:?}");
    }
    assert!(server.ask("nonsense", "tail", &[]).must_exit(1).stderr.contains("make a new one"));
}

#[test]
fn an_operator_keeps_the_users() {
    let (mut server, mut owner, _) = stopped();
    let user = |arguments: &[&str], password: Option<&str>| -> Ended {
        let mut command = scrollback();
        command.arg("user").args(arguments).arg("--data").arg(server.data());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(password) = password {
            writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        }
        let out = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) }
    };
    user(&["add", "New user", "--role", "moderator"], Some(PASSWORD)).must_exit(0);
    user(&["add", "NEW USER"], Some(PASSWORD)).must_exit(1);
    user(&["add", "other"], Some("short")).must_exit(1);
    user(&["passwd", "owner"], Some("an entirely new password")).must_exit(0);
    user(&["role", "member", "moderator"], None).must_exit(0);
    user(&["role", "nobody", "moderator"], None).must_exit(1);
    user(&["role", "owner", "member"], None).must_exit(1);
    user(&["disable", "member"], None).must_exit(0);
    let listed = user(&["list", "--json"], None);
    let users: Value = listed.must_exit(0).stdout.trim().parse().unwrap();
    let shown =
        |name: &str| users["users"].as_array().unwrap().iter().find(|u| u["name"] == name).unwrap().clone();
    assert_eq!(shown("New user")["role"], "moderator");
    assert_eq!((&shown("member")["role"], &shown("member")["active"]), (&json!("moderator"), &json!(false)));
    assert!(!listed.stdout.contains("argon2"), "a password hash in the list");

    server.start();
    owner.get("/api/auth/me").refused(401);
    server.client().post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD})).refused(401);
    server.client().log_in("owner", "an entirely new password");
    server.client().log_in("new user", PASSWORD);
    server.client().post("/api/auth/login", &json!({"name": "member", "password": PASSWORD})).refused(401);
}

#[test]
fn the_data_is_for_its_owner_only() {
    let mut server = Server::new(&[]);
    // Whatever the umask of whoever starts it.
    fs::create_dir_all(server.data().parent().unwrap()).unwrap();
    server.start();
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    owner.say(&channel, "hello");
    server.stop();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(server.data()), 0o700);
    for file in files::all(server.data()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700, "{}", file.display());
    }
}

#[test]
fn no_secret_is_in_the_log_or_in_what_is_printed() {
    let (mut server, mut owner) = Server::set_up(&["--log", "trace"]);
    let token = owner.token("robot");
    let invitation = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
    let channel = owner.create_channel("general");
    owner.say(&channel, "a text that is nobody's business");
    owner.post("/api/auth/login", &json!({"name": "owner", "password": "a wrong passphrase"})).refused(401);
    drop(Events::open(&owner, "", None).caught_up());
    let ended = server.stop();
    let crate::support::client::Identity::Cookie(cookie) = &owner.identity else { panic!("a cookie") };
    let cookie = cookie.split('=').nth(1).unwrap();
    let secrets = [PASSWORD, "a wrong passphrase", &token, &invitation, cookie];
    for secret in secrets {
        assert_eq!(files::find(server.data(), secret.as_bytes()), None, "{secret} on the disk");
    }
    for word in secrets.into_iter().chain(["nobody's business"]) {
        assert!(!ended.stderr.contains(word) && !ended.stdout.contains(word), "{word} was printed");
    }
}
