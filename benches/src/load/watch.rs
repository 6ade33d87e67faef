//! Many clients that want to know which of their channels have changed: by watches, or by asking again and again. What that
//! takes of the wire and of the server's processor, and how long it is from a write to knowing of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use memchr::memmem;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep_until;

use super::{Target, tell_end, wait_for};
use crate::client::{Client, Identity, request, string_field};
use crate::cpu::{Threads, Window};
use crate::cut::Event;
use crate::report::{Latencies, Report};
use crate::stream::{Opening, Protocol, Stream};
use crate::text::{self, scatter};
use crate::{sockets, ws};

/// How long the last notices may take.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// The length of a message's text.
const BODY_BYTES: usize = 100;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    #[arg(long, value_enum)]
    by: By,
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Channels of each client, chosen at random.
    #[arg(long, default_value_t = 50)]
    channels: usize,
    /// Channels there are.
    #[arg(long, default_value_t = 1_000)]
    of: usize,
    /// Messages a second in all, each to a channel at random.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// How often a client polls, in seconds.
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

/// How the clients come to know.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// A watch over Server-Sent Events, without a delay.
    Sse,
    /// A watch over WebSocket, without a delay.
    Ws,
    /// `GET /api/events/poll`, without waiting: the least that can be asked.
    Poll,
    /// Not at all: what the writes alone take.
    Nothing,
}

/// What all clients share.
#[derive(Default)]
struct Seen {
    /// When the newest message of each channel was sent.
    sent_at: RefCell<HashMap<String, Instant>>,
    /// The clients that have caught up.
    ready: Cell<usize>,
    /// Changes that somebody came to know of.
    changes: Cell<u64>,
    latencies: RefCell<Latencies>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    requests: Cell<u64>,
    ended: Cell<u64>,
}

impl Seen {
    /// Somebody knows that this channel has changed.
    fn changed(&self, channel: &str) {
        // What was before the window was not sent in it.
        if let Some(sent) = self.sent_at.borrow().get(channel) {
            self.changes.set(self.changes.get() + 1);
            self.latencies.borrow_mut().record(sent.elapsed());
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    sockets::raise_open_files()?;
    sockets::runtime()?.block_on(LocalSet::new().run_until(watch(arguments)))
}

async fn watch(arguments: &Arguments) -> Result<Report> {
    let Arguments { target, clients, seconds, rate, .. } = arguments;
    let mut owner = Client::connect(target.addr).await?;
    let channels = channels(&mut owner, target, arguments.of).await?;
    let sets: Vec<Rc<[usize]>> = (0..*clients).map(|client| chosen(client, arguments)).collect();
    let mut watchers = vec![0_u64; channels.len()];
    sets.iter().flat_map(|set| set.iter()).for_each(|channel| watchers[*channel] += 1);
    let seen = Rc::new(Seen::default());
    let mut tasks = Vec::new();
    for (client, set) in sets.iter().enumerate() {
        tasks.extend(begin(arguments, client, set, &channels, &seen).await?);
    }
    let attached = || seen.ready.get() == tasks.len() || seen.ended.get() > 0;
    ensure!(wait_for(attached, sockets::ANSWER_WAIT).await, "not every client is ready");

    let (window, cpu_before) = (Window::open(&target.pids)?, Threads::of(&target.pids)?);
    for counter in [&seen.bytes_in, &seen.bytes_out, &seen.requests] {
        counter.set(0);
    }
    let (began, mut written, mut expected) = (Instant::now(), 0_u64, 0);
    let wanted = (seconds * rate) as u64;
    let mut answer = Vec::new();
    while written < wanted {
        let due = began + Duration::from_secs_f64(written as f64 / rate);
        sleep_until(due.into()).await;
        let channel = scatter(written ^ 0x7a7c) as usize % channels.len();
        let body = format!("{{\"body\":\"{}\"}}", text::message("", written, BODY_BYTES));
        let path = format!("/api/channels/{}", channels[channel]);
        let post = request("POST", &path, Identity::Bearer(&target.token), Some(&body));
        seen.sent_at.borrow_mut().insert(channels[channel].clone(), Instant::now());
        owner.send(&post).await?;
        let good = owner.receive(&mut answer).await?.good();
        ensure!(good, "a message was refused: {}", String::from_utf8_lossy(&answer));
        written += 1;
        expected += watchers[channel];
    }
    sleep_until((began + Duration::from_secs_f64(*seconds)).into()).await;
    let (bytes_in, bytes_out, requests) = (seen.bytes_in.get(), seen.bytes_out.get(), seen.requests.get());
    let cpu = Threads::of(&target.pids)?.since(&cpu_before);
    let used = window.close()?;
    if arguments.by != By::Nothing {
        let last =
            LAST_WAIT + Duration::from_secs_f64(if arguments.by == By::Poll { arguments.every } else { 0.0 });
        wait_for(|| seen.changes.get() >= expected, last).await;
    } else {
        expected = 0;
    }
    ensure!(seen.ended.get() == 0, "{} clients were ended", seen.ended.get());
    let mut report = Report::default();
    report
        .put("clients", clients)
        .put("written", written)
        .put("changes", seen.changes.get())
        .put("lost", expected.saturating_sub(seen.changes.get()))
        .put("requests", requests)
        .rate("bytes_per_s", bytes_in + bytes_out, used.seconds)
        .rate("bytes_in_per_s", bytes_in, used.seconds)
        .rate("bytes_out_per_s", bytes_out, used.seconds)
        .rate("server_us_per_s", u64::try_from(cpu.as_micros())?, used.seconds)
        .latencies(&mut seen.latencies.borrow_mut());
    used.put(&mut report);
    tasks.iter().for_each(JoinHandle::abort);
    Ok(report)
}

/// The ids of so many channels, which are made if they are not there.
async fn channels(owner: &mut Client, target: &Target, count: usize) -> Result<Vec<String>> {
    let identity = Identity::Bearer(&target.token);
    let (list, _) = owner.call(&request("GET", "/api/channels", identity, None)).await?;
    let mut ids: Vec<String> = Vec::new();
    let mut rest = &*list;
    while let Some(at) = rest.find("{\"id\":\"") {
        ids.push(string_field(&rest[at..], "id")?.to_owned());
        rest = &rest[at + 1..];
    }
    for number in ids.len()..count {
        let body = format!("{{\"name\":\"watched {number}\"}}");
        let (made, _) = owner.call(&request("POST", "/api/channels", identity, Some(&body))).await?;
        ids.push(string_field(&made, "id")?.to_owned());
    }
    ids.truncate(count);
    Ok(ids)
}

/// Which channels a client has.
fn chosen(client: usize, arguments: &Arguments) -> Rc<[usize]> {
    let mut set: Vec<usize> = Vec::new();
    let mut number = client as u64 * 1_000_003;
    while set.len() < arguments.channels.min(arguments.of) {
        let channel = scatter(number) as usize % arguments.of;
        if !set.contains(&channel) {
            set.push(channel);
        }
        number += 1;
    }
    set.into()
}

/// Begins what one client does, if it does anything.
async fn begin(
    arguments: &Arguments,
    client: usize,
    set: &Rc<[usize]>,
    channels: &[String],
    seen: &Rc<Seen>,
) -> Result<Option<JoinHandle<()>>> {
    let target = &arguments.target;
    let identity = Identity::Bearer(&target.token);
    let name = format!("bench-{client}");
    let wanted: Vec<String> =
        set.iter().map(|place| format!("{{\"id\":\"{}\"}}", channels[*place])).collect();
    let watch = format!("{{\"watch\":[{}],\"max_delay_ms\":0,\"lease_s\":3600}}", wanted.join(","));
    let opening = match arguments.by {
        By::Nothing => return Ok(None),
        By::Poll => {
            let mine = set.iter().map(|place| channels[*place].clone()).collect();
            let poller = Poller::begin(arguments, client, mine, Rc::clone(seen)).await?;
            return Ok(Some(tokio::task::spawn_local(poller.run())));
        }
        By::Sse => {
            let path = format!("/api/watch/{name}");
            let mut setter = Client::connect(target.addr).await?;
            setter.call(&request("PUT", &path, identity, Some(&watch))).await?;
            let request = request("GET", &format!("{path}/events"), identity, None);
            Opening { request, then: Vec::new(), protocol: Protocol::Sse }
        }
        By::Ws => Opening {
            request: ws::upgrade("/api/ws", identity),
            then: format!("{{\"type\":\"watch\",\"watch\":\"{name}\",\"set\":{watch}}}").into_bytes(),
            protocol: Protocol::Messages,
        },
    };
    let stream = Stream::open(target.addr, client, &opening).await?;
    Ok(Some(tokio::task::spawn_local(read(stream, Rc::clone(seen)))))
}

/// Reads notices.
async fn read(mut stream: Stream, seen: Rc<Seen>) {
    let mut notice = |event: Event<'_>| {
        if memmem::find(event.data, b"\"type\":\"caught_up\"").is_some() {
            seen.ready.set(seen.ready.get() + 1);
        } else if memmem::find(event.data, b"\"type\":\"changed\"").is_some() {
            each_field(event.data, b"\"id\":\"", |channel| seen.changed(channel));
        }
    };
    let (mut read, mut sent) = (stream.bytes, stream.sent);
    loop {
        let open = stream.read(&mut notice).await;
        seen.bytes_in.set(seen.bytes_in.get() + stream.bytes - std::mem::replace(&mut read, stream.bytes));
        seen.bytes_out.set(seen.bytes_out.get() + stream.sent - std::mem::replace(&mut sent, stream.sent));
        if !matches!(open, Ok(true)) {
            tell_end(&open);
            seen.ended.set(seen.ended.get() + 1);
            return;
        }
    }
}

/// Shows each value of a string field, which has no escapes.
fn each_field(json: &[u8], key: &[u8], mut show: impl FnMut(&str)) {
    for at in memmem::find_iter(json, key) {
        let value = &json[at + key.len()..];
        let end = memchr::memchr(b'"', value).unwrap_or(0);
        show(std::str::from_utf8(&value[..end]).unwrap_or(""));
    }
}

/// A client without watches: it asks for all new messages on a connection that stays open, and looks which are in its channels.
/// To ask for its own channels alone would take a longer request than the answers are shorter.
struct Poller {
    client: Client,
    token: String,
    mine: Vec<String>,
    after: String,
    every: Duration,
    first: Instant,
    seen: Rc<Seen>,
}

impl Poller {
    async fn begin(arguments: &Arguments, index: usize, mine: Vec<String>, seen: Rc<Seen>) -> Result<Self> {
        let target = &arguments.target;
        let mut client = Client::connect_from(target.addr, 2 + index / 1_000).await?;
        let ask = request("GET", "/api/boot?messages=0", Identity::Bearer(&target.token), None);
        let (boot, _) = client.call(&ask).await?;
        let after = string_field(&boot, "resume_token").context("a place to begin at")?.to_owned();
        // Each at a time of its own.
        let part = index as f64 / arguments.clients as f64;
        let first = Instant::now() + Duration::from_secs_f64(arguments.every * part);
        seen.ready.set(seen.ready.get() + 1);
        let every = Duration::from_secs_f64(arguments.every);
        Ok(Self { client, token: target.token.clone(), mine, after, every, first, seen })
    }

    async fn run(mut self) {
        if let Err(error) = self.poll().await {
            tell_end(&Err(error));
            self.seen.ended.set(self.seen.ended.get() + 1);
        }
    }

    async fn poll(&mut self) -> Result<()> {
        let mut due = self.first;
        let mut page = Vec::new();
        loop {
            sleep_until(due.into()).await;
            due += self.every;
            let path = format!("/api/events/poll?type=message&limit=500&after={}", self.after);
            let ask = request("GET", &path, Identity::Bearer(&self.token), None);
            let before = self.client.bytes;
            self.client.send(&ask).await?;
            let good = self.client.receive(&mut page).await?.good();
            let text = std::str::from_utf8(&page)?;
            ensure!(good, "a poll was refused: {text}");
            let seen = &self.seen;
            seen.bytes_out.set(seen.bytes_out.get() + ask.len() as u64);
            seen.bytes_in.set(seen.bytes_in.get() + self.client.bytes - before);
            seen.requests.set(seen.requests.get() + 1);
            self.after = string_field(text, "next")?.to_owned();
            each_field(&page, b"\"channel\":\"", |channel| {
                if self.mine.iter().any(|mine| mine == channel) {
                    seen.changed(channel);
                }
            });
        }
    }
}
