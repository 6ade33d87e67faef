//! Slow heads, slow bodies, slow readers and connections that say nothing, many at once, against the defaults: all are cut,
//! each in its way, and meanwhile users post and read as if nothing was.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::client::{Client, Request};
use crate::support::latency::{Latencies, must_be_within};
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::{PASSWORD, count};

/// How often the attackers send their next byte.
const DRIP: Duration = Duration::from_millis(500);
/// An attack that lasts longer than this is not cut at all.
const ATTACK_MAX: Duration = Duration::from_secs(120);
/// What a slow reader is ready to take.
const RECEIVE_BYTES: usize = 4 << 10;
/// Users who post and read, and how often each does so when nobody attacks.
const USERS: usize = 3;
const ROUNDS: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Silent,
    Head,
    /// From the first byte on.
    Body,
    /// Much at once, and then hardly anything.
    Stall,
    /// Asks for a page and does not take it.
    Reader,
}

const ALL: [Slow; 5] = [Slow::Silent, Slow::Head, Slow::Body, Slow::Stall, Slow::Reader];

struct Attacker {
    kind: Slow,
    stream: TcpStream,
    began: Instant,
    answer: Vec<u8>,
    /// When there was something to take, for a reader.
    answered: Option<Instant>,
    /// How long it held its connection; none while it does.
    held: Option<Duration>,
}

impl Attacker {
    fn begin(kind: Slow, server: &Server, token: &str, page: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if kind == Slow::Reader {
            socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        }
        let address = server.address.get();
        socket.connect(&address.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        let login = |length: usize| {
            format!(
                "POST /api/auth/login HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{{"
            )
        };
        let first = match kind {
            Slow::Silent => String::new(),
            Slow::Head => format!("GET /api/boot HTTP/1.1\r\nhost: {address}\r\nx: "),
            Slow::Body => login(20_000),
            Slow::Stall => login(200_000) + &" ".repeat(100_000),
            Slow::Reader => {
                format!("GET {page} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n")
            }
        };
        stream.write_all(first.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { kind, stream, began: Instant::now(), answer: Vec::new(), answered: None, held: None }
    }

    /// Sends one more byte, and looks whether it was cut.
    fn drip(&mut self) {
        if self.held.is_some() {
            return;
        }
        if self.kind == Slow::Reader {
            return self.look();
        }
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break self.held = Some(self.began.elapsed()),
                Ok(read) => self.answer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => break self.held = Some(self.began.elapsed()),
            }
        }
        if self.held.is_none() && self.kind != Slow::Silent && self.answer.is_empty() {
            // A failure shows at the next look.
            let _ = self.stream.write(b" ");
        }
    }

    /// Looks at an answer without taking it, and goes away when it is that there is no room for one more.
    fn look(&mut self) {
        let mut begin = [0; 512];
        let seen = self.stream.peek(&mut begin).unwrap_or(0);
        if seen > 0 {
            self.answered.get_or_insert_with(Instant::now);
        }
        if begin.starts_with(b"HTTP/1.1 503 ") {
            self.answer = begin[..seen].to_vec();
            self.held = Some(self.began.elapsed());
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes all that a cut reader can still have, which must not be the whole answer.
    fn must_be_cut_short(&mut self) {
        self.stream.set_nonblocking(false).unwrap();
        self.stream.set_read_timeout(Some(ATTACK_MAX)).unwrap();
        let _ = self.stream.read_to_end(&mut self.answer);
        let text = String::from_utf8_lossy(&self.answer);
        let length = text
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("no answer: {:?}", &text[..text.len().min(200)]));
        assert!(length > 500_000, "a page too small to be slow about: {length}");
        assert!(self.answer.len() < length, "a slow reader got all {length} bytes");
    }

    fn was_refused(&self) -> bool {
        self.answer.starts_with(b"HTTP/1.1 503 ")
    }

    fn must_be_told(&self) {
        let text = String::from_utf8_lossy(&self.answer);
        if self.was_refused() && matches!(self.kind, Slow::Stall | Slow::Reader) {
            // What they want to keep in memory is more than their share of it.
            let text = text.to_lowercase();
            return assert!(text.contains("retry-after: ") && text.contains("\"busy\""), "{text}");
        }
        let code = match self.kind {
            Slow::Silent => return assert_eq!(text, ""),
            Slow::Head => "head_timeout",
            // Not that the whole of it took too long, which would be later.
            Slow::Body | Slow::Stall => "bytes a second",
            Slow::Reader => return,
        };
        assert!(
            text.starts_with("HTTP/1.1 408 ")
                && text.contains(code)
                && text.to_lowercase().contains("connection: close"),
            "{:?}: {text:?}",
            self.kind
        );
    }
}

/// A user who posts and reads, so and so often and then until it is over.
fn use_it(mut client: Client, channel: &str, rounds: usize, over: &AtomicBool) -> Latencies {
    let mut latencies = Latencies::default();
    let mut round = 0;
    while round < rounds || !over.load(Ordering::SeqCst) {
        latencies.of(|| client.say(channel, "as if nothing was"));
        latencies.of(|| client.get(&format!("/api/channels/{channel}/messages?limit=20")).ok(200));
        round += 1;
        // People pause; and what is measured is how long an answer takes, not how many there are.
        std::thread::sleep(Duration::from_millis(5));
    }
    latencies
}

fn users(
    client: &Client,
    channel: &str,
    rounds: usize,
    over: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<Latencies>> {
    (0..USERS)
        .map(|_| {
            let (client, channel, over) = (client.clone(), channel.to_owned(), Arc::clone(over));
            std::thread::spawn(move || use_it(client, &channel, rounds, &over))
        })
        .collect()
}

fn all_of(users: Vec<std::thread::JoinHandle<Latencies>>) -> Latencies {
    let mut all = Latencies::default();
    for user in users {
        all.extend(user.join().unwrap());
    }
    all
}

fn open_connections(client: &mut Client) -> usize {
    client.figure("scrollback_connections_open").expect("the figure") as usize
}

#[test]
fn who_is_slow_is_cut_and_nobody_else_notices() {
    let sockets = count("SCROLLBACK_B3_SOCKETS", 50);
    let (server, mut owner) = Server::set_up(&[]);
    let token = owner.invite_member("attacker").0.token("attack");
    let (large, talk) = (owner.create_channel("large"), owner.create_channel("talk"));
    let mut random = Random::new(0xB3);
    for _ in 0..20 {
        owner.say(&large, &random.words(60_000));
    }
    let page = format!("/api/channels/{large}/messages?limit=500");
    let user = server.client().with_token(&owner.token("user"));

    let calm = all_of(users(&user, &talk, ROUNDS, &Arc::new(AtomicBool::new(true))));
    let over = Arc::new(AtomicBool::new(false));
    let busy = users(&user, &talk, ROUNDS, &over);

    let began = Instant::now();
    let mut attackers: Vec<Attacker> =
        (0..sockets).map(|n| Attacker::begin(ALL[n % ALL.len()], &server, &token, &page)).collect();
    // The users, and who asks for the figures.
    let others = USERS + 1;
    let mut readers_held = None;
    let mut asking = server.client();
    while readers_held.is_none() || attackers.iter().any(|a| a.held.is_none() && a.kind != Slow::Reader) {
        assert!(began.elapsed() < ATTACK_MAX, "not all were cut: {:?}", left(&attackers));
        attackers.iter_mut().for_each(Attacker::drip);
        let left = attackers.iter().filter(|a| a.held.is_none() && a.kind != Slow::Reader).count();
        // Readers learn nothing of their end without taking something, so the server is asked.
        if readers_held.is_none() && left == 0 && open_connections(&mut asking) <= others + 2 {
            readers_held = attackers.iter().filter_map(|a| a.answered).max().map(|last| last.elapsed());
        }
        std::thread::sleep(DRIP);
    }
    over.store(true, Ordering::SeqCst);
    let attacked = all_of(busy);
    for attacker in &mut attackers {
        if attacker.kind == Slow::Reader && !attacker.was_refused() {
            attacker.must_be_cut_short();
        }
        attacker.must_be_told();
    }
    let refused = attackers.iter().filter(|a| a.was_refused()).count();
    let longest = attackers.iter().filter_map(|a| a.held).chain(readers_held).max().unwrap().as_secs_f64();
    let ratio = attacked.p99() / calm.p99();
    eprintln!(
        "{sockets} attackers ({refused} of them refused as too many) held their connections for at most {longest:.1} s; users' p99 {:.1} ms in {} \
         answers without them, {:.1} ms (at most {:.1}) in {} with them: {ratio:.2} times",
        calm.p99(),
        calm.len(),
        attacked.p99(),
        attacked.most(),
        attacked.len()
    );
    must_be_within("SCROLLBACK_B3_SECONDS_MAX", longest, "the longest an attacker held a connection");
    must_be_within("SCROLLBACK_B3_RATIO_MAX", ratio, "users' p99 under attack, in those without");
}

fn left(attackers: &[Attacker]) -> Vec<Slow> {
    attackers.iter().filter(|a| a.held.is_none()).map(|a| a.kind).collect()
}

#[test]
fn a_body_that_comes_slowly_but_fast_enough_is_taken() {
    let (server, _owner) = Server::set_up(&["--body-rate-min", "10"]);
    let body = json!({"name": "owner", "password": PASSWORD}).to_string();
    let request = Request::new("POST", "/api/auth/login")
        .header("content-type", "application/json")
        .bytes(body.as_bytes())
        .encode(server.address.clone(), &crate::support::client::Identity::Nobody);
    let mut conn = crate::support::http::Conn::open(server.address.get()).unwrap();
    let head = request.len() - body.len();
    conn.write(&request[..head]).unwrap();
    for byte in &request[head..] {
        conn.write(std::slice::from_ref(byte)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    conn.read_response().unwrap().ok(200);
}
