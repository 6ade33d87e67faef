//! A server inside the test that keeps watches as the real one does, and misbehaves as the test says. Time passes only while
//! neither it nor the client has anything to do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::client::Client;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Whoever asks more often does it over and over, and is answered no more, so that the test ends.
const REQUESTS_MAX: usize = 20_000;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `METHOD PATH?QUERY`.
    pub(super) line: String,
    pub(super) body: Value,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) asked: Vec<Asked>,
    /// How each channel stands; what is not here is not found.
    pub(super) newest: BTreeMap<String, u64>,
    /// The log's newest record.
    pub(super) head: u64,
    /// The newest epoch given, and that of the setting in force.
    pub(super) epoch: u64,
    pub(super) set: Option<u64>,
    /// Those that are read by streams, the oldest first; what is put in is sent.
    pub(super) streams: Vec<UnboundedSender<String>>,
    /// One of an old setting, kept for a test that goes on to send on it.
    pub(super) old: Option<UnboundedSender<String>>,
    /// Whether it never tells of anything that changes.
    pub(super) mute: bool,
    /// Whether streams are not even given signs of life.
    pub(super) hushed: bool,
    /// How often it says that it gives them, in seconds.
    pub(super) heartbeat: u64,
    /// Answers to the next requests whose line begins so, instead of the right ones.
    pub(super) instead: VecDeque<(&'static str, u16, Value)>,
    /// What is said of a resume point of the log's events.
    pub(super) resume: &'static str,
    /// What it does when it is asked to set or end a watch, before it answers.
    pub(super) when_asked: Option<fn(&mut State)>,
}

/// The server.
#[derive(Clone)]
pub(super) struct Double(Arc<Mutex<State>>);

impl Double {
    /// It, and a client of it. Its channels stand so.
    pub(super) fn start(newest: &[(&str, u64)]) -> (Double, Client) {
        let newest: BTreeMap<_, _> = newest.iter().map(|(id, newest)| ((*id).to_owned(), *newest)).collect();
        let head = newest.values().copied().max().unwrap_or(0);
        let state = State { newest, head, resume: "ok", heartbeat: HEARTBEAT.as_secs(), ..State::default() };
        let double = Double(Arc::new(Mutex::new(state)));
        let (dialer, mut dialed) = unbounded_channel();
        let mut client = Client::new("http://double", "token").unwrap();
        client.address.inside = Some(dialer);
        let server = double.clone();
        tokio::spawn(async move {
            while let Some(socket) = dialed.recv().await {
                tokio::spawn(server.clone().serve(socket));
            }
        });
        (double, client)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn with(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.lock());
    }

    /// A record of this channel. Whoever reads the watch is told, if the server is good.
    pub(super) fn change(&self, channel: &str) -> u64 {
        let mut state = self.lock();
        state.head += 1;
        let offset = state.head;
        state.newest.insert(channel.to_owned(), offset);
        if let (false, Some(epoch)) = (state.mute, state.set) {
            let notice = changed(epoch, &[(channel, offset)]);
            state.tell(&notice);
        }
        offset
    }

    /// It forgets everything that it has in memory, as after `kill -9`.
    pub(super) fn restart(&self) {
        let mut state = self.lock();
        state.set = None;
        state.streams.clear();
    }

    /// The requests whose line begins so.
    pub(super) fn asked(&self, begins: &str) -> Vec<Asked> {
        self.lock().asked.iter().filter(|asked| asked.line.starts_with(begins)).cloned().collect()
    }

    async fn serve(self, mut socket: DuplexStream) {
        while let Some(asked) = read_request(&mut socket).await {
            let line = asked.line.clone();
            self.lock().asked.push(asked.clone());
            if self.lock().asked.len() > REQUESTS_MAX {
                return;
            }
            let instead = {
                let mut state = self.lock();
                let place = state.instead.iter().position(|(begins, ..)| line.starts_with(begins));
                place.and_then(|place| state.instead.remove(place))
            };
            let (status, body) = if let Some((_, status, body)) = instead {
                (status, body)
            } else if line.starts_with("GET /api/events/poll") {
                let resume = self.lock().resume;
                (200, json!({"resume": resume, "events": [], "next": "1-00000000", "head": 1}))
            } else if line.contains("/events") && self.lock().set.is_some() {
                self.stream(&mut socket).await;
                return;
            } else if line.contains("/changes") && self.lock().set.is_some() {
                (200, self.changes(&line).await)
            } else {
                self.lock().answer(&asked)
            };
            let body = if status == 204 { String::new() } else { body.to_string() };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn stream(&self, socket: &mut DuplexStream) {
        let mut frames: UnboundedReceiver<String> = {
            let mut state = self.lock();
            let (sender, frames) = unbounded_channel();
            let (epoch, head) = (state.set.unwrap_or(0), state.head);
            let mut begin = format!("HTTP/1.1 200 OK\r\n\r\nretry: 1000\n{}", hello(epoch));
            begin += &format!("event: caught_up\ndata: {{\"type\":\"caught_up\",\"offset\":{head}}}\n\n");
            let _ = sender.send(begin);
            state.streams.push(sender);
            frames
        };
        loop {
            let mut gone = [0];
            let next = tokio::select! {
                next = timeout_at(Instant::now() + HEARTBEAT, frames.recv()) => next,
                _ = socket.read(&mut gone) => return,
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) if self.lock().hushed => continue,
                Err(_) => "event: heartbeat\ndata: {\"type\":\"heartbeat\"}\n\n".to_owned(),
            };
            // In drops, so that whatever waits for the rest is seen to lose nothing.
            for drop in frame.as_bytes().chunks(11) {
                if socket.write_all(drop).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn changes(&self, line: &str) -> Value {
        let number = |field: &str| -> u64 {
            let value = line.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix(field)).unwrap_or("0");
            let value = value.split('.').next_back().unwrap_or("0");
            value.split('-').next().unwrap().parse().unwrap()
        };
        let (after, until) = (number("after="), Instant::now() + Duration::from_secs(number("wait=")));
        loop {
            {
                let state = self.lock();
                let newer = state.newest.iter().filter(|(_, newest)| **newest > after && !state.mute);
                let newer: Vec<Value> =
                    newer.map(|(id, offset)| json!({"id": id, "offset": offset})).collect();
                if !newer.is_empty() || Instant::now() >= until {
                    let epoch = state.set.unwrap_or(0);
                    let next = format!("{epoch}.{}-00000000", state.head);
                    return json!({"epoch": epoch, "changed": newer, "head": state.head, "next": next});
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl State {
    /// Says this on every stream that was ever opened, whatever became of its watch.
    pub(super) fn tell(&mut self, frame: &str) {
        for stream in &self.streams {
            let _ = stream.send(frame.to_owned());
        }
    }

    fn answer(&mut self, Asked { line, body }: &Asked) -> (u16, Value) {
        if let Some(act) = self.when_asked.filter(|_| !line.starts_with("GET")) {
            act(self);
        }
        if line.starts_with("DELETE") {
            self.set = None;
            return (204, Value::Null);
        }
        if !line.starts_with("PUT") {
            return (404, json!({"code": "unknown_watch", "detail": "set it"}));
        }
        self.epoch += 1;
        self.set = Some(self.epoch);
        let status = body["watch"].as_array().unwrap().iter().map(|wanted| {
            let id = wanted["id"].as_str().unwrap();
            let stands = match self.newest.get(id) {
                None => json!({"ok": false, "code": "not_found"}),
                Some(_) if wanted["since"].as_u64() > Some(self.head) => {
                    json!({"ok": false, "code": "ahead"})
                }
                Some(newest) => json!({"ok": true, "offset": newest}),
            };
            (id.to_owned(), stands)
        });
        let status: serde_json::Map<_, _> = status.collect();
        let (epoch, head) = (self.epoch, self.head);
        let max_delay_ms = body["max_delay_ms"].as_u64().unwrap_or(250);
        let setting = json!({"name": "w", "epoch": epoch, "head": head, "max_delay_ms": max_delay_ms, "lease_s": 300, "left_s": 300,
            "heartbeat": self.heartbeat, "status": status});
        (200, setting)
    }
}

fn hello(epoch: u64) -> String {
    format!("event: hello\ndata: {{\"type\":\"hello\",\"epoch\":{epoch},\"head\":1}}\n\n")
}

/// A notice, after which its reader stands at the newest offset in it.
pub(super) fn changed(epoch: u64, changes: &[(&str, u64)]) -> String {
    let newest = changes.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    let changes: Vec<Value> =
        changes.iter().map(|(id, offset)| json!({"id": id, "offset": offset})).collect();
    let data = json!({"type": "changed", "epoch": epoch, "changed": changes, "head": newest});
    format!("id: {epoch}.{newest}-00000000\nevent: changed\ndata: {data}\n\n")
}

pub(super) fn gone(epoch: u64, channel: &str, why: &str) -> String {
    let data = json!({"epoch": epoch, "changed": [{"id": channel, "gone": why}], "head": 9});
    format!("event: changed\ndata: {data}\n\n")
}

pub(super) fn bye(reason: &str) -> String {
    format!("event: bye\ndata: {{\"type\":\"bye\",\"reason\":\"{reason}\",\"offset\":1}}\n\n")
}

async fn read_request(socket: &mut DuplexStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let line = head.lines().next().unwrap_or("").trim_end_matches(" HTTP/1.1").to_owned();
                return Some(Asked { line, body: serde_json::from_str(body).unwrap_or(Value::Null) });
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
