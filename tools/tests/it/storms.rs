//! Storms: more log-ins than passwords can be hashed, and every stream coming back at once after a restart.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, Request, number, text};
use crate::support::events::Events;
use crate::support::latency::{Latencies, must_be_within};
use crate::support::server::{PROCESS_WAIT, Server};
use crate::support::{PASSWORD, count};

/// Clients of the storm of log-ins; each has one under way at a time.
const LOGGERS: usize = 100;
/// Log-ins a second that they try together.
const LOGINS_PER_SECOND: u64 = 1_000;
/// Users who post, and how often each does so when there is no storm.
const POSTERS: usize = 3;
const POSTS: usize = 300;
/// How many threads the streams come back on.
const COMING_BACK: usize = 64;

/// Some users who post.
#[derive(Clone)]
struct Posting {
    client: Client,
    channel: String,
}

impl Posting {
    /// Until it is over, and each user at least `posts` times.
    fn go_on(&self, posts: usize, over: &AtomicBool) -> Latencies {
        let post = || {
            let mut client = self.client.clone();
            let mut latencies = Latencies::default();
            while latencies.len() < posts || !over.load(Ordering::SeqCst) {
                latencies.of(|| client.say(&self.channel, "as if nothing was"));
                std::thread::sleep(Duration::from_millis(5));
            }
            latencies
        };
        let mut all = Latencies::default();
        std::thread::scope(|scope| {
            let posters: Vec<_> = (0..POSTERS).map(|_| scope.spawn(post)).collect();
            posters.into_iter().for_each(|poster| all.extend(poster.join().unwrap()));
        });
        all
    }
}

#[derive(Default)]
struct Answers {
    wrong: AtomicUsize,
    limited: AtomicUsize,
    busy: AtomicUsize,
}

/// Tries to log in as somebody, from an address of its own.
fn try_to_log_in(client: &mut Client, n: u64, answers: &Answers) {
    let address = Ipv4Addr::from_bits(0x0A00_0000 + (n as u32 & 0xFF_FFFF));
    // Some try the same account, all others one each.
    let name = if n.is_multiple_of(4) { "owner".to_owned() } else { format!("nobody {n}") };
    let request = Request::post("/api/auth/login", &json!({"name": name, "password": "not the password"}))
        .header("x-forwarded-for", &address.to_string());
    let answer = client.send(&request);
    let counted = match answer.status {
        401 => {
            answers.wrong.fetch_add(1, Ordering::Relaxed);
            return;
        }
        429 => &answers.limited,
        503 => {
            answer.refused_as(503, "busy");
            &answers.busy
        }
        other => panic!("{other}: {}", answer.text()),
    };
    counted.fetch_add(1, Ordering::Relaxed);
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
}

/// A storm of so many log-ins; gives how long posting took meanwhile.
fn storm(log_ins: u64, first: u64, server: &Server, answers: &Arc<Answers>, posting: &Posting) -> Latencies {
    let over = Arc::new(AtomicBool::new(false));
    let (next, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let loggers: Vec<_> = (0..LOGGERS)
        .map(|_| {
            let (mut client, next, answers) = (server.client(), Arc::clone(&next), Arc::clone(answers));
            std::thread::spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= log_ins {
                        break;
                    }
                    let due = began + Duration::from_micros(n * 1_000_000 / LOGINS_PER_SECOND);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    try_to_log_in(&mut client, first + n, &answers);
                }
            })
        })
        .collect();
    let posting = {
        let (posting, over) = (posting.clone(), Arc::clone(&over));
        std::thread::spawn(move || posting.go_on(0, &over))
    };
    loggers.into_iter().for_each(|logger| logger.join().unwrap());
    over.store(true, Ordering::SeqCst);
    posting.join().unwrap()
}

#[test]
fn a_storm_of_log_ins_is_shed_and_posting_goes_on() {
    let log_ins = count("SCROLLBACK_B9_LOGINS", 1_500) as u64;
    let rounds = count("SCROLLBACK_B9_ROUNDS", 1) as u64;
    let (server, mut owner) = Server::set_up(&["--trusted-proxy", "127.0.0.1"]);
    let channel = owner.create_channel("general");
    let (mut member, _) = owner.invite_member("member");
    let posting = Posting { client: server.client().with_token(&owner.token("poster")), channel };
    let answers = Arc::new(Answers::default());
    // The disk has good and bad seconds: calm and storm take turns, and each storm is compared with the calm before it.
    let (mut calm, mut stormy, mut ratios) = (Latencies::default(), Latencies::default(), Vec::new());
    for round in 0..rounds {
        let before = posting.go_on(POSTS, &AtomicBool::new(true));
        let each = log_ins / rounds;
        let meanwhile = storm(each, round * each, &server, &answers, &posting);
        ratios.push(meanwhile.p99() / before.p99());
        calm.extend(before);
        stormy.extend(meanwhile);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let told = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (wrong, limited, busy) = (told(&answers.wrong), told(&answers.limited), told(&answers.busy));
    eprintln!(
        "{log_ins} log-ins in {rounds} storms: {wrong} looked at, {limited} limited, {busy} shed; posting p99 {:.1} ms in {} posts before, \
         {:.1} ms in {} meanwhile; storm by storm {:.2} to {:.2} times, median {ratio:.2}",
        calm.p99(),
        calm.len(),
        stormy.p99(),
        stormy.len(),
        ratios[0],
        ratios[ratios.len() - 1],
    );
    assert!(wrong > 0 && limited > 0 && busy > 0, "a storm that was none");
    must_be_within("SCROLLBACK_B9_RATIO_MAX", ratio, "posting's p99 in the storm, in that before");
    // Whoever has waited out the storm gets in.
    member.log_in("member", PASSWORD);
}

/// A stream and what it has seen.
struct Reader {
    client: Client,
    last_id: Option<String>,
    seen: u64,
    /// How often it was told to come later.
    refused: usize,
}

impl Reader {
    /// Comes back until it is let in, as often as it takes, and reads until it has seen `last`: every offset from where it was.
    fn come_back(&mut self, last: u64, began: Instant) -> Duration {
        let deadline = began + PROCESS_WAIT;
        loop {
            assert!(Instant::now() < deadline, "a stream did not come back");
            match Events::try_open(&self.client, "?resume_point=now", self.last_id.as_deref()) {
                Ok(Ok(mut stream)) => {
                    let back = began.elapsed();
                    while self.seen < last {
                        let frame = stream.next();
                        if frame.is_event() {
                            let offset = number(&frame.json(), "offset");
                            assert_eq!(offset, self.seen + 1, "a gap or a doubled event");
                            self.seen = offset;
                        } else {
                            assert!(
                                !matches!(frame.kind.as_str(), "reset" | "bye"),
                                "{}: {}",
                                frame.kind,
                                frame.data
                            );
                        }
                    }
                    return back;
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
fn all_streams_come_back_at_once_after_a_restart_and_miss_nothing() {
    let streams = count("SCROLLBACK_L5_STREAMS", 100);
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let mut owner = server.client().with_token(&owner.token("readers"));
    let mut open = Vec::new();
    for _ in 0..streams {
        open.push(Events::open(&owner, "?resume_point=now", None));
    }
    let said = number(&owner.say(&channel, "everybody saw this"), "offset");
    let readers: Vec<Reader> = open
        .iter_mut()
        .map(|stream| {
            let event = stream.take_events(1).remove(0);
            assert_eq!(number(&event, "offset"), said);
            Reader { client: owner.clone(), last_id: stream.last_id.clone(), seen: said, refused: 0 }
        })
        .collect();
    // What nobody of them has taken: some of it said before the end, some after the new beginning.
    for n in 0..20 {
        owner.say(&channel, &format!("said while they were away {n}"));
    }
    server.kill9();
    let began = Instant::now();
    drop(open);
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
        let body = json!({"body": format!("said while they came back {n}")});
        assert_eq!(
            number(&owner.post(&format!("/api/channels/{channel}"), &body).ok(201), "offset"),
            said + 21 + n
        );
    }
    coming.into_iter().for_each(|thread| thread.join().unwrap());
    let longest = longest.lock().unwrap().as_secs_f64();
    eprintln!(
        "{streams} streams were back {longest:.1} s after the kill, {} times told to come later",
        refused.load(Ordering::Relaxed)
    );
    must_be_within("SCROLLBACK_L5_SECONDS_MAX", longest, "the last stream back after the kill, in seconds");
    let head = text(&owner.get("/api/boot").ok(200), "resume_token");
    assert_eq!(crate::support::events::offset_of(&head), last);
}
