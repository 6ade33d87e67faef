//! `GET /livez` and `/readyz` in every state that the server can be in.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::files;
use crate::support::http::{Conn, Response};
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::until;

fn ask(conn: &mut Conn, path: &str) -> Response {
    conn.write(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    conn.read_response().unwrap()
}

/// A connection to a server that was just spawned.
fn connect(address: SocketAddr) -> Conn {
    until("the server listens", || match Conn::open(address) {
        Ok(conn) => Some(conn),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        Err(error) => panic!("{error}"),
    })
}

/// What stands in the way, by `/readyz` of a server that is there.
fn reasons(server: &Server) -> Value {
    let response = server.client().get("/readyz");
    let ready = response.ok(response.status);
    assert_eq!(response.status == 200, ready["reasons"] == json!([]), "{ready}");
    assert_eq!(ready["status"], if response.status == 200 { "ready" } else { "not_ready" });
    assert_eq!(server.client().get("/livez").ok(200)["status"], "alive");
    // Arvados' clients are told the same in Arvados' words.
    let reasons = ready["reasons"].clone();
    let told = match reasons.as_array().expect("reasons").as_slice() {
        [] => json!({"health": "OK"}),
        some => {
            let words: Vec<&str> = some.iter().filter_map(Value::as_str).collect();
            json!({"health": "ERROR", "error": words.join(", ")})
        }
    };
    assert_eq!(server.client().get("/_health/db").ok(response.status), told);
    reasons
}

#[test]
fn a_server_that_works_is_ready_before_and_after_its_set_up() {
    let server = Server::started(&[]);
    assert_eq!(reasons(&server), json!([]));
    assert_eq!(server.client().get("/readyz").ok(200)["set_up"], false);
    server.owner();
    assert_eq!(reasons(&server), json!([]));
    let ready = server.client().get("/readyz").ok(200);
    assert_eq!(
        ready,
        json!({"status": "ready", "reasons": [], "set_up": true, "writable": true, "head": 2,
        "texts_to_erase": 0})
    );
}

/// The checkpoint is a pipe, so the start waits for a writer just before the replay, for as long as the test wants.
#[test]
fn while_the_log_is_read_the_server_says_so_and_then_goes_on_with_the_same_connection() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    owner.say(&channel, "said before");
    let token = owner.token("reader");
    let address = server.address.get();
    server.keep_address();
    server.stop();
    let checkpoint = server.data().join("views/checkpoint");
    fs::remove_file(&checkpoint).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &checkpoint, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    server.spawn();
    let mut conn = connect(address);
    assert_eq!(ask(&mut conn, "/livez").ok(200)["status"], "alive");
    let ready = ask(&mut conn, "/readyz").ok(503);
    assert_eq!(
        ready,
        json!({"status": "not_ready", "reasons": ["starting"], "replay": {"at": 0, "head": 0}})
    );
    for path in ["/", "/metrics", "/api/boot", "/api/events", "/_health/db", "/nothing"] {
        let response = ask(&mut conn, path);
        response.refused_as(503, "starting");
        assert!(response.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    conn.write(b"POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    conn.read_response().unwrap().refused_as(503, "starting");

    // A request that is under way when the server comes up is answered by what is there when it is complete.
    let mut late = Conn::open(address).unwrap();
    late.write(b"GET /readyz HTTP/1.1\r\nhost: local").unwrap();
    drop(OpenOptions::new().write(true).open(&checkpoint).unwrap());
    until("the server is ready", || {
        let ready = ask(&mut conn, "/readyz");
        if ready.status == 200 {
            return Some(());
        }
        assert_eq!(ready.ok(503)["reasons"], json!(["starting"]));
        None
    });
    late.write(b"host\r\n\r\n").unwrap();
    late.read_response().unwrap().ok(200);
    let path = format!("/api/channels/{channel}/messages");
    conn.write(
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").as_bytes(),
    )
    .unwrap();
    assert_eq!(conn.read_response().unwrap().ok(200)["messages"][0]["body"], "said before");
    server.stop();
}

#[test]
fn a_full_disk_is_told_while_reads_go_on() {
    let (mut server, mut owner) = Server::set_up(&[]);
    server.set_options(&["--free-bytes-min", "1EiB"]);
    server.restart();
    assert_eq!(reasons(&server), json!(["disk_full"]));
    let ready = server.client().get("/readyz").ok(503);
    assert_eq!((&ready["writable"], &ready["head"]), (&json!(false), &json!(2)));
    owner.get("/api/boot").ok(200);
    owner.post("/api/channels", &json!({"name": "general"})).refused_as(503, "disk_full");
}

#[test]
fn a_server_that_is_stopping_tells_who_is_still_connected() {
    let (mut server, _) = Server::set_up(&[]);
    let address = server.address.get();
    let mut conn = Conn::open(address).unwrap();
    conn.write(b"GET /readyz HTTP/1.1\r\nhost: local").unwrap();
    let mut conn_of_arvados = Conn::open(address).unwrap();
    conn_of_arvados.write(b"GET /_health/db HTTP/1.1\r\nhost: local").unwrap();
    // Answers to somebody who came later: by then the server has seen the beginning of the other request.
    let mut other = Conn::open(address).unwrap();
    for _ in 0..20 {
        ask(&mut other, "/livez").ok(200);
    }
    server.signal("TERM");
    // Whoever is refused has come after the stop began.
    while !matches!(Conn::open(address), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
        std::thread::yield_now();
    }
    conn.write(b"host\r\n\r\n").unwrap();
    let ready = conn.read_response().unwrap().ok(503);
    assert_eq!((&ready["status"], &ready["reasons"]), (&json!("not_ready"), &json!(["draining"])));
    conn_of_arvados.write(b"host\r\n\r\n").unwrap();
    let health = conn_of_arvados.read_response().unwrap().ok(503);
    assert_eq!(health, json!({"health": "ERROR", "error": "draining"}));
    assert_eq!(server.end().code, Some(0));
}

/// Fills a server's log, stops it, damages one text and starts it again; gives the offset of the text. Nothing has read it
/// yet, if nothing scrubs.
pub(crate) fn damage_one_of_many(server: &mut Server, owner: &mut Client, channel: &str) -> u64 {
    // Long enough for a file of several segments, of which a start reads the last one; and so unlike each other that
    // their beginnings are stored as they are.
    let mut random = Random::new(0xDA);
    let texts: Vec<String> =
        (0..600).map(|_| format!("{:016x} {}", random.next(), random.words(4_000))).collect();
    let offsets: Vec<u64> =
        texts.iter().map(|text| owner.say(channel, text)["offset"].as_u64().unwrap()).collect();
    server.stop();
    // Some places are read by every start, and damage there is refused by it; the oldest ones are read by expiry.
    let hit = (100..texts.len()).step_by(50).find(|n| {
        let needle = &texts[*n].as_bytes()[..16];
        let file = files::find(&files::current_log(server.data()), needle).expect("the text is in the log");
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[files::position(&whole, needle).unwrap() + 10] ^= 1;
        fs::write(&file, damaged).unwrap();
        let starts = server.try_start().is_ok();
        if !starts {
            fs::write(&file, whole).unwrap();
        }
        starts
    });
    offsets[hit.expect("a place that no start reads")]
}

#[test]
fn damage_that_a_read_has_met_is_told_until_the_end() {
    let (mut server, mut owner) = Server::set_up(&["--scrub-rate", "0"]);
    let channel = owner.create_channel("general");
    let damaged = damage_one_of_many(&mut server, &mut owner, &channel);
    assert_eq!(reasons(&server), json!([]), "nobody has read it yet");
    owner.get(&format!("/api/channels/{channel}/messages?limit=500&after=oldest")).refused(500);
    assert_eq!(reasons(&server), json!(["log_damaged"]));
    let damaged_at = server.client().get("/readyz").ok(503)["damaged_at"].as_u64().unwrap();
    assert!(damaged_at.abs_diff(damaged) < 50, "{damaged_at} is not near {damaged}");
    owner.get("/api/users").ok(200);
    assert_eq!(reasons(&server), json!(["log_damaged"]), "a good read of something else changes nothing");
}

#[test]
fn damage_that_only_the_scrub_has_met_is_told_too() {
    let (mut server, mut owner) = Server::set_up(&["--scrub-rate", "0"]);
    let channel = owner.create_channel("general");
    damage_one_of_many(&mut server, &mut owner, &channel);
    server.kill9();
    server.set_options(&["--scrub-rate", "100000"]);
    server.start();
    let figures = || server.client().get("/metrics").text();
    until("the scrub finds it", || (!figures().contains("scrollback_scrub_damage_total 0\n")).then_some(()));
    assert_eq!(reasons(&server), json!(["log_damaged"]));
    assert!(figures().contains("scrollback_ready 0\n"));
}

#[test]
fn a_failed_write_is_told_before_the_process_ends() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    // A few MiB more than there are.
    server.limit_files(8 << 10);
    server.restart();
    let path = format!("/api/channels/{channel}");
    let mut random = Random::new(0xF5);
    let failed = (0..512).find_map(|_| {
        let answer = owner.post(&path, &json!({"body": random.words(60 << 10)}));
        (answer.status != 201).then_some(answer)
    });
    failed.expect("a file cannot grow for ever").refused_as(503, "outcome_unknown");
    assert_eq!(reasons(&server), json!(["write_failed"]));
    assert_eq!(server.end().code, Some(1));
}
