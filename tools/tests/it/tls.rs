//! The server's own TLS, from the certificate's files to the last byte of a stream.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::support::PASSWORD;
use crate::support::client::{Client, Request};
use crate::support::events::{End, Events};
use crate::support::http::Conn;
use crate::support::paper::Paper;
use crate::support::server::{Address, Server, Way, run, scrollback};

/// A running server inside TLS.
fn started(paper: &Paper, more: &[&str]) -> Server {
    let options = paper.options();
    let options: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Server::started(&options)
}

fn address(server: &Server, paper: &Paper) -> Address {
    server.address.by(Way { trust: Some(paper.trust.clone()), ..Way::default() })
}

/// Whether a client that trusts this certificate alone gets an answer.
fn trusted(server: &Server, paper: &Paper) -> bool {
    Client::new(address(server, paper))
        .try_send(&Request::get("/livez"))
        .is_ok_and(|answer| answer.status == 200)
}

/// Sets the server up.
fn owner(server: &Server, paper: &Paper) -> Client {
    let mut owner = Client::new(address(server, paper));
    let response = owner.post("/api/setup", &json!({"name": "owner", "password": PASSWORD}));
    response.ok(201);
    owner.adopt(&response);
    owner
}

#[test]
fn everything_works_inside_tls_and_the_cookie_stays_there() {
    let paper = Paper::new();
    let mut server = started(&paper, &[]);
    let mut owner = owner(&server, &paper);
    let log_in = owner.post("/api/auth/login", &json!({"name": "owner", "password": PASSWORD}));
    let cookie = log_in.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("__Host-identity=") && cookie.ends_with("; Secure"), "{cookie}");
    let own = format!("https://{}", server.address.get());
    let create = |name: &str, origin: &str| {
        Request::post("/api/channels", &json!({"name": name})).header("origin", origin)
    };
    owner.send(&create("general", &own)).ok(201);
    for foreign in [own.replace("https", "http"), "https://evil.example".into(), "https://127.0.0.1".into()] {
        owner.send(&create("other", &foreign)).refused_as(403, "foreign_origin");
    }
    let channel = owner.create_channel("talk");
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    stream.until("caught_up");
    for n in 0..50 {
        owner.say(&channel, &format!("{n} {}", "x".repeat(20_000)));
        let body = stream.take_events(1).remove(0)["body"].clone();
        assert!(body.as_str().unwrap().starts_with(&format!("{n} ")), "{n}");
    }
    assert_eq!(Events::open(&owner, "", None).caught_up(), owner.poll_all("0"));
    server.stop();
    assert_eq!(stream.goodbye()["reason"], "shutdown");
    assert!(matches!(stream.try_next(Duration::from_secs(1)), Err(End::Closed | End::Broken)));
}

#[test]
fn a_hangup_reads_the_certificate_anew_and_keeps_the_old_one_if_the_new_one_is_bad() {
    let mut paper = Paper::new();
    let mut server = started(&paper, &[]);
    let mut owner = owner(&server, &paper);
    let channel = owner.create_channel("talk");
    let mut stream = Events::open(&owner, "?resume_point=now", None);
    stream.until("caught_up");
    let first = paper.trust.clone();
    let key = fs::read(paper.key()).unwrap();
    fs::write(paper.key(), "no key").unwrap();
    server.signal("HUP");
    fs::write(paper.key(), key).unwrap();
    assert!(trusted(&server, &paper));
    paper.renew();
    server.signal("HUP");
    // The signal is seen at some moment after it was sent; a server that never does ends the test in its own time.
    for _ in 0..2_000 {
        if trusted(&server, &paper) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(trusted(&server, &paper), "the new one is not shown");
    let old = Client::new(server.address.by(Way { trust: Some(first), ..Way::default() }))
        .try_send(&Request::get("/livez"));
    assert!(old.is_err(), "the old one is shown still");
    let said = owner.say(&channel, "still here");
    assert_eq!(stream.take_events(1)[0]["offset"], said["offset"], "the open stream was cut");
    fs::write(paper.certificate(), "no certificate").unwrap();
    server.signal("HUP");
    // A signal that was not handled would have ended the process.
    assert!(trusted(&server, &paper));
    let ended = server.stop();
    assert!(ended.stderr.matches("certificate and key loaded").count() >= 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("valid_until="), "{}", ended.stderr);
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let paper = Paper::new();
    let other = Paper::new();
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key) = (path(paper.certificate()), path(paper.key()));
    for (options, code, why) in [
        (vec!["--tls-cert", &cert], 2, "--tls-key"),
        (vec!["--tls-key", &key], 2, "--tls-cert"),
        (
            vec!["--tls-cert", &cert, "--tls-key", "/nowhere/key.pem"],
            1,
            "cannot read the key /nowhere/key.pem",
        ),
        (vec!["--tls-cert", &key, "--tls-key", &key], 1, "holds no certificate"),
        (vec!["--tls-cert", &cert, "--tls-key", &path(other.key())], 1, "does not belong to the certificate"),
        (
            vec!["--tls-cert", &cert, "--tls-key", &key, "--public-url", "http://chat.example"],
            1,
            "--public-url http://chat.example",
        ),
    ] {
        let mut server = Server::new(&options);
        let ended = server.try_start().expect_err("it should not start");
        ended.must_exit(code);
        assert!(ended.stderr.contains(why), "{options:?}: {}", ended.stderr);
        assert!(!server.data().exists(), "nothing is made before that");
    }
}

#[test]
fn what_is_typed_of_url_and_proxies_is_checked_at_the_start() {
    for (option, value, why) in [
        ("--public-url", "chat.example", "it must begin with a scheme"),
        ("--public-url", "https://chat.example/app", "no path, query or fragment"),
        ("--public-url", "https://ada@chat.example", "no user"),
        ("--public-url", "ftp://chat.example", "http or https"),
        ("--trusted-proxy", "proxy.example", "neither an address"),
        ("--trusted-proxy", "10.0.0.0/33", "neither an address"),
        ("--trusted-proxy", "10.0.0.1/8", "10.0.0.0/8"),
    ] {
        let ended = Server::new(&[option, value]).try_start().expect_err("it should not start");
        ended.must_exit(2);
        assert!(ended.stderr.contains(why) && ended.stderr.contains(option), "{value}: {}", ended.stderr);
    }
}

#[test]
fn plain_http_is_told_to_come_by_https() {
    let paper = Paper::new();
    let server = started(&paper, &[]);
    let to: SocketAddr = server.address.get();
    let mut conn = Conn::open(to).unwrap();
    conn.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let answer = conn.read_response().unwrap();
    answer.refused_as(400, "bad_request");
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

#[test]
fn operator_commands_ask_a_server_inside_tls_that_they_can_trust() {
    let paper = Paper::new();
    let server = started(&paper, &[]);
    let mut owner = owner(&server, &paper);
    owner.create_channel("talk");
    let token = owner.token("operator");
    let export = |url: &str, trusted: &Paper| {
        let mut command = scrollback();
        command.env("SSL_CERT_FILE", trusted.certificate()).env("SCROLLBACK_TOKEN", &token);
        run(command.args(["export", "--server", url]))
    };
    let port = server.address.get().port();
    let ended = export(&format!("https://localhost:{port}"), &paper);
    ended.must_exit(0);
    let lines: Vec<serde_json::Value> = ended.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, owner.poll_all("0"));
    for (url, trusted) in
        [(format!("https://localhost:{port}"), &Paper::new()), (format!("https://127.0.0.1:{port}"), &paper)]
    {
        let ended = export(&url, trusted);
        ended.must_exit(1);
        assert!(ended.stderr.contains("does not prove that it is itself"), "{url}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    export(&format!("ftp://localhost:{port}"), &paper).must_exit(1);
}
