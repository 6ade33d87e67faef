//! Readers that never give up: whatever breaks, they come back with what they were told last and go on, by any transport.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Request, number, text};
use super::events::{Events, offset_of};
use super::http::Response;
use super::judge::{Reading, Visit};
use super::server::PROCESS_WAIT;
use super::ws::Ws;

/// A stream that says nothing for so long is dead: in these tests the server's heart beats every second.
pub(crate) const SILENCE: Duration = Duration::from_secs(6);
/// Between two looks whether the reader was killed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Before coming back to who did not let one in.
const PAUSE: Duration = Duration::from_millis(5);

/// By which way events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    Poll,
    /// With this window.
    WebSocket(u32),
}

/// What all readers hear of who runs the test.
#[derive(Default)]
pub(crate) struct Orders {
    /// A reader that stands here is done; 0 as long as nobody is.
    pub(crate) goal: AtomicU64,
    /// How often the readers were killed.
    pub(crate) kills: AtomicU64,
}

/// A reader.
pub(crate) struct Reader<'a> {
    client: Client,
    transport: Transport,
    reading: Reading,
    orders: &'a Orders,
    /// What the reader has kept for when it comes back.
    token: String,
    session: Option<String>,
    kills: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        client: Client,
        user: &str,
        transport: Transport,
        filters: &Value,
        orders: &'a Orders,
    ) -> Self {
        let reading =
            Reading { user: user.into(), filters: filters.clone(), visits: Vec::new(), history: Vec::new() };
        Self { client, transport, reading, orders, token: "0".into(), session: None, kills: 0 }
    }

    /// Reads from the beginning to the goal.
    pub(crate) fn run(mut self) -> Reading {
        let deadline = Instant::now() + 10 * PROCESS_WAIT;
        while !self.is_done() {
            assert!(Instant::now() < deadline, "a reader never came to the end: {:?}", self.transport);
            let kills = self.orders.kills.load(Ordering::SeqCst);
            if kills != self.kills {
                self.kills = kills;
                // Another process, which has what was written down; every second one has not written the session down.
                self.session = self.session.take().filter(|_| kills.is_multiple_of(2));
            }
            let came = match self.transport {
                Transport::Sse => self.visit_sse(),
                Transport::Poll => self.visit_poll(),
                Transport::WebSocket(window) => self.visit_ws(window),
            };
            if came.is_none() {
                std::thread::sleep(PAUSE);
            }
        }
        self.reading
    }

    fn is_done(&self) -> bool {
        let goal = self.orders.goal.load(Ordering::SeqCst);
        goal > 0 && offset_of(&self.token) >= goal
    }

    fn was_killed(&self) -> bool {
        self.orders.kills.load(Ordering::SeqCst) != self.kills
    }

    /// The filters as a query, beginning with `&`.
    fn query(&self) -> String {
        let filters = self.reading.filters.as_array().into_iter().flatten();
        filters
            .map(|f| {
                "&filter=".to_owned()
                    + &f.to_string().bytes().map(|b| format!("%{b:02X}")).collect::<String>()
            })
            .collect()
    }

    fn begin_visit(&mut self) {
        self.reading.visits.push(Visit { asked: Instant::now(), shown: Vec::new() });
    }

    /// Takes an event, and reads the history that it tells of.
    fn take(&mut self, event: Value) {
        let visit = self.reading.visits.last_mut().expect("a visit is under way");
        visit.shown.push((Instant::now(), event.clone()));
        let me = self.reading.user.clone();
        let of_me = |field: &str| event[field] == me;
        if event["type"] == "member" && event["event"] == "added" && of_me("user") {
            let narrow = format!("&channel={}", text(&event, "channel"));
            self.read_history(number(&event, "history_after"), number(&event, "offset"), &narrow);
        }
        if event["type"] == "user" && event["event"] == "changed" && event["role"] == "owner" && of_me("id") {
            self.read_history(0, number(&event, "offset"), "");
        }
    }

    fn read_history(&mut self, after: u64, to: u64, narrow: &str) {
        let mut after = after.to_string();
        let deadline = Instant::now() + PROCESS_WAIT;
        while offset_of(&after) < to {
            assert!(Instant::now() < deadline, "the history was never read");
            let asked = Instant::now();
            let path = format!("/api/events/poll?after={after}&wait=0&limit=200{narrow}{}", self.query());
            let Some(page) = came(self.client.try_send(&Request::get(&path))) else {
                std::thread::sleep(PAUSE);
                continue;
            };
            let at = Instant::now();
            let shown = events_of(&page).into_iter().map(|event| (at, event)).collect();
            self.reading.history.push(Visit { asked, shown });
            after = text(&page, "next");
        }
    }

    fn visit_poll(&mut self) -> Option<()> {
        self.begin_visit();
        let path = format!("/api/events/poll?after={}&wait=1&limit=60{}", self.token, self.query());
        let page = came(self.client.try_send(&Request::get(&path)))?;
        assert_eq!(page["resume"], "ok", "{page}");
        if self.was_killed() {
            return Some(());
        }
        events_of(&page).into_iter().for_each(|event| self.take(event));
        self.token = text(&page, "next");
        Some(())
    }

    fn visit_sse(&mut self) -> Option<()> {
        self.begin_visit();
        let query = self.query().replacen('&', "?", 1);
        let mut stream = match Events::try_open(&self.client, &query, Some(&self.token)).ok()? {
            Ok(stream) => stream,
            Err(refusal) => return must_come_later(&refusal),
        };
        let mut heard = Instant::now();
        while heard.elapsed() < SILENCE && !self.was_killed() && !self.is_done() {
            let frame = match stream.try_next(LOOK_EVERY) {
                Ok(frame) => frame,
                Err(super::events::End::Silent) => continue,
                Err(_) => break,
            };
            heard = Instant::now();
            match frame.kind.as_str() {
                "hello" => assert_eq!(frame.json()["resume"], "ok", "{}", frame.data),
                "bye" => {
                    self.go_on_from(&text(&frame.json(), "resume_token"));
                    break;
                }
                _ if frame.is_event() => self.take(frame.json()),
                _ => {}
            }
            if let Some(id) = frame.id {
                self.token = id;
            }
        }
        Some(())
    }

    fn visit_ws(&mut self, window: u32) -> Option<()> {
        self.begin_visit();
        let mut socket = match Ws::try_open(&self.client).ok()? {
            Ok(socket) => socket,
            Err(refusal) => return must_come_later(&refusal),
        };
        let mut open = json!({"type": "open", "window": window, "resume_point": self.token});
        if !self.reading.filters.is_null() {
            open["filters"] = self.reading.filters.clone();
        }
        if let Some(session) = &self.session {
            open["session"] = json!(session);
        }
        socket.try_say(&open).ok()?;
        let mut heard = Instant::now();
        while heard.elapsed() < SILENCE && !self.was_killed() && !self.is_done() {
            let message = match socket.try_next(LOOK_EVERY) {
                Ok(message) => message,
                Err(super::ws::Gone::Silent) => continue,
                Err(_) => break,
            };
            heard = Instant::now();
            match message["type"].as_str().unwrap_or("") {
                "hello" => {
                    assert_eq!(message["resume"], "ok", "{message}");
                    self.session = Some(text(&message, "session"));
                }
                "events" => {
                    for event in events_of(&message) {
                        self.take(event);
                    }
                    self.token = text(&message, "resume_token");
                    let ack = json!({"type": "ack", "session": message["session"], "offset": offset_of(&self.token)});
                    if socket.try_say(&ack).is_err() {
                        break;
                    }
                }
                "checkpoint" => self.token = text(&message, "resume_token"),
                "bye" => {
                    assert_ne!(message["reason"], "replaced", "nobody else knows this session: {message}");
                    self.go_on_from(&text(&message, "resume_token"));
                    break;
                }
                "answer" => {
                    assert_eq!(message["status"], 503, "{message}");
                    break;
                }
                "caught_up" | "heartbeat" => {}
                other => panic!("{other}: {message}"),
            }
        }
        Some(())
    }

    /// The server ends the stream and says where to go on; that is never before what was taken.
    fn go_on_from(&mut self, token: &str) {
        let last = self.reading.visits.last().and_then(|visit| visit.shown.last());
        let taken = last.map_or(0, |(_, event)| number(event, "offset"));
        assert!(offset_of(token) >= taken, "a goodbye at {token}, behind {taken}");
        self.token = token.to_owned();
    }
}

fn events_of(page: &Value) -> Vec<Value> {
    page["events"].as_array().unwrap_or_else(|| panic!("no events in {page}")).clone()
}

/// The answer's body, if one came that is no refusal for the moment.
fn came(answer: std::io::Result<Response>) -> Option<Value> {
    match answer.ok()? {
        answer if answer.status == 503 => must_come_later(&answer).map(|()| Value::Null),
        answer => Some(answer.ok(200)),
    }
}

fn must_come_later(refusal: &Response) -> Option<()> {
    refusal.refused(503);
    None
}
