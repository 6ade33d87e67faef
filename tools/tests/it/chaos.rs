//! Client, relay and server are killed in turn, again and again, while many read by every transport and with different filters,
//! their rights change, and others write, who send again under the same key what had no answer. In the end what each reader was
//! given is exactly what its filters and its rights allow: `support/judge.rs` says what that means and how it is known. Once all
//! of them come over plain connections and once inside TLS, for a server has one listener.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::history::{Ack, Erasure, History};
use crate::support::judge::{Case, Change, Reading, Turn};
use crate::support::paper::Paper;
use crate::support::progress::Progress;
use crate::support::random::Random;
use crate::support::reader::{Orders, Reader, SILENCE, Transport};
use crate::support::relay::{Relay, Treatment};
use crate::support::server::{Server, Way};
use crate::support::ws::Ws;

/// One message in so many is deleted by its writer.
const DELETED_ONE_IN: u64 = 8;
/// Something is killed after at most so many answers.
const ANSWERS_MAX: u64 = 60;
/// Rights change once in so many answers.
const ANSWERS_BETWEEN_CHANGES: u64 = 12;
/// A writer waits so long between two messages, so that readers who come back catch up.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(4);
/// Long enough that clients are away while rights change.
const RELAY_DOWN: Duration = Duration::from_millis(150);

/// A user: their id, and a client that is theirs for good.
struct User {
    id: String,
    client: Client,
}

impl User {
    fn new(owner: &mut Client, name: &str) -> Self {
        let (mut member, id) = owner.invite_member(name);
        let client = member.with_token(&member.clone().token("for good"));
        member.get("/api/auth/me").ok(200);
        Self { id, client }
    }
}

/// All who take part.
struct Cast {
    owner: User,
    /// Writes too, and is a member of all that is private.
    writer: User,
    /// Are added, removed, added again.
    movers: [User; 2],
    /// Is made an owner, and a member again.
    deputy: User,
    /// Is never shown anything private.
    outsider: User,
    open: String,
    secrets: [String; 2],
}

impl Cast {
    fn new(mut owner: Client) -> Self {
        let id = text(&owner.get("/api/auth/me").ok(200), "id");
        let users = ["writer", "one", "two", "deputy", "outsider"].map(|name| User::new(&mut owner, name));
        let open = owner.create_channel("open");
        let mut private = |name: &str| {
            let body = json!({"name": name, "private": true});
            text(&owner.post("/api/channels", &body).ok(201), "id")
        };
        let secrets = [private("secret"), private("more secret")];
        let [writer, one, two, deputy, outsider] = users;
        let token = owner.token("for good");
        let client = owner.with_token(&token);
        Self { owner: User { id, client }, writer, movers: [one, two], deputy, outsider, open, secrets }
    }

    /// Who reads, how and what.
    fn readers(&self) -> Vec<(&User, Transport, Value)> {
        let [one, two] = &self.movers;
        let (sse, poll, ws) = (Transport::Sse, Transport::Poll, Transport::WebSocket);
        let of_messages = json!([[["type", "in", ["message", "member"]]]]);
        let of_secret =
            json!([[["channel", "=", self.secrets[0]]], [["type", "=", "member"], ["event", "=", "added"]]]);
        let of_writer = json!([
            [["sender", "=", self.writer.id], ["event", "!=", "deleted"]],
            [["type", "not in", ["message", "channel", "user"]]]
        ]);
        vec![
            (one, sse, Value::Null),
            (one, poll, of_messages.clone()),
            (one, ws(1000), Value::Null),
            (one, ws(7), of_secret.clone()),
            (two, sse, of_secret),
            (two, poll, Value::Null),
            (two, ws(1000), of_writer.clone()),
            (two, sse, of_writer),
            (&self.deputy, sse, Value::Null),
            (&self.deputy, poll, Value::Null),
            (&self.deputy, ws(100), Value::Null),
            (&self.outsider, ws(1000), Value::Null),
            (&self.outsider, sse, of_messages),
            (&self.owner, ws(50), Value::Null),
            (&self.owner, sse, Value::Null),
        ]
    }

    fn channels(&self) -> [String; 3] {
        [self.open.clone(), self.secrets[0].clone(), self.secrets[1].clone()]
    }
}

/// What a writer has done.
#[derive(Default)]
struct Written {
    acks: Vec<Ack>,
    erasures: Vec<Erasure>,
}

/// Writes and deletes until all is over; nothing is given up before it has an answer.
fn write(name: &str, mut client: Client, channels: &[String], progress: &Progress) -> Written {
    let mut random = Random::new(0xC4A0 + name.len() as u64);
    let mut written = Written::default();
    for n in 0_u64.. {
        if progress.is_over() {
            break;
        }
        let channel = &channels[random.below(channels.len() as u64) as usize];
        let key = format!("{name}-{n}");
        let length = random.below(300) as usize;
        let body = format!("{key} {}.", random.words(length));
        // Some of it over a socket.
        let said = if name.contains("socket") {
            insist_by_socket(&client, channel, &body, &key)
        } else {
            client
                .insist(
                    &Request::post(&format!("/api/channels/{channel}"), &json!({"body": body})).key(&key),
                    &[201],
                )
                .1
        };
        let id = text(&said, "id");
        written.acks.push(Ack { offset: number(&said, "offset"), id: id.clone(), body, key });
        progress.step();
        if random.one_in(DELETED_ONE_IN) {
            client.insist(&Request::new("DELETE", &format!("/api/messages/{id}")), &[200, 404]);
            written.erasures.push(Erasure { id, at: Instant::now() });
            progress.step();
        }
        std::thread::sleep(BETWEEN_MESSAGES);
    }
    written
}

fn insist_by_socket(client: &Client, channel: &str, body: &str, key: &str) -> Value {
    let message =
        json!({"type": "send", "id": key, "channel": channel, "body": body, "idempotency_key": key});
    loop {
        let Ok(Ok(mut socket)) = Ws::try_open(client) else {
            std::thread::sleep(BETWEEN_MESSAGES);
            continue;
        };
        if socket.try_say(&message).is_err() {
            continue;
        }
        while let Ok(answer) = socket.try_next(SILENCE) {
            if answer["id"] == key && answer["status"] == 201 {
                return answer["body"].clone();
            }
            if answer["id"] == key {
                assert_eq!(answer["status"], 503, "{answer}");
                break;
            }
        }
    }
}

fn add(owner: &mut Client, channel: &str, user: &str) -> Change {
    let asked = Instant::now();
    owner.send(&Request::new("PUT", &format!("/api/channels/{channel}/members/{user}"))).ok(200);
    let (user, channel) = (user.into(), Some(channel.into()));
    Change { turn: Turn::Added, user, channel, asked, answered: Instant::now() }
}

/// Changes rights until all is over, one after the other.
fn change_rights(mut owner: Client, cast: &Cast, progress: &Progress) -> Vec<Change> {
    let mut random = Random::new(0x1164);
    let mut changes: Vec<Change> = Vec::new();
    let mut members: Vec<(usize, usize)> = Vec::new();
    let mut deputy = false;
    while !progress.is_over() {
        let (user, turn, channel, request) = if random.one_in(5) {
            deputy = !deputy;
            let body = json!({"role": if deputy { "owner" } else { "member" }});
            let request = Request::new("PUT", &format!("/api/users/{}", cast.deputy.id)).json(&body);
            (&cast.deputy.id, if deputy { Turn::Raised } else { Turn::Lowered }, None, request)
        } else {
            let place = (random.below(2) as usize, random.below(2) as usize);
            let (user, channel) = (&cast.movers[place.0].id, &cast.secrets[place.1]);
            let path = format!("/api/channels/{channel}/members/{user}");
            let was = members.iter().position(|member| *member == place);
            let (turn, method) = match was {
                Some(was) => {
                    members.remove(was);
                    (Turn::Removed, "DELETE")
                }
                None => {
                    members.push(place);
                    (Turn::Added, "PUT")
                }
            };
            (user, turn, Some(channel.clone()), Request::new(method, &path))
        };
        let asked = Instant::now();
        // Whoever is not a member any more when it is asked again was removed by the first try.
        let (tried, _) = owner.insist(&request, &[200, 404]);
        assert!(
            tried.status == 200 || tried.tries > 1 && turn == Turn::Removed,
            "{request:?}: {}",
            tried.status
        );
        changes.push(Change { turn, user: user.clone(), channel, asked, answered: Instant::now() });
        progress.wait_for(1 + random.below(ANSWERS_BETWEEN_CHANGES));
    }
    changes
}

fn kill_one_after_the_other(
    cycles: usize,
    server: &mut Server,
    relay: &Relay,
    orders: &Orders,
    progress: &Progress,
) {
    let mut random = Random::new(0xC4A05);
    for cycle in 0..cycles {
        progress.wait_for(1 + random.below(ANSWERS_MAX));
        match cycle % 3 {
            0 => drop(orders.kills.fetch_add(1, Ordering::SeqCst)),
            1 => {
                relay.kill();
                std::thread::sleep(RELAY_DOWN);
                relay.come_back();
            }
            _ => {
                server.kill9();
                server.start();
            }
        }
    }
}

#[test]
fn every_reader_gets_exactly_what_rights_and_filters_allow_whatever_is_killed() {
    kill_and_judge(count("SCROLLBACK_W1_CYCLES", 24), None);
}

#[test]
fn inside_tls_every_reader_gets_exactly_what_rights_and_filters_allow_whatever_is_killed() {
    kill_and_judge(count("SCROLLBACK_W1_CYCLES", 24) / 2, Some(&Paper::new()));
}

/// The whole test, by so many kills; with a certificate everybody comes inside TLS.
fn kill_and_judge(cycles: usize, paper: Option<&Paper>) {
    let certificate = paper.map(Paper::options);
    let options: Vec<&str> =
        certificate.iter().flatten().map(String::as_str).chain(["--heartbeat", "1s"]).collect();
    let mut server = Server::new(&options);
    let trust = paper.map(|paper| Arc::clone(&paper.trust));
    server.address = server.address.by(Way { trust, ..Way::default() });
    server.start();
    let owner = server.owner();
    let began = Instant::now();
    let cast = Cast::new(owner);
    let treatments = [Treatment::Pass, Treatment::Pass, Treatment::Drip, Treatment::Cut];
    let relay = Relay::to(&server.address, &treatments, 0xC4A0);
    let (orders, progress) = (Orders::default(), Arc::new(Progress::default()));
    // A member from the beginning, so that what it writes is allowed.
    let first: Vec<Change> = cast
        .secrets
        .iter()
        .map(|channel| add(&mut cast.owner.client.clone(), channel, &cast.writer.id))
        .collect();
    let (mut case, written) = std::thread::scope(|scope| {
        let (orders, progress, cast) = (&orders, &*progress, &cast);
        let channels = cast.channels();
        let writers: Vec<_> =
            [("owner", &cast.owner), ("writer", &cast.writer), ("writer by socket", &cast.writer)]
                .map(|(name, user)| (name, user.client.clone(), channels.clone()))
                .into_iter()
                .map(|(name, client, channels)| scope.spawn(move || write(name, client, &channels, progress)))
                .collect();
        let changer = scope.spawn(move || change_rights(cast.owner.client.clone(), cast, progress));
        let readers: Vec<_> = cast
            .readers()
            .into_iter()
            .map(|(user, transport, filters)| {
                let client = user.client.at(relay.address());
                scope.spawn(move || Reader::new(client, &user.id, transport, &filters, orders).run())
            })
            .collect();
        kill_one_after_the_other(cycles, &mut server, &relay, orders, progress);
        progress.end();
        let changes = first.into_iter().chain(changer.join().unwrap()).collect();
        let written: Vec<Written> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        // Nothing breaks any more, so that all come to the end.
        relay.treat(&[Treatment::Pass]);
        let last = cast.owner.client.clone().say(&cast.open, "the last word");
        orders.goal.store(number(&last, "offset"), Ordering::SeqCst);
        let readings: Vec<Reading> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        (Case { began, log: Vec::new(), changes, readings }, written)
    });
    server.kill9();
    server.start();
    case.log = cast.owner.client.clone().poll_all("0");
    let mut history = History { log: case.log.clone(), ..History::default() };
    for writer in written {
        history.acks.extend(writer.acks);
        history.erasures.extend(writer.erasures);
    }
    tell(cycles, &case, &history, &relay);
    history.must_hold();
    case.must_hold();
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}

fn tell(cycles: usize, case: &Case, history: &History, relay: &Relay) {
    let visits = |reading: &Reading| reading.visits.len();
    let shown = |reading: &Reading| reading.visits.iter().map(|visit| visit.shown.len()).sum::<usize>();
    eprintln!(
        "{cycles} kills, {} messages acknowledged, {} deleted, {} changes of rights, {} events; {} readers were given {} events \
         in {} requests and read the history {} times; {} connections",
        history.acks.len(),
        history.erasures.len(),
        case.changes.len(),
        case.log.len(),
        case.readings.len(),
        case.readings.iter().map(shown).sum::<usize>(),
        case.readings.iter().map(visits).sum::<usize>(),
        case.readings.iter().map(|reading| reading.history.len()).sum::<usize>(),
        relay.served()
    );
    assert!(
        case.changes.len() > cycles / 2 && history.acks.len() > cycles,
        "too little happened to prove anything"
    );
}
