//! WebSocket as nobody should speak it, by raw frames: each offence ends its own socket with the right code, the others are
//! served, and nothing stays behind.

use std::time::Duration;

use serde_json::{Value, json};

use super::with_events;
use crate::support::client::{Client, number};
use crate::support::http::ANSWER_WAIT;
use crate::support::raw_ws::{
    BINARY, CLOSE, CONTINUATION, Ended, FIN, PING, PONG, RawWs, TEXT, frame, head, text, unmasked,
};
use crate::support::ws::Ws;
use crate::support::{count, until};

/// The longest message that the server takes.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// What a message of the attackers is like.
const OPEN: &str = r#"{"type":"open","resume_point":"now"}"#;

/// An offence, and the code that answers it.
struct Offence {
    what: &'static str,
    bytes: Vec<u8>,
    code: u16,
}

fn offence(what: &'static str, code: u16, frames: &[Vec<u8>]) -> Offence {
    Offence { what, bytes: frames.concat(), code }
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn offences() -> Vec<Offence> {
    let half = OPEN.len() / 2;
    let (begin, rest) = OPEN.as_bytes().split_at(half);
    let mut all = vec![
        offence("a byte that is never in UTF-8", 1007, &[frame(FIN | TEXT, b"{\"type\":\"\xFF\"}")]),
        offence("an overlong form", 1007, &[frame(FIN | TEXT, b"\xC0\xAF")]),
        offence("a surrogate", 1007, &[frame(FIN | TEXT, b"\xED\xA0\x80")]),
        offence("a character cut off", 1007, &[frame(FIN | TEXT, b"\xE2\x82")]),
        offence(
            "a character cut off in the last of several frames",
            1007,
            &[frame(TEXT, b"\xE2"), frame(FIN | CONTINUATION, b"\x82")],
        ),
        offence("no mask", 1002, &[unmasked(FIN | TEXT, OPEN.as_bytes())]),
        offence("a ping without a mask", 1002, &[unmasked(FIN | PING, b"x")]),
        offence("a continuation of nothing", 1002, &[frame(FIN | CONTINUATION, b"x")]),
        offence("another message in the middle of one", 1002, &[frame(TEXT, begin), frame(FIN | TEXT, rest)]),
        offence(
            "a continuation too many",
            1002,
            &[frame(TEXT, begin), frame(FIN | CONTINUATION, rest), frame(FIN | CONTINUATION, b"x")],
        ),
        offence("a ping in fragments", 1002, &[frame(PING, b"x")]),
        offence("a close in fragments", 1002, &[frame(CLOSE, &1000_u16.to_be_bytes())]),
        offence("a ping of 126 bytes", 1002, &[frame(FIN | PING, &[b'x'; 126])]),
        offence("a close of 126 bytes", 1002, &[close(1000, &[b'x'; 124])]),
        // Wrong in two ways, of which the length is seen first.
        offence("a ping that says it is huge", 1009, &[head(FIN | PING, 1 << 40), vec![0; 4]]),
        offence("a close of one byte", 1002, &[frame(FIN | CLOSE, &[3])]),
        offence("a close whose reason is no UTF-8", 1007, &[close(1000, b"\xFF\xFE")]),
        offence("a binary message", 1003, &[frame(FIN | BINARY, OPEN.as_bytes())]),
        offence("an empty binary message", 1003, &[frame(FIN | BINARY, b"")]),
        offence(
            "a message one byte too long",
            1009,
            &[frame(FIN | TEXT, &vec![b' '; MESSAGE_BYTES_MAX + 1])],
        ),
        offence("a frame that says it is huge", 1009, &[head(FIN | TEXT, 1 << 62), vec![0; 4]]),
        offence(
            "fragments that are too much together",
            1009,
            &(0..17)
                .map(|n| frame(if n == 0 { TEXT } else { CONTINUATION }, &vec![b' '; 32 << 10]))
                .collect::<Vec<_>>(),
        ),
    ];
    for bit in [0x40, 0x20, 0x10, 0x70] {
        all.push(offence("a reserved bit", 1002, &[frame(FIN | bit | TEXT, OPEN.as_bytes())]));
        all.push(offence("a reserved bit of a ping", 1002, &[frame(FIN | bit | PING, b"x")]));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        all.push(offence("an opcode that means nothing", 1002, &[frame(FIN | opcode, b"x")]));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        all.push(offence("a close with a code that nobody may send", 1002, &[close(code, b"")]));
    }
    all
}

/// Sends the bytes, sessions being open or not, and gives how it ended.
fn offend(client: &Client, bytes: &[u8], with_session: bool) -> Ended {
    let mut socket = RawWs::open(client);
    if with_session {
        socket.say(&text(OPEN)).unwrap();
    }
    // The server may end it before it has taken all.
    let _ = socket.say(bytes);
    socket.end()
}

/// Somebody who uses a socket as it is meant.
struct Bystander {
    owner: Client,
    socket: Ws,
    session: String,
    channel: String,
}

impl Bystander {
    fn new(owner: &Client, channel: &str) -> Self {
        let mut socket = Ws::open(owner);
        let session = socket.session_id(json!({"resume_point": "now"}));
        socket.caught_up(&session);
        Self { owner: owner.clone(), socket, session, channel: channel.to_owned() }
    }

    fn must_be_served(&mut self, what: &str) {
        let posted = number(&self.owner.say(&self.channel, what), "offset");
        let sent = self.socket.ask(json!({"type": "send", "channel": self.channel, "body": what}));
        assert_eq!(sent["status"], 201, "{what}: {sent}");
        let offsets = super::offsets(&self.socket.take_events(&self.session, 2).0);
        assert_eq!(offsets, [posted, number(&sent["body"], "offset")], "{what}");
        self.socket.ack(&self.session, offsets[1]);
    }
}

#[test]
fn each_offence_ends_its_socket_with_the_right_code() {
    let (_server, owner, channels) = with_events(&[]);
    let mut bystander = Bystander::new(&owner, &channels[0]);
    for Offence { what, bytes, code } in offences() {
        for with_session in [false, true] {
            let ended = offend(&owner, &bytes, with_session);
            let shown = &bytes[..bytes.len().min(16)];
            assert_eq!(ended, Ended::Code(Some(code)), "{what} ({shown:02x?})");
        }
        bystander.must_be_served(what);
    }
}

#[test]
fn what_the_standard_allows_is_understood() {
    let (_server, owner, _) = with_events(&[]);
    let mut socket = RawWs::open(&owner);
    let said = |socket: &mut RawWs| -> Value {
        serde_json::from_slice(&socket.next(ANSWER_WAIT).unwrap().payload).unwrap()
    };
    // In fragments, the first and the last of them empty, with a ping between them.
    let (begin, rest) = OPEN.as_bytes().split_at(7);
    for part in [frame(TEXT, b""), frame(CONTINUATION, begin), frame(FIN | PING, b"between")] {
        socket.say(&part).unwrap();
    }
    let pong = socket.next(ANSWER_WAIT).unwrap();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, b"between".as_slice()));
    socket.say(&[frame(CONTINUATION, rest), frame(FIN | CONTINUATION, b"")].concat()).unwrap();
    assert_eq!(said(&mut socket)["type"], "hello");
    assert_eq!(said(&mut socket)["type"], "caught_up");
    // Byte by byte, in a longer form of the length than needed be, and right up to the longest.
    let mut longest = OPEN.to_owned();
    longest.push_str(&" ".repeat(MESSAGE_BYTES_MAX - OPEN.len()));
    for byte in text(OPEN) {
        socket.say(&[byte]).unwrap();
    }
    assert_eq!(said(&mut socket)["type"], "hello");
    assert_eq!(said(&mut socket)["type"], "caught_up");
    socket.say(&text(&longest)).unwrap();
    assert_eq!(said(&mut socket)["type"], "hello");
    assert_eq!(said(&mut socket)["type"], "caught_up");
    // A pong that nobody asked for says nothing; an empty ping is one.
    socket
        .say(
            &[frame(FIN | PONG, b"unasked"), frame(FIN | PING, b""), frame(FIN | PING, &[b'x'; 125])]
                .concat(),
        )
        .unwrap();
    for payload in [&b""[..], &[b'x'; 125]] {
        let pong = socket.next(ANSWER_WAIT).unwrap();
        assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, payload));
    }
    for code in [1000, 1001, 3000, 4999] {
        let mut socket = RawWs::open(&owner);
        socket.say(&close(code, "auf Wiedersehen \u{1F44B}".as_bytes())).unwrap();
        assert!(
            matches!(socket.end(), Ended::Code(Some(answer)) if answer == code || answer == 1000),
            "{code}"
        );
    }
    let mut socket = RawWs::open(&owner);
    socket.say(&frame(FIN | CLOSE, b"")).unwrap();
    assert!(matches!(socket.end(), Ended::Code(None | Some(1000))));
}

/// What one abusive socket does beside offending at once.
fn abuse(n: usize, socket: &mut RawWs) -> std::io::Result<()> {
    match n % 8 {
        // More pings than anybody reads answers to.
        0 => {
            let pings = frame(FIN | PING, &[b'p'; 125]).repeat(100);
            (0..400).try_for_each(|_| socket.say(&pings))
        }
        // A message in very many pieces.
        1 => {
            socket.say(&frame(TEXT, b" "))?;
            let pieces = frame(CONTINUATION, b"").repeat(500);
            (0..200).try_for_each(|_| socket.say(&pieces))
        }
        2 => {
            socket.say(&frame(TEXT, b" "))?;
            let pieces = frame(CONTINUATION, b" ").repeat(500);
            (0..100).try_for_each(|_| socket.say(&pieces))
        }
        // Half a head, half a frame, much of a large one.
        3 => socket.say(&[FIN | TEXT]),
        4 => socket.say(&text(OPEN)[..20]),
        5 => socket.say(&frame(FIN | TEXT, &vec![b' '; MESSAGE_BYTES_MAX])[..MESSAGE_BYTES_MAX / 2]),
        // More sessions than anybody needs.
        6 => {
            let opens = text(r#"{"type":"open","resume_point":"0","window":65536}"#).repeat(50);
            (0..40).try_for_each(|_| socket.say(&opens))
        }
        // Words that mean nothing, whose answers are not read.
        _ => {
            let words = text(&format!(r#"{{"type":"{}"}}"#, "x".repeat(200))).repeat(50);
            (0..100).try_for_each(|_| socket.say(&words))
        }
    }
}

#[test]
fn abusive_sockets_cost_little_and_leave_nothing_behind() {
    let sockets = count("SCROLLBACK_B5_SOCKETS", 64);
    let (server, mut owner, channels) = with_events(&["--session-retention", "1s"]);
    let token = owner.invite_member("abuser").0.token("abuse");
    let abuser = server.client().with_token(&token);
    let mut bystander = Bystander::new(&owner, &channels[0]);
    bystander.must_be_served("before");
    let files = server.open_files();
    let mut most = 0;
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let mut open: Vec<RawWs> = Vec::new();
        for n in 0..sockets {
            let mut socket = RawWs::open(&abuser);
            socket.give_up_after(Duration::from_millis(5));
            // It may be ended, or not be read from any more: both are answers.
            let _ = abuse(n, &mut socket);
            open.push(socket);
            if n % 50 == 0 {
                bystander.must_be_served("meanwhile");
            }
        }
        most = most.max(server.memory_bytes("VmRSS:"));
        bystander.must_be_served("at the height of it");
        drop(open);
        // One more may be a connection that the bystander has just made anew.
        until("all files and sockets are given back", || (server.open_files() <= files + 1).then_some(()));
        rounds.push(server.memory_bytes("VmRSS:"));
        bystander.must_be_served("afterwards");
    }
    let grown = most.saturating_sub(rounds[0]) >> 20;
    eprintln!(
        "{sockets} abusive sockets at once took {} MiB at most ({grown} more than afterwards); after each round {:?} MiB",
        most >> 20,
        rounds.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>()
    );
    let each = (most.saturating_sub(rounds[0])) / sockets as u64;
    assert!(each <= 1 << 20, "{each} bytes each are more than a message and what is around it");
    assert!(rounds[2] <= rounds[1] + (16 << 20), "memory that does not come back: {rounds:?}");
}
