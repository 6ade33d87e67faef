//! A storm of log-ins: more than passwords can be hashed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{Client, Request};
use crate::support::latency::{Latencies, must_be_within};
use crate::support::server::Server;
use crate::support::{PASSWORD, count};

/// Clients of the storm of log-ins; each has one under way at a time.
const LOGGERS: usize = 100;
/// Log-ins a second that they try together.
const LOGINS_PER_SECOND: u64 = 1_000;
/// Users who post, and how often each does so when there is no storm.
const POSTERS: usize = 3;
const POSTS: usize = 300;

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
