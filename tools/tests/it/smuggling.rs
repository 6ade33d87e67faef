//! Requests that two readers may part in two ways: each is refused, or handled as exactly one request, whether it comes
//! straight or through a proxy. What hides behind every one of them is a request that would make a channel; where there
//! is a proxy, that proxy lets nobody make one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PASSWORD;
use crate::support::client::{Client, Identity, Request};
use crate::support::http::Conn;
use crate::support::proxy::{Kind, Proxy, Rule};
use crate::support::server::{Address, Server};

/// How long a connection that is not closed is listened to for one more answer.
const ANSWER_WAIT: Duration = Duration::from_millis(400);

/// What somebody who has an account sends.
struct Smuggler {
    /// The fields that every request has, each with its line's end.
    fields: String,
    /// The request that must not get through.
    inner: String,
}

impl Smuggler {
    fn new(token: &str) -> Smuggler {
        let fields = format!(
            "host: chat.example\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        );
        let body = r#"{"name":"smuggled"}"#;
        let inner =
            format!("POST /api/channels HTTP/1.1\r\n{fields}content-length: {}\r\n\r\n{body}", body.len());
        Smuggler { fields, inner }
    }

    /// A request with these lines beside the usual ones, and what comes behind its head.
    fn post(&self, lines: &str, behind: &str) -> Vec<u8> {
        format!("POST /api/channels/C0 HTTP/1.1\r\n{}{lines}\r\n{behind}", self.fields).into_bytes()
    }

    /// A request with this line first, these lines beside the usual ones, and what comes behind its head.
    fn begin(&self, first: &str, lines: &str, behind: &str) -> Vec<u8> {
        format!("{first}{}{lines}\r\n{behind}", self.fields).into_bytes()
    }

    /// All of them, each with its name.
    fn table(&self) -> Vec<(String, Vec<u8>)> {
        let mut table = Vec::new();
        self.two_ends(&mut table);
        self.odd_lengths(&mut table);
        self.odd_encodings(&mut table);
        self.odd_chunks(&mut table);
        self.odd_lines(&mut table);
        self.odd_targets(&mut table);
        table
    }

    /// Whether the request of this name says in two ways where it ends.
    fn has_two_ends(&self, name: &str) -> bool {
        let known = |encoding: &&str| !UNKNOWN.contains(encoding) && name.contains(&format!("{encoding:?}"));
        (name.starts_with("CL.TE") || name.starts_with("TE.CL")) && ENCODINGS.iter().any(known)
    }

    /// Whether a line of its head ends with a line feed alone.
    fn has_a_bare_line_feed(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        let head = text.split("\r\n\r\n").next().unwrap_or("");
        head.replace("\r\n", "").contains('\n')
    }

    /// A length and an encoding: CL.TE, where the front goes by the length, and TE.CL, where it goes by the encoding.
    fn two_ends(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let inner = &self.inner;
        let ends_early = format!("0\r\n\r\n{inner}");
        let one_chunk = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
        let first_line = one_chunk.find('\n').expect("a chunk's first line") + 1;
        for encoding in ENCODINGS {
            for (order, of) in [("CL.TE", ends_early.len()), ("TE.CL", first_line)] {
                let behind = if order == "CL.TE" { &ends_early } else { &one_chunk };
                let length = format!("content-length: {of}\r\n");
                // To who does not know such a field at all the rest of TE.CL is a second request, and no smuggled one.
                if order == "CL.TE" || !UNKNOWN.contains(encoding) {
                    table.push((
                        format!("{order} {encoding:?}"),
                        self.post(&format!("{length}{encoding}\r\n"), behind),
                    ));
                    table.push((
                        format!("{order} {encoding:?} first"),
                        self.post(&format!("{encoding}\r\n{length}"), behind),
                    ));
                }
            }
        }
    }

    fn odd_lengths(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let inner = &self.inner;
        let whole = inner.len();
        for length in [
            "+0",
            "-0",
            "-1",
            "0x0",
            "0,0",
            "0, 5",
            "0;x",
            "0 0",
            "0\t5",
            "0\0",
            "0\x0b5",
            "\"0\"",
            "0.0",
            "0e0",
            "zero",
            "",
            "\u{660}",
            "18446744073709551616",
            "99999999999999999999999999999999",
            "0_0",
        ] {
            table.push((
                format!("length {length:?}"),
                self.post(&format!("content-length: {length}\r\n"), inner),
            ));
        }
        for (first, second) in [(0, whole), (whole, 0), (whole, whole - 1)] {
            let lines = format!("content-length: {first}\r\ncontent-length: {second}\r\n");
            table.push((format!("lengths {first} and {second}"), self.post(&lines, inner)));
            let lines = format!("content-length: {first}, {second}\r\n");
            table.push((format!("lengths {first}, {second}"), self.post(&lines, inner)));
            let lines = format!("content-length: {first}\r\nCONTENT-LENGTH: {second}\r\n");
            table.push((format!("lengths {first} and {second} in capitals"), self.post(&lines, inner)));
        }
        for lines in [
            format!("content-length: {whole}\r\n"),
            format!("content-length: {whole}\r\ncontent-length: {whole}\r\n"),
            format!("content-length: 000{whole}\r\n"),
            format!("content-length: {whole}\r\nconnection: content-length\r\n"),
            format!("content-length: {whole}\r\nconnection: close, content-length, host\r\n"),
            format!("content-length: {whole}\r\nexpect: 100-continue\r\n"),
            format!("content-length: {whole}\r\ncontent_length: 0\r\n"),
            format!("content-length : {whole}\r\n"),
            format!("content-length\t: 0\r\ncontent-length: {whole}\r\n"),
            format!("content-length:\r\n {whole}\r\n"),
            format!("content-length: 0\r\n {whole}\r\n"),
        ] {
            table.push((format!("{lines:?}"), self.post(&lines, inner)));
        }
        let get = self.begin("GET /livez HTTP/1.1\r\n", &format!("content-length: {whole}\r\n"), inner);
        table.push(("a GET with a body".into(), get));
        let head = self.begin("HEAD /livez HTTP/1.1\r\n", &format!("content-length: {whole}\r\n"), inner);
        table.push(("a HEAD with a body".into(), head));
    }

    /// An encoding alone that not everybody takes for chunked.
    fn odd_encodings(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let behind = format!("0\r\n\r\n{}", self.inner);
        for encoding in ENCODINGS {
            if PLAINLY_CHUNKED.contains(encoding) || UNKNOWN.contains(encoding) {
                continue;
            }
            table.push((format!("alone {encoding:?}"), self.post(&format!("{encoding}\r\n"), &behind)));
        }
        let old = self.begin(
            "POST /api/channels/C0 HTTP/1.0\r\n",
            "transfer-encoding: chunked\r\nconnection: keep-alive\r\n",
            &behind,
        );
        table.push(("an encoding in HTTP/1.0".into(), old));
    }

    /// Chunks that are none, with a request behind what might be their end.
    fn odd_chunks(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let inner = &self.inner;
        for chunks in [
            "0x0\r\n\r\n",
            "+0\r\n\r\n",
            "-0\r\n\r\n",
            " 0\r\n\r\n",
            "\r\n0\r\n\r\n",
            "\r\n\r\n",
            "g\r\n\r\n",
            "0\n\r\n",
            "0\r\n\n",
            "0\n\n",
            "0\r\r\n\r\n",
            "0\0\r\n\r\n",
            "0;x\n\r\n\r\n",
            "0;x=\"\r\n\r\n\"\r\n\r\n",
            "1;a\nb\r\nX\r\n0\r\n\r\n",
            "1\r\nXY0\r\n\r\n",
            "1\r\nX0\r\n\r\n",
            "2\r\nX\r\n0\r\n\r\n",
            "1\r\nX\n0\r\n\r\n",
            "10000000000000000\r\nX\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nX\r\n0\r\n\r\n",
            "0\r\nx y: z\r\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\nx: y\n\r\n",
        ] {
            let chunked = self.post("transfer-encoding: chunked\r\n", &format!("{chunks}{inner}"));
            table.push((format!("chunks {chunks:?}"), chunked));
        }
        // In a trailer a length comes too late to count.
        for trailer in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", "host: evil.example\r\n"] {
            let hidden = format!("{:x}\r\n{inner}\r\n0\r\n{trailer}\r\n", inner.len());
            table
                .push((format!("trailer {trailer:?}"), self.post("transfer-encoding: chunked\r\n", &hidden)));
        }
    }

    fn odd_lines(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let inner = &self.inner;
        let fields = &self.fields;
        for line in [
            "x: y\nz: w\r\n",
            "x: y\n",
            "x: a\r\n b\r\n",
            "x: a\r\n\tb\r\n",
            "x: a\rb: c\r\n",
            "x: a\0b\r\n",
            "x: a\x7f\x01b\r\n",
            "x : y\r\n",
            "x\0: y\r\n",
            "x y: z\r\n",
            "x(y): z\r\n",
            ": y\r\n",
            "x\r\n",
            "host: chat.example\r\n",
            "host: evil.example\r\n",
            "Host : evil.example\r\n",
            "host: evil.example\n",
        ] {
            // A reader who sees one request takes what hides for its body.
            let lines = format!("{line}content-length: {}\r\n", inner.len());
            table.push((format!("line {line:?}"), self.post(&lines, inner)));
        }
        // A length in what is another field's value, or a line of its own, by who reads it.
        let length = inner.len();
        for end in ["\n", "\r", "\0", "\r\n ", "\r\n\t", "\n\t", "\x0b", "\u{85}", "\u{2028}"] {
            let hidden = format!("x: y{end}content-length: 0\r\ncontent-length: {length}\r\n");
            table.push((format!("a length of nothing behind {end:?}"), self.post(&hidden, inner)));
            if end.is_ascii() {
                let hidden = format!("content-length: 0\r\nx: y{end}content-length: {length}\r\n");
                table.push((format!("a length behind {end:?}"), self.post(&hidden, inner)));
            }
        }
        let lf = fields.replace("\r\n", "\n");
        for (name, bytes) in [
            (
                "all line feeds alone",
                format!("POST /api/channels/C0 HTTP/1.1\n{lf}content-length: {}\n\n{inner}", inner.len()),
            ),
            (
                "the first line feed alone",
                format!("GET /livez HTTP/1.1\n{fields}x: y\r\n\r\nGARBAGE\r\n\r\n"),
            ),
            (
                "the last line feed alone",
                format!(
                    "POST /api/channels/C0 HTTP/1.1\r\n{fields}content-length: {}\r\n\n{inner}",
                    inner.len()
                ),
            ),
            (
                "carriage returns alone",
                format!("POST /api/channels/C0 HTTP/1.1\r{}\r\r{inner}", fields.replace("\r\n", "\r")),
            ),
            (
                "a space before the first field",
                format!(
                    "POST /api/channels/C0 HTTP/1.1\r\n x: y\r\n{fields}content-length: {}\r\n\r\n{inner}",
                    inner.len()
                ),
            ),
            (
                "no host",
                format!("POST /api/channels/C0 HTTP/1.1\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()),
            ),
        ] {
            table.push((name.into(), bytes.into_bytes()));
        }
        for garbage in [
            "GARBAGE\r\n\r\n",
            "\0\0\0\0",
            "G\r\n",
            "{}\r\n\r\n",
            " POST /api/channels HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            table
                .push((format!("behind it {garbage:?}"), self.begin("GET /livez HTTP/1.1\r\n", "", garbage)));
        }
        let upgrade = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
        table.push((
            "an upgrade to h2c".into(),
            self.begin("GET /livez HTTP/1.1\r\n", upgrade, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ));
    }

    fn odd_targets(&self, table: &mut Vec<(String, Vec<u8>)>) {
        let inner = &self.inner;
        let length = format!("content-length: {}\r\n", inner.len());
        for first in [
            "POST http://evil.example/api/channels/C0 HTTP/1.1\r\n",
            "POST https://chat.example@evil.example/api/channels/C0 HTTP/1.1\r\n",
            "POST //evil.example/api/channels/C0 HTTP/1.1\r\n",
            "POST * HTTP/1.1\r\n",
            "CONNECT chat.example:443 HTTP/1.1\r\n",
            "POST /api/channels/C0\r\n",
            "POST /api/channels/C0 HTTP/0.9\r\n",
            "POST /api/channels/C0 HTTP/1.2\r\n",
            "POST /api/channels/C0 HTTP/2.0\r\n",
            "POST /api/channels/C0 HTTP/11\r\n",
            "POST /api/channels/C0 http/1.1\r\n",
            "POST /api/channels/C0 HTTP/1.1 \r\n",
            "POST  /api/channels/C0  HTTP/1.1\r\n",
            "POST\t/api/channels/C0\tHTTP/1.1\r\n",
            "POST /api/channels/C0 HTTP/1.1 x\r\n",
            "POST /api/channels/C0 x HTTP/1.1\r\n",
            "POST /api/channels/C0\0 HTTP/1.1\r\n",
            "POST /api/channels/C0\rx HTTP/1.1\r\n",
            " POST /api/channels/C0 HTTP/1.1\r\n",
            "P\0ST /api/channels/C0 HTTP/1.1\r\n",
            "get /livez HTTP/1.1\r\n",
        ] {
            table.push((format!("{first:?}"), self.begin(first, &length, inner)));
        }
        table.push(("HTTP/0.9".into(), format!("GET /livez\r\n{inner}").into_bytes()));
    }
}

/// Ways to spell the field that says that a body comes in chunks.
const ENCODINGS: &[&str] = &[
    "transfer-encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding:\tchunked",
    "transfer-encoding:chunked ",
    "transfer-encoding : chunked",
    "transfer-encoding\t: chunked",
    " transfer-encoding: chunked",
    "x: y\r\n\ttransfer-encoding: chunked",
    "x: y\ntransfer-encoding: chunked",
    "x: y\rtransfer-encoding: chunked",
    "transfer-encoding\n: chunked",
    "transfer-encoding:\r\n chunked",
    "transfer-encoding:\n chunked",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: chunk",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: 'chunked'",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: identity",
    "transfer-encoding: ",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding:\x0cchunked",
    "transfer-encoding: chunked\0",
    "transfer-encoding: \0chunked",
    "transfer-encoding\0: chunked",
    "transfer-encoding: \u{7f}chunked",
    "transfer-encoding: chun\u{212a}ed",
    "transfer_encoding: chunked",
    "transfer-encodin: chunked",
    "xtransfer-encoding: chunked",
];

/// Those that are another field.
const UNKNOWN: &[&str] =
    &["transfer_encoding: chunked", "transfer-encodin: chunked", "xtransfer-encoding: chunked"];

/// Those that everybody takes for chunked, so that what follows such a body is a request of its own.
const PLAINLY_CHUNKED: &[&str] = &[
    "transfer-encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding:\tchunked",
    "transfer-encoding:chunked ",
];

/// Sends bytes on a connection of their own and gives the statuses of all answers, those that only ask for more left out.
fn converse(address: &Address, bytes: &[u8]) -> (Vec<u16>, String) {
    let mut conn = Conn::reach(address).unwrap();
    // The other side may hang up before it has read all, which is an answer too.
    let _ = conn.write(bytes);
    let (answer, _) = conn.read_to_close(ANSWER_WAIT);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let statuses =
        answer.match_indices("HTTP/1.").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap_or(0));
    (statuses.filter(|status| *status != 100).collect(), answer)
}

#[track_caller]
fn assert_untouched(owner: &mut Client, name: &str) {
    let channels: Value = owner.get("/api/channels").ok(200);
    assert_eq!(channels["channels"], json!([]), "{name}: a second request got through");
}

#[test]
fn what_can_be_parted_in_two_ways_is_one_request_or_none() {
    let (_server, mut owner) = Server::set_up(&[]);
    let smuggler = Smuggler::new(&owner.token("smuggler"));
    // That it would make a channel if it got through.
    let (statuses, answer) = converse(&owner.address, smuggler.inner.as_bytes());
    assert_eq!(statuses, [201], "{answer}");
    let made = owner.get("/api/channels").ok(200)["channels"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(owner.delete(&format!("/api/channels/{made}")).status, 200);
    for (name, bytes) in smuggler.table() {
        let (statuses, answer) = converse(&owner.address, &bytes);
        let told = format!("{name}: {statuses:?}\n{}\n--\n{answer}", String::from_utf8_lossy(&bytes));
        // A second answer can only be that what follows is no request.
        assert!(statuses.len() <= 2 && statuses.get(1).is_none_or(|second| *second == 400), "{told}");
        assert!(statuses.first().is_none_or(|first| matches!(first, 200 | 400..=499)), "{told}");
        if smuggler.has_two_ends(&name) || smuggler.has_a_bare_line_feed(&bytes) {
            // Other parts of the server would still read these as one request, and a proxy might not.
            assert_eq!(statuses, [400], "{told}");
        }
        assert_untouched(&mut owner, &told);
    }
}

/// Nothing that the proxy would refuse reaches the server inside something else, and nobody gets another's answer.
fn through(kind: Kind) {
    let (server, proxy) = Proxy::with_server(kind, Rule::NoChannels, &[]);
    let mut owner = proxy.client();
    let response = owner.post("/api/setup", &json!({"name": "owner", "password": PASSWORD}));
    let token = {
        response.ok(201);
        owner.adopt(&response);
        owner.token("smuggler")
    };
    assert_eq!(owner.post("/api/channels", &json!({"name": "x"})).status, 403, "the proxy's rule");
    let mut direct = server.client().with_token(&token);
    let smuggler = Smuggler::new(&token);
    let victim = |path: &str, status: u16| {
        let mut victim = proxy.client();
        victim.identity = Identity::Bearer(token.clone());
        let answer = victim.send(&Request::get(path));
        assert_eq!(answer.status, status, "{}", answer.text());
        answer
    };
    for (name, bytes) in smuggler.table() {
        let (statuses, answer) = converse(&proxy.address(), &bytes);
        let told = format!("{name}: {statuses:?}\n{}\n--\n{answer}", String::from_utf8_lossy(&bytes));
        assert!(!statuses.contains(&201) && statuses.len() <= 3, "{told}");
        assert_untouched(&mut direct, &told);
        // Who comes next on the connections that the proxy keeps gets the answer to what they asked.
        assert_eq!(victim("/api/auth/me", 200).ok(200)["name"], "owner", "{told}");
        assert_eq!(victim("/api/tokens", 200).ok(200)["tokens"].as_array().map(Vec::len), Some(1), "{told}");
    }
}

#[test]
#[ignore = "needs nginx, which tools/test installs"]
fn nothing_is_smuggled_through_nginx() {
    through(Kind::Nginx);
}

#[test]
#[ignore = "needs haproxy, which tools/test installs"]
fn nothing_is_smuggled_through_haproxy() {
    through(Kind::Haproxy);
}
