//! Settings: by flag, environment and file, what holds when they differ, and the file in the documentation.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::server::{Ended, Server, run, scrollback};

/// The settings file that the documentation shows.
const DOCUMENTED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scrollback.toml"));

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scrollback.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn setting(shown: &Ended, name: &str) -> Value {
    let shown: Value = shown.must_exit(0).stdout.trim().parse().unwrap();
    let settings = shown["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["name"] == name).expect("a setting").clone()
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let (_dir, path) =
        file("heartbeat = \"1s\"\nwrite-timeout = \"1s\"\nbody-timeout = \"1s\"\nlog = \"warn\"\n");
    let path = path.to_str().unwrap();
    let shown = run(scrollback()
        .args(["config", "show", "--json", "--heartbeat", "3s"])
        .env("SCROLLBACK_CONFIG", path)
        .env("SCROLLBACK_HEARTBEAT", "2s")
        .env("SCROLLBACK_WRITE_TIMEOUT", "2s"));
    let is = |name: &str, value: Value, source: Value| {
        assert_eq!(setting(&shown, name), json!({"name": name, "value": value, "source": source}));
    };
    is("heartbeat", json!("3s"), json!({"from": "flag"}));
    is("write-timeout", json!("2s"), json!({"from": "environment", "variable": "SCROLLBACK_WRITE_TIMEOUT"}));
    is("body-timeout", json!("1s"), json!({"from": "file", "file": path, "line": 3}));
    is("log", json!("warn"), json!({"from": "file", "file": path, "line": 4}));
    is("session-idle", json!("7d"), json!({"from": "default"}));
    is("public-url", json!(null), json!({"from": "default"}));
    is("trusted-proxy", json!([]), json!({"from": "default"}));
}

#[test]
fn a_server_runs_under_its_file() {
    let (_dir, path) = file("trusted-proxy = [\"127.0.0.1\"]\nbody-bytes-max = 100\nlog-format = 'json'\n");
    let (mut server, mut owner) = Server::set_up(&["--config", path.to_str().unwrap()]);
    let long = json!({"name": "x".repeat(200)});
    owner.post("/api/channels", &long).refused_as(413, "body_too_large");
    let named = crate::support::client::Request::get("/livez").header("x-request-id", "edge");
    assert_eq!(owner.send(&named).header("x-request-id"), Some("edge"));
    for line in server.stop().stderr.lines() {
        serde_json::from_str::<Value>(line).expect("a line of JSON");
    }
}

#[test]
fn a_file_that_is_not_understood_stops_every_command() {
    let (_dir, path) = file("# settings\nlistn = '127.0.0.1:0'\n");
    let path = path.to_str().unwrap();
    let said = format!("{path}, line 2: there is no setting \"listn\"; did you mean `listen`?");
    for command in [&["serve"][..], &["verify"], &["config", "show"]] {
        let ended = run(scrollback().args(command).args(["--config", path]));
        assert!(ended.must_exit(2).stderr.contains(&said), "{}", ended.stderr);
    }
    let ended = run(scrollback().args(["verify", "--json", "--config", path]));
    let told: Value = ended.must_exit(2).stderr.trim().parse().unwrap();
    assert_eq!(told, json!({"error": said, "exit": 2}));
    run(scrollback().args(["verify", "--config", "/nowhere/at/all"])).must_exit(2);
}

#[test]
fn no_file_is_read_that_was_not_named() {
    let (dir, _) = file("listn = 1");
    let ended = run(scrollback().args(["config", "show"]).current_dir(dir.path()));
    ended.must_exit(0);
}

#[test]
fn the_documented_file_is_what_the_program_prints() {
    let printed = run(scrollback().args(["config", "show", "--toml"]));
    assert_eq!(
        printed.must_exit(0).stdout,
        DOCUMENTED,
        "docs/scrollback.toml is made by `scrollback config show --toml > docs/scrollback.toml`"
    );
}

#[test]
fn the_documented_file_changes_nothing_as_it_is_and_every_line_of_it_can_be_used() {
    let (_dir, path) = file(DOCUMENTED);
    let show =
        |path: &PathBuf| run(scrollback().args(["config", "show", "--json"]).arg("--config").arg(path));
    assert_eq!(show(&path).stdout, run(scrollback().args(["config", "show", "--json"])).stdout);
    let used: Vec<String> = DOCUMENTED
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|letter: char| letter.is_ascii_lowercase()) => {
                setting.into()
            }
            _ => line.to_owned(),
        })
        .collect();
    let (_dir, path) = file(&used.join("\n"));
    let shown = show(&path);
    let all: Value = shown.must_exit(0).stdout.trim().parse().unwrap();
    for setting in all["settings"].as_array().unwrap() {
        assert_eq!(setting["source"]["from"], "file", "{setting}");
    }
}

#[test]
fn what_is_printed_as_a_file_can_be_read_as_one() {
    let typed = [
        "--listen",
        "127.0.0.1:7",
        "--trusted-proxy",
        "10.0.0.1,::1",
        "--message-expiry",
        "off",
        "--public-url",
        "https://a.example",
        "--tls-cert",
        "a \"quoted\\ path",
    ];
    let printed = run(scrollback().args(["config", "show", "--toml"]).args(typed));
    let (_dir, path) = file(&printed.must_exit(0).stdout);
    let read = run(scrollback().args(["config", "show", "--json", "--config"]).arg(&path));
    let typed = run(scrollback().args(["config", "show", "--json"]).args(typed));
    for name in ["listen", "trusted-proxy", "message-expiry", "public-url", "tls-cert", "threads"] {
        assert_eq!(setting(&read, name)["value"], setting(&typed, name)["value"], "{name}");
    }
}

#[test]
fn health_asks_where_the_server_listens_and_exits_with_what_it_hears() {
    let mut server = Server::started(&[]);
    let address = server.address.get();
    let any = format!("0.0.0.0:{}", address.port());
    let (_dir, path) = file(&format!("listen = \"{any}\"\n"));
    let by_file = ["health", "--config", path.to_str().unwrap()];
    for typed in [&["health", "--listen", &address.to_string()][..], &["health", "--listen", &any], &by_file]
    {
        assert_eq!(run(scrollback().args(typed)).must_exit(0).stdout, "ready, head 1\n");
    }
    let told = run(scrollback().args(by_file).arg("--json"));
    let told: Value = told.must_exit(0).stdout.trim().parse().unwrap();
    assert_eq!((&told["status"], &told["head"]), (&json!("ready"), &json!(1)));
    server.stop();
    let gone = run(scrollback().args(by_file));
    assert!(gone.must_exit(1).stderr.contains("does not answer"), "{}", gone.stderr);

    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        for answer in
            ["HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP/1.1 503 Busy\r\n\r\n{\"status\":\"stopping\"}", "SSH-2.0"]
        {
            let (mut socket, _) = other.accept().unwrap();
            // The question is read first: closing with it unread would reset the connection.
            std::io::Read::read(&mut socket, &mut [0; 1024]).unwrap();
            std::io::Write::write_all(&mut socket, answer.as_bytes()).unwrap();
        }
    });
    for said in ["is no Scrollback server", "is not ready: stopping (503)", "no end of its head"] {
        let told = run(scrollback().args(["health", "--listen", &address]));
        assert!(told.must_exit(1).stderr.contains(said), "{}", told.stderr);
    }
    answers.join().unwrap();
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(scrollback().args(["completions", shell]));
        for word in ["doctor", "message-expiry", "disable"] {
            assert!(ended.must_exit(0).stdout.contains(word), "{shell}: {word}");
        }
    }
    run(scrollback().args(["completions", "nonsense"])).must_exit(2);
    let main = run(scrollback().arg("man"));
    assert!(main.must_exit(0).stdout.starts_with(".ie"));
    let dir = tempfile::tempdir().unwrap();
    run(scrollback().arg("man").arg(dir.path())).must_exit(0);
    for page in ["scrollback.1", "scrollback-serve.1", "scrollback-user-add.1", "scrollback-config-show.1"] {
        assert!(fs::read_to_string(dir.path().join(page)).unwrap().contains(".SH"), "{page}");
    }
}
