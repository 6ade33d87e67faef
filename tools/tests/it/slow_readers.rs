//! Readers of streams, of sessions and of Arvados' protocol that take a kilobyte a second, many beside some that take all, while
//! much is written: each slow one is ended with a reason and a place to go on from, costs little until then, and nobody else notices.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::events::{Events, offset_of};
use crate::support::latency::{Latencies, must_be_within};
use crate::support::raw_ws;
use crate::support::server::Server;
use crate::support::ws::{Gone, Ws, upgrade, upgrade_of};

/// What a slow reader takes in a second, in pieces.
const SLOW_BYTES: usize = 1_000;
const PIECES: usize = 4;
/// What a slow reader's system is ready to take.
const RECEIVE_BYTES: usize = 4 << 10;
const BODY_BYTES: usize = 400;
/// How often a writer writes what is due.
const TICK: Duration = Duration::from_millis(20);
/// One message of so many is one whose way is timed.
const PROBE_EVERY: u64 = 10;
const ARVADOS: &str = "/websocket";
/// A test that takes longer ends slow readers not at all.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// What a slow reader may cost.
const BYTES_EACH_MAX: u64 = 192 << 10;

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Session,
    Arvados,
}

impl Kind {
    fn of(n: usize) -> Self {
        [Self::Stream, Self::Session, Self::Arvados][n % 3]
    }

    /// What is asked to read it.
    fn request(self) -> Request {
        match self {
            Self::Stream => Request::get("/api/events?resume_point=now"),
            Self::Session => upgrade(),
            Self::Arvados => upgrade_of(ARVADOS),
        }
    }

    /// What is said on the socket, once there is one, by somebody who knows all up to `known`.
    fn opening(self, known: u64) -> Option<Value> {
        match self {
            Self::Stream => None,
            // A window that never is the reason why nothing comes.
            Self::Session => Some(json!({"type": "open", "resume_point": "now", "window": 65_536})),
            Self::Arvados => Some(json!({"method": "subscribe", "last_log_id": known})),
        }
    }
}

/// Writes so many messages a second until all is over, and notes when which was asked for.
struct Writer<'a> {
    channel: &'a str,
    rate: u64,
    asked: &'a Mutex<HashMap<u64, Instant>>,
    over: &'a AtomicBool,
}

impl Writer<'_> {
    fn run(&self, client: &Client) -> u64 {
        let mut socket = Ws::open(client);
        let rest = "x".repeat(BODY_BYTES);
        let (began, mut said) = (Instant::now(), 0);
        let mut answered = 0;
        while !self.over.load(Ordering::SeqCst) || answered < said {
            let due = began.elapsed().as_millis() as u64 * self.rate / 1000;
            // Not more under way than the server lets one socket have.
            while said < due && said - answered < 200 && !self.over.load(Ordering::SeqCst) {
                let body = format!("probe-{said}. {rest}");
                if said % PROBE_EVERY == 0 {
                    self.asked.lock().unwrap().insert(said, Instant::now());
                }
                socket.say(&json!({"type": "send", "id": "", "channel": self.channel, "body": body}));
                said += 1;
            }
            let tick = Instant::now() + TICK;
            while let Ok(answer) = socket.try_next(tick.saturating_duration_since(Instant::now())) {
                if answer["type"] == "answer" {
                    assert_eq!(answer["status"], 201, "{answer}");
                    answered += 1;
                }
            }
        }
        said
    }
}

/// Somebody who takes all at once: notes how long the messages took that are timed.
fn read_well(
    n: usize,
    client: &Client,
    probes: &Mutex<HashMap<u64, Instant>>,
    times: &Mutex<Latencies>,
    over: &AtomicBool,
) {
    let note = |body: &str| {
        let number = body.strip_prefix("probe-").and_then(|rest| rest.split('.').next()?.parse().ok());
        if let Some(asked) = number.and_then(|number| probes.lock().unwrap().get(&number).copied()) {
            times.lock().unwrap().add(asked.elapsed());
        }
    };
    let wait = Duration::from_millis(100);
    match Kind::of(n) {
        Kind::Stream => {
            let mut stream = Events::open(client, "?resume_point=now", None);
            while !over.load(Ordering::SeqCst) {
                if let Ok(frame) = stream.try_next(wait) {
                    assert_ne!(frame.kind, "bye", "{}", frame.data);
                    if let Some((_, body)) = frame.data.split_once("\"body\":\"") {
                        note(body);
                    }
                }
            }
        }
        Kind::Session => {
            let mut socket = Ws::open(client);
            let session = socket.session_id(json!({"resume_point": "now"}));
            while !over.load(Ordering::SeqCst) {
                let Ok(message) = socket.try_next(wait) else { continue };
                assert_ne!(message["type"], "bye", "{message}");
                if message["type"] == "events" {
                    message["events"].as_array().unwrap().iter().for_each(|event| note(&text(event, "body")));
                    socket.ack(&session, offset_of(&text(&message, "resume_token")));
                }
            }
        }
        Kind::Arvados => {
            let mut socket = Ws::try_open_at(client, ARVADOS).unwrap().expect("a socket");
            socket.say(&json!({"method": "subscribe"}));
            while !over.load(Ordering::SeqCst) {
                match socket.try_next(wait) {
                    Ok(row) => {
                        row["properties"]["new_attributes"]["body"].as_str().into_iter().for_each(note)
                    }
                    Err(gone) => assert_eq!(gone, Gone::Silent, "{}", socket.reason),
                }
            }
        }
    }
}

/// Somebody who takes a little at a time.
struct SlowReader {
    stream: TcpStream,
    kind: Kind,
    /// What was there when it came.
    known: u64,
    bytes: Vec<u8>,
}

impl SlowReader {
    fn begin(n: usize, client: &Client) -> Self {
        let known = number(&client.clone().get("/api/boot?messages=0").ok(200), "resume_point");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        socket.connect(&client.address.get().into()).unwrap();
        let kind = Kind::of(n);
        let mut stream: TcpStream = socket.into();
        stream.write_all(&kind.request().encode(client.address.clone(), &client.identity)).unwrap();
        let mut bytes = Vec::new();
        if let Some(opening) = kind.opening(known) {
            // Nobody may say anything before the upgrade is there.
            let mut byte = [0];
            while !bytes.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                bytes.extend_from_slice(&byte);
            }
            stream.write_all(&raw_ws::text(&opening.to_string())).unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        Self { stream, kind, known, bytes }
    }

    fn take_a_little(&mut self) {
        let mut piece = [0; SLOW_BYTES / PIECES];
        if let Ok(count) = self.stream.read(&mut piece) {
            self.bytes.extend_from_slice(&piece[..count]);
        }
    }

    /// Takes all that was still on its way, and gives everything that it was told, why a socket was closed included.
    fn finish(mut self) -> Told {
        self.stream.set_nonblocking(false).unwrap();
        self.stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        // The server waits for a socket's client to close it, too.
        let _ = self.stream.shutdown(Shutdown::Write);
        // A connection that is reset has nothing more.
        let _ = self.stream.read_to_end(&mut self.bytes);
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        let mut bytes = self.bytes.split_off(end);
        let (kind, known) = (self.kind, self.known);
        if kind != Kind::Stream {
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            let frames: Vec<raw_ws::Got> = std::iter::from_fn(|| raw_ws::take(&mut bytes)).collect();
            let texts = frames.iter().filter(|frame| frame.opcode == raw_ws::TEXT);
            let messages = texts.map(|frame| serde_json::from_slice(&frame.payload).unwrap()).collect();
            let close = frames.into_iter().rfind(|frame| frame.opcode == raw_ws::CLOSE);
            return Told {
                kind,
                known,
                messages,
                close: close.map(|frame| frame.payload).unwrap_or_default(),
            };
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut whole = Vec::new();
        while let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
            let Some(chunk) = bytes.get(line + 2..line + 2 + length) else { break };
            whole.extend_from_slice(chunk);
            bytes.drain(..(line + 4 + length).min(bytes.len()));
        }
        let whole = String::from_utf8(whole).unwrap();
        let data = whole.split("\n\n").filter_map(|frame| frame.split_once("data: "));
        let messages = data.map(|(_, data)| serde_json::from_str(data).unwrap()).collect();
        Told { kind, known, messages, close: Vec::new() }
    }
}

/// What a slow reader was told.
struct Told {
    kind: Kind,
    known: u64,
    messages: Vec<Value>,
    /// Of a socket: the code and the reason.
    close: Vec<u8>,
}

/// Checks that a slow reader was shown everything up to where it was told to go on, and gives that place: a resume token, or of
/// Arvados' protocol an offset.
fn judge(told: &Told, log: &[u64]) -> String {
    let mut shown: Vec<u64> = Vec::new();
    let mut from = None;
    for message in &told.messages {
        match message["type"].as_str().unwrap_or("") {
            "hello" => from = Some(offset_of(&text(message, "resume_token"))),
            "events" => {
                shown.extend(message["events"].as_array().unwrap().iter().map(|e| number(e, "offset")))
            }
            _ if message.get("event").is_some() => shown.push(number(message, "offset")),
            _ if message.get("msgID").is_some() => shown.push(number(message, "id")),
            _ => {}
        }
    }
    let place = if told.kind == Kind::Arvados {
        from = Some(told.known);
        let (code, reason) = told.close.split_at_checked(2).expect("a code");
        assert_eq!(code, 4008_u16.to_be_bytes());
        let reason = str::from_utf8(reason).expect("a reason");
        reason.strip_prefix("slow consumer: resume from ").expect(reason).to_owned()
    } else {
        let bye = told.messages.last().expect("a goodbye");
        assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("slow")), "{bye}");
        text(bye, "resume_token")
    };
    let stands = offset_of(&place);
    let from = from.expect("a hello");
    let wanted: Vec<u64> = log.iter().copied().filter(|offset| *offset > from && *offset <= stands).collect();
    assert!(
        shown == wanted,
        "of {} events it saw {}, and was told to go on at {stands}",
        wanted.len(),
        shown.len()
    );
    place
}

fn ended_as_slow(client: &mut Client) -> u64 {
    client.figure("scrollback_streams_ended_total{reason=\"slow\"}").unwrap_or(0)
}

#[test]
fn slow_readers_are_told_and_ended_and_cost_little_and_nobody_else_notices() {
    let slow = count("SCROLLBACK_F13_SLOW", 40);
    let good = count("SCROLLBACK_F13_GOOD", 6);
    let rate = count("SCROLLBACK_F13_RATE", 300) as u64;
    let calm_seconds = count("SCROLLBACK_F13_CALM_SECONDS", 3) as u64;
    let write_timeout = format!("{}s", count("SCROLLBACK_F13_WRITE_TIMEOUT", 3));
    let (server, mut owner) = Server::set_up(&["--write-timeout", &write_timeout]);
    let channel = owner.create_channel("general");
    let token = owner.token("readers");
    let mut owner = owner.with_token(&token);
    let (asked, times, over) = (Mutex::default(), Mutex::<Latencies>::default(), AtomicBool::new(false));
    let written = AtomicU64::new(0);
    let writer = Writer { channel: &channel, rate, asked: &asked, over: &over };
    let (calm, loaded, before, most, held, readers) = std::thread::scope(|scope| {
        let (asked, times, over, owner_of, written) = (&asked, &times, &over, &owner, &written);
        let threads: Vec<_> = (0..good)
            .map(|n| {
                let client = owner_of.clone();
                scope.spawn(move || read_well(n, &client, asked, times, over))
            })
            .collect();
        let writer = &writer;
        let writing = scope.spawn(move || written.store(writer.run(owner_of), Ordering::SeqCst));
        std::thread::sleep(Duration::from_secs(calm_seconds));
        let calm = std::mem::take(&mut *times.lock().unwrap());
        let before = server.memory_bytes("VmRSS:");
        let mut readers: Vec<SlowReader> = (0..slow).map(|n| SlowReader::begin(n, owner_of)).collect();
        let began = Instant::now();
        let (mut most, mut asking) = (before, server.client());
        let mut next = Instant::now();
        while ended_as_slow(&mut asking) < slow as u64 {
            assert!(began.elapsed() < WAIT_MAX, "only {} of {slow} were ended", ended_as_slow(&mut asking));
            readers.iter_mut().for_each(SlowReader::take_a_little);
            most = most.max(server.memory_bytes("VmRSS:"));
            next += Duration::from_secs(1) / PIECES as u32;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let held = began.elapsed().as_secs_f64();
        over.store(true, Ordering::SeqCst);
        writing.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        (calm, std::mem::take(&mut *times.lock().unwrap()), before, most, held, readers)
    });
    let log: Vec<u64> = owner.poll_all("0").iter().map(|event| number(event, "offset")).collect();
    let tokens: Vec<String> = readers.into_iter().map(|reader| judge(&reader.finish(), &log)).collect();
    for token in tokens.iter().take(4) {
        let rest: Vec<u64> = log.iter().copied().filter(|offset| *offset > offset_of(token)).collect();
        let after = Events::open(&owner, "", Some(token)).caught_up();
        assert!(after.iter().map(|event| number(event, "offset")).eq(rest), "what follows {token}");
    }
    let each = most.saturating_sub(before) / slow as u64;
    let ratio = loaded.p99() / calm.p99();
    eprintln!(
        "{slow} slow readers (a third streams, sessions and Arvados' sockets each) beside {good} good ones, {rate} messages a second, {} in all: ended within {held:.1} s, {} KiB each; \
         good ones' p99 {:.1} ms in {} before, {:.1} ms in {} meanwhile: {ratio:.2} times",
        written.load(Ordering::SeqCst),
        each >> 10,
        calm.p99(),
        calm.len(),
        loaded.p99(),
        loaded.len()
    );
    // Of few beside many it is what the others took meanwhile.
    if slow >= good {
        assert!(each <= BYTES_EACH_MAX, "{} KiB each", each >> 10);
    }
    must_be_within("SCROLLBACK_F13_SECONDS_MAX", held, "the longest a slow reader was kept, in seconds");
    must_be_within("SCROLLBACK_F13_RATIO_MAX", ratio, "good readers' p99 beside slow ones, in that before");
}
