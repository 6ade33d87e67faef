//! Every stream, every session and every socket of Arvados' clients comes back at once after the server was killed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, number, text};
use crate::support::count;
use crate::support::events::{End, Events, offset_of};
use crate::support::http::{ANSWER_WAIT, Response};
use crate::support::latency::must_be_within;
use crate::support::server::{PROCESS_WAIT, Server};
use crate::support::ws::{Gone, Ws};

/// How many threads they come back on. So many, because one of Arvados' clients is told nothing at first, for 200 ms.
const COMING_BACK: usize = 256;

/// Something open, in one of three ways.
enum Open {
    Stream(Box<Events>),
    Session(Box<Ws>),
    Arvados(Box<Ws>),
}

/// How somebody reads.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Stream,
    /// With the session, once there is one.
    Session(Option<String>),
    Arvados,
}

/// A reader and what it has seen.
struct Reader {
    client: Client,
    kind: Kind,
    /// Where it goes on.
    token: String,
    seen: u64,
    /// How often it was told to come later.
    refused: usize,
}

impl Reader {
    fn new(client: &Client, kind: Kind) -> (Self, Open) {
        let reader = Self { client: client.clone(), kind, token: "now".into(), seen: 0, refused: 0 };
        let open = reader.open().expect("an answer").unwrap_or_else(|refusal| panic!("{}", refusal.text()));
        (reader, open)
    }

    fn open(&self) -> std::io::Result<Result<Open, Response>> {
        let opened = match &self.kind {
            Kind::Stream => {
                let (query, id) = match self.token.as_str() {
                    "now" => ("?resume_point=now", None),
                    token => ("", Some(token)),
                };
                return Ok(
                    Events::try_open(&self.client, query, id)?.map(|stream| Open::Stream(Box::new(stream)))
                );
            }
            Kind::Session(_) => Ws::try_open(&self.client)?,
            Kind::Arvados => Ws::try_open_at(&self.client, "/websocket")?,
        };
        let mut socket = match opened {
            Ok(socket) => socket,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let first = match &self.kind {
            Kind::Session(Some(session)) => {
                json!({"type": "open", "resume_point": self.token, "session": session})
            }
            Kind::Session(None) => json!({"type": "open", "resume_point": self.token}),
            _ if self.seen > 0 => json!({"method": "subscribe", "last_log_id": self.seen}),
            _ => json!({"method": "subscribe"}),
        };
        socket.try_say(&first).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        let socket = Box::new(socket);
        Ok(Ok(if self.kind == Kind::Arvados { Open::Arvados(socket) } else { Open::Session(socket) }))
    }

    /// Reads until it has seen `last`: every offset from where it was. False if the connection broke before.
    fn read(&mut self, open: &mut Open, last: u64) -> bool {
        while self.seen < last {
            let events = match open {
                Open::Stream(stream) => {
                    let frame = match stream.try_next(ANSWER_WAIT) {
                        Ok(frame) => frame,
                        Err(End::Silent) => panic!("a stream that says nothing"),
                        Err(End::Closed | End::Broken) => return false,
                    };
                    self.token = stream.last_id.clone().unwrap_or_else(|| self.token.clone());
                    assert!(
                        !matches!(frame.kind.as_str(), "reset" | "bye"),
                        "{}: {}",
                        frame.kind,
                        frame.data
                    );
                    if frame.is_event() { vec![frame.json()] } else { vec![] }
                }
                Open::Session(socket) => {
                    let message = match socket.try_next(ANSWER_WAIT) {
                        Ok(message) => message,
                        Err(Gone::Silent) => panic!("a session that says nothing"),
                        Err(Gone::Closed(_) | Gone::Broken) => return false,
                    };
                    assert!(message["type"] != "bye" && message["type"] != "answer", "{message}");
                    if message["type"] == "hello" {
                        assert_eq!(message["resume"], "ok", "{message}");
                        self.kind = Kind::Session(Some(text(&message, "session")));
                    }
                    if let Some(token) = message["resume_token"].as_str() {
                        self.token = token.to_owned();
                    }
                    message["events"].as_array().cloned().unwrap_or_default()
                }
                Open::Arvados(socket) => {
                    let message = match socket.try_next(ANSWER_WAIT) {
                        Ok(message) => message,
                        Err(Gone::Silent) => panic!("a socket that says nothing"),
                        Err(Gone::Closed(_) | Gone::Broken) => return false,
                    };
                    assert!(message.get("status").is_none_or(|status| status == 200), "{message}");
                    match message.get("id") {
                        Some(id) => vec![json!({"offset": id})],
                        None => vec![],
                    }
                }
            };
            for event in events {
                let offset = number(&event, "offset");
                assert!(self.seen == 0 || offset == self.seen + 1, "a gap or a doubled event");
                self.seen = offset;
            }
        }
        true
    }

    /// Comes back until it is let in, as often as it takes, and reads to `last`.
    fn come_back(&mut self, last: u64, began: Instant) -> Duration {
        let deadline = began + PROCESS_WAIT;
        loop {
            assert!(Instant::now() < deadline, "a reader did not come back");
            match self.open() {
                Ok(Ok(mut open)) => {
                    let back = began.elapsed();
                    if self.read(&mut open, last) {
                        return back;
                    }
                }
                Ok(Err(refusal)) => {
                    assert_eq!(refusal.status, 503, "{}", refusal.text());
                    assert!(refusal.header("retry-after").is_some(), "{}", refusal.text());
                    self.refused += 1;
                }
                // Nobody listens yet.
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn all_streams_and_sockets_come_back_at_once_after_a_restart_and_miss_nothing() {
    let streams = count("SCROLLBACK_L5_STREAMS", 100);
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let token = owner.token("readers");
    let mut owner = owner.with_token(&token);
    let mut readers: Vec<(Reader, Open)> = (0..streams)
        .map(|n| {
            let kind = [Kind::Stream, Kind::Session(None), Kind::Arvados][n % 3].clone();
            Reader::new(&owner, kind)
        })
        .collect();
    // A session has begun when its `hello` is there; a stream, when its head is; a subscription, when it is answered.
    for (reader, open) in &mut readers {
        match open {
            Open::Stream(_) => {}
            Open::Session(socket) => {
                let hello: Value = socket.next_of(|message| message["type"] == "hello");
                reader.kind = Kind::Session(Some(text(&hello, "session")));
            }
            Open::Arvados(socket) => {
                let answer: Value = socket.next_of(|message| message.get("status").is_some());
                assert_eq!(answer["status"], 200, "{answer}");
            }
        }
    }
    let said = number(&owner.say(&channel, "everybody saw this"), "offset");
    for (reader, open) in &mut readers {
        assert!(reader.read(open, said) && reader.seen == said);
    }
    // What nobody of them has taken: some of it said before the end, some after the new beginning.
    for n in 0..20 {
        owner.say(&channel, &format!("said while they were away {n}"));
    }
    server.kill9();
    let began = Instant::now();
    let readers: Vec<Reader> = readers.into_iter().map(|(reader, _)| reader).collect();
    let (readers, longest) = (Arc::new(Mutex::new(readers)), Arc::new(Mutex::new(Duration::ZERO)));
    let refused = Arc::new(AtomicUsize::new(0));
    let last = said + 40;
    let coming: Vec<_> = (0..COMING_BACK)
        .map(|_| {
            let (readers, longest, refused) =
                (Arc::clone(&readers), Arc::clone(&longest), Arc::clone(&refused));
            std::thread::spawn(move || {
                loop {
                    let Some(mut reader) = readers.lock().unwrap().pop() else { return };
                    let back = reader.come_back(last, began);
                    refused.fetch_add(reader.refused, Ordering::Relaxed);
                    let mut longest = longest.lock().unwrap();
                    *longest = back.max(*longest);
                }
            })
        })
        .collect();
    server.start();
    for n in 0..20 {
        let offset = number(&owner.say(&channel, &format!("said while they came back {n}")), "offset");
        assert_eq!(offset, said + 21 + n);
    }
    coming.into_iter().for_each(|thread| thread.join().unwrap());
    let longest = longest.lock().unwrap().as_secs_f64();
    eprintln!(
        "{streams} streams and sockets were back {longest:.1} s after the kill, {} times told to come later",
        refused.load(Ordering::Relaxed)
    );
    must_be_within("SCROLLBACK_L5_SECONDS_MAX", longest, "the last stream back after the kill, in seconds");
    let head = text(&owner.get("/api/boot").ok(200), "resume_token");
    assert_eq!(offset_of(&head), last);
}
