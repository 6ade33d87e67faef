//! Bad input, byte by byte: whatever comes in, the answer is a refusal that the contract lists or a closed connection,
//! and the server goes on as before.

use std::time::Duration;

use serde_json::json;

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, Request, text};
use crate::support::http::Conn;
use crate::support::random::Random;
use crate::support::server::Server;

/// The ten seconds that the server gives a request's head, and some more.
const HEAD_WAIT: Duration = Duration::from_secs(25);
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Sends bytes and reads to the end of the connection: all the server says, and whether it hung up.
fn converse(client: &Client, bytes: &[u8], wait: Duration) -> (String, bool) {
    let mut conn = Conn::open(client.address.get()).unwrap();
    // The server may hang up before it has read all, which is an answer too.
    let _ = conn.write(bytes);
    let (answer, closed) = conn.read_to_close(wait);
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap_or(0)).collect()
}

fn bearer(owner: &mut Client) -> String {
    let token = owner.token("raw");
    format!("host: {}\r\nauthorization: Bearer {token}\r\n", owner.address.get())
}

#[track_caller]
fn assert_untouched(owner: &mut Client) {
    assert_eq!(owner.get("/api/channels").ok(200)["channels"], json!([]), "something got through");
    assert_eq!(owner.get("/livez").status, 200);
}

#[test]
fn a_head_too_large_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let large = Request::get("/api/channels").header("x-large", &"x".repeat(17 << 10));
    let (answer, closed) =
        converse(&owner, &large.encode(owner.address.clone(), &owner.identity), ANSWER_WAIT);
    assert_eq!(statuses(&answer), [431], "{answer}");
    assert!(closed);
    let many: String = (0..2000).map(|n| format!("x{n}: y\r\n")).collect();
    let (answer, _) =
        converse(&owner, format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes(), ANSWER_WAIT);
    assert_eq!(statuses(&answer), [431], "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(17 << 10));
    let (answer, _) = converse(&owner, long.as_bytes(), ANSWER_WAIT);
    assert!(matches!(statuses(&answer)[..], [414 | 431]), "{answer}");
    let fits = Request::get("/api/channels").header("x-large", &"x".repeat(12 << 10));
    owner.send(&fits).ok(200);
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let (_server, mut owner) = Server::set_up(&[]);
    for start in ["", "GET / HTTP/1.1\r\nhost: x\r\nx: "] {
        let (answer, closed) = converse(&owner, start.as_bytes(), HEAD_WAIT);
        assert!(closed, "still open after {HEAD_WAIT:?}: {start:?}");
        assert!(answer.is_empty() || statuses(&answer) == [408], "{answer}");
    }
    assert_untouched(&mut owner);
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_not_waited_for() {
    let (_server, mut owner) = Server::set_up(&["--body-timeout", "1s"]);
    let head = bearer(&mut owner);
    let bytes = format!(
        "POST /api/channels HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: 30\r\n\r\n{{\"name\""
    );
    let (answer, closed) = converse(&owner, bytes.as_bytes(), ANSWER_WAIT);
    assert!(closed, "still open");
    assert!(answer.is_empty() || statuses(&answer) == [408], "{answer}");
    assert_untouched(&mut owner);
}

#[test]
fn a_request_cut_off_in_the_middle_does_nothing() {
    let (_server, mut owner) = Server::set_up(&[]);
    let whole = Request::post("/api/channels", &json!({"name": "general"}));
    let whole = whole.encode(owner.address.clone(), &owner.identity);
    for cut in (0..whole.len()).step_by(7) {
        Conn::open(owner.address.get()).unwrap().write(&whole[..cut]).unwrap();
    }
    assert_untouched(&mut owner);
}

#[test]
fn what_is_not_http_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    let mut random = Random::new(0xBAD);
    let noise: Vec<u8> = (0..4096).map(|_| random.next() as u8).collect();
    let bad: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx\x00y: z\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n\r\nNONSENSE\r\n\r\n",
        &noise,
    ];
    for bytes in bad {
        let (answer, _) = converse(&owner, bytes, Duration::from_secs(2));
        let statuses = statuses(&answer);
        assert!(statuses.iter().all(|s| (400..500).contains(s) || *s == 505), "{bytes:?}\n--\n{answer}");
        assert!(statuses.len() <= 1, "{answer}");
    }
    assert_untouched(&mut owner);
}

#[test]
fn json_that_is_nested_without_end_is_refused() {
    let (_server, mut owner) = Server::set_up(&[]);
    for (open, close) in [("[", "]"), ("{\"name\":", "}"), ("[{\"a\":", "}]")] {
        let deep = format!("{}1{}", open.repeat(40_000), close.repeat(40_000));
        let request = Request::new("POST", "/api/channels")
            .header("content-type", "application/json")
            .bytes(deep.as_bytes());
        let status = owner.send(&request).status;
        assert!(matches!(status, 400 | 422), "{status}");
    }
    assert_untouched(&mut owner);
}

#[test]
fn two_hosts_or_none_are_refused() {
    let (_server, owner) = Server::set_up(&[]);
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let (answer, _) =
            converse(&owner, format!("GET /api/channels HTTP/1.1\r\n{hosts}\r\n").as_bytes(), ANSWER_WAIT);
        assert_eq!(statuses(&answer), [400], "{hosts:?}: {answer}");
    }
}

#[test]
fn huge_and_negative_numbers_are_refused_or_answered() {
    let (_server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let numbers = [
        "-1",
        "-0",
        "00",
        "1e3",
        "0x10",
        "1.0",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "340282366920938463463374607431768211456",
        "NaN",
        "",
        "%2B1",
    ];
    let long = "9".repeat(10_000);
    for number in numbers.into_iter().chain([long.as_str()]) {
        for path in [
            "/api/boot?messages=",
            "/api/channels?at_least=",
            &format!("/api/channels/{channel}/messages?limit="),
            &format!("/api/channels/{channel}/messages?before="),
            "/api/events/poll?after=",
            "/api/events/poll?after=0&limit=",
            "/api/events/poll?after=999999999&wait=",
        ] {
            let response = owner.get(&format!("{path}{number}"));
            match response.status {
                200 => {}
                400 | 409 => drop(response.refused(response.status)),
                other => panic!("{path}{number:.50}: {other} {}", response.text()),
            }
        }
    }
}

#[test]
fn names_of_a_megabyte_and_texts_that_are_no_text_are_refused() {
    let (server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let token = text(&owner.post("/api/invite", &json!({})).ok(201), "token");
    let mega = "\u{e9}".repeat(512 << 10);
    let half = "e\u{301}".repeat(60_000);
    for (text, expected) in [(&mega, 413), (&half, 400)] {
        owner.post("/api/channels", &json!({"name": text})).refused(expected);
        owner
            .post(&format!("/api/invite/{token}"), &json!({"name": text, "password": PASSWORD}))
            .refused(expected);
        owner
            .post(&format!("/api/invite/{token}"), &json!({"name": "guest", "password": text}))
            .refused(expected);
        owner.post("/api/tokens", &json!({"label": text})).refused(expected);
        let mut nobody = server.client();
        let status = nobody.post("/api/auth/login", &json!({"name": text, "password": PASSWORD})).status;
        assert!(status == expected || status == 401, "{status}");
        let status = nobody.post("/api/auth/login", &json!({"name": "owner", "password": text})).status;
        assert!(status == expected || status == 401, "{status}");
    }
    owner.post(&format!("/api/channels/{channel}"), &json!({"body": mega})).refused(413);
    owner.post(&format!("/api/channels/{channel}"), &json!({"body": half})).refused(413);
    for surrogate in [r#"{"body":"\ud800"}"#, r#"{"body":"\udc00\ud800"}"#] {
        let request = Request::new("POST", &format!("/api/channels/{channel}"));
        let request = request.header("content-type", "application/json").bytes(surrogate.as_bytes());
        owner.send(&request).refused(400);
    }
    assert!(owner.history(&channel, 50).is_empty());
}

#[test]
fn guessed_invitations_are_unknown() {
    let (server, mut owner) = Server::set_up(&[]);
    let invitation = owner.post("/api/invite", &json!({})).ok(201);
    let (id, token) = (text(&invitation, "id"), text(&invitation, "token"));
    let mut nobody = server.client();
    let last = if token.ends_with('A') { "B" } else { "A" };
    let near = format!("{}{last}", &token[..token.len() - 1]);
    let long = "A".repeat(8000);
    for guess in [
        &id,
        &near,
        "A",
        "..",
        "%00",
        "%2e%2e",
        "'%20or%201=1",
        &long,
        &format!("{token}A"),
        &token.to_lowercase(),
    ] {
        if *guess == token {
            continue;
        }
        nobody.get(&format!("/api/invite/{guess}")).refused(404);
        nobody
            .post(&format!("/api/invite/{guess}"), &json!({"name": "guest", "password": PASSWORD}))
            .refused(404);
    }
    nobody.get(&format!("/api/invite/{token}")).ok(200);
    assert_eq!(owner.get("/api/users").ok(200)["users"].as_array().unwrap().len(), 1);
}

#[test]
fn an_identity_that_is_odd_is_no_identity() {
    let (server, _) = Server::set_up(&[]);
    let mut client = server.client();
    for bad in [
        "identity=",
        "identity=x; identity=y",
        "identity",
        "=",
        ";;;;",
        "identity=\u{e9}",
        &"a=b;".repeat(2000),
    ] {
        client.identity = Identity::Cookie(bad.to_owned());
        client.get("/api/auth/me").refused(401);
    }
    for bad in ["Bearer", "bearer ", "Basic b3duZXI6eA==", "Bearer a b", "\u{e9}"] {
        client.identity = Identity::Nobody;
        client.send(&Request::get("/api/auth/me").header("authorization", bad)).refused(401);
    }
}

#[test]
fn the_key_of_somebody_else_shows_nothing() {
    let (_server, mut owner) = Server::set_up(&[]);
    let (mut member, _) = owner.invite_member("member");
    let channel = owner.create_channel("general");
    let path = format!("/api/channels/{channel}");
    owner.send(&Request::post(&path, &json!({"body": "the owner's"})).key("guessable")).ok(201);
    let probe = member.send(&Request::post(&path, &json!({"body": "a guess"})).key("guessable")).ok(201);
    assert_eq!(probe["body"], "a guess");
}
