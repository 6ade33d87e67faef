//! A server that may use little more memory than it does at rest, under everything that takes memory at once: it is never
//! killed for it, says no to what there is no room for, and goes on.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::client::{Client, Request, text};
use crate::support::events::Events;
use crate::support::random::Random;
use crate::support::server::{Server, scrollback};
use crate::support::{PASSWORD, count, until};

/// What an operator sets for a machine with little memory.
const SMALL: [&str; 16] = [
    "--in-flight-bytes-max",
    "4MiB",
    "--heavy-reads-max",
    "1",
    "--password-hashers-max",
    "1",
    "--ring-bytes-max",
    "4MiB",
    "--cache-bytes",
    "8MiB",
    "--connections-max",
    "400",
    "--threads",
    "1",
    "--trusted-proxy",
    "127.0.0.1",
];
const STREAMS: usize = 200;
/// How many ask for much all the time.
const LOADS: usize = 25;
/// A group of processes with a bound on their memory, gone when it is dropped.
struct Group {
    place: PathBuf,
    /// The kernel's second form of them.
    unified: bool,
}

impl Group {
    /// None, with a word about it, where nobody may make one.
    fn new() -> Option<Self> {
        let (unified, root) = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => (true, "/sys/fs/cgroup"),
            false => (false, "/sys/fs/cgroup/memory"),
        };
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let place = Path::new(root).join(format!("scrollback-test-{}-{number}", std::process::id()));
        let group = Self { place, unified };
        if let Err(error) = fs::create_dir(&group.place) {
            eprintln!("skipped: no group with a bound on memory can be made in {root}: {error}");
            std::mem::forget(group);
            return None;
        }
        if !group.limit_file().exists() {
            eprintln!("skipped: groups in {root} have no bound on memory");
            return None;
        }
        Some(group)
    }

    fn limit_file(&self) -> PathBuf {
        self.place.join(if self.unified { "memory.max" } else { "memory.limit_in_bytes" })
    }

    /// What runs the server inside.
    fn wrapper(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&self.place);
        command.arg(scrollback().get_program());
        command
    }

    fn limit(&self, bytes: u64) {
        fs::write(self.limit_file(), bytes.to_string()).unwrap();
    }

    /// How many processes in it were killed for memory.
    fn killed(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.place.join(file)).unwrap();
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.expect("a count of those killed").parse().unwrap()
    }

    fn peak(&self) -> String {
        let file = if self.unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.place.join(file)).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.place);
    }
}

#[derive(Default)]
struct Told {
    done: AtomicUsize,
    shed: AtomicUsize,
}

/// Asks, and counts the answer, which must be that it was done or that there is no room now.
fn ask(client: &mut Client, request: &Request, told: &Told) {
    // A connection for which there is no room waits, and what it waits for may be over before.
    let Ok(answer) = client.try_send(request) else {
        told.shed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    match answer.status {
        200 | 201 | 401 | 413 => told.done.fetch_add(1, Ordering::Relaxed),
        429 | 503 => {
            assert!(answer.header("retry-after").is_some(), "{}", answer.text());
            told.shed.fetch_add(1, Ordering::Relaxed)
        }
        other => panic!("{other}: {}", answer.text()),
    };
}

/// Under load with `percent` of what it has at rest, and how it is afterwards.
fn squeeze(percent: u64, afterwards: impl FnOnce(&Server)) {
    let rounds = count("SCROLLBACK_F15_ROUNDS", 60);
    let Some(group) = Group::new() else { return };
    let mut server = Server::new(&SMALL);
    server.wrap(group.wrapper());
    server.start();
    let mut owner = server.owner();
    let channel = owner.create_channel("general");
    let mut random = Random::new(0xF15);
    // Everything once, until it takes no more memory: the ring, the cache, a large boot, a hash.
    for _ in 0..150 {
        owner.say(&channel, &random.words(60_000));
    }
    let owner = server.client().with_token(&owner.token("load"));
    for _ in 0..3 {
        owner.clone().get("/api/boot?messages=500").ok(200);
        server.client().log_in("owner", PASSWORD);
        Events::open(&owner, "?resume_point=0", None).until("caught_up");
    }
    let streams: Vec<Events> =
        (0..STREAMS).map(|_| Events::open(&owner, "?resume_point=now", None)).collect();
    let resting = server.memory_bytes("VmRSS:");
    // The kernel counts pages.
    let bound = resting * percent / 100 / 4096 * 4096;
    group.limit(bound);
    let knows = format!("scrollback_memory_max_bytes {bound}\n");
    until("the server knows its bound", || {
        server.client().get("/metrics").text().contains(&knows).then_some(())
    });

    let (told, over) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let path = format!("/api/channels/{channel}");
    let mut loads = Vec::new();
    let mut load = |n: usize, make: Box<dyn Fn(&mut Random) -> Request + Send>| {
        let (mut client, told, over) = (owner.clone(), Arc::clone(&told), Arc::clone(&over));
        loads.push(std::thread::spawn(move || {
            let mut random = Random::new(0xF150 + n as u64);
            while !over.load(Ordering::SeqCst) {
                ask(&mut client, &make(&mut random), &told);
            }
        }));
    };
    for n in 0..LOADS {
        let path = path.clone();
        match n % 5 {
            0 => load(n, Box::new(move |r| Request::post(&path, &json!({"body": r.words(60_000)})))),
            // A body as large as any, of a message that is too large.
            1 => load(n, Box::new(move |r| Request::post(&path, &json!({"body": r.words(500_000)})))),
            2 => load(n, Box::new(|_| Request::get("/api/boot?messages=500"))),
            3 => load(n, Box::new(move |_| Request::get(&format!("{path}/messages?limit=500")))),
            _ => load(
                n,
                Box::new(|r| {
                    let body =
                        json!({"name": format!("nobody {}", r.next()), "password": "not the password"});
                    let address = format!("10.1.{}.{}", r.below(256), r.below(256));
                    Request::post("/api/auth/login", &body).header("x-forwarded-for", &address)
                }),
            ),
        }
    }
    // Some who ask for much and take nothing.
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let request = Request::get("/api/boot?messages=500").encode(server.address.clone(), &owner.identity);
        let mut conn = TcpStream::connect(server.address.get()).unwrap();
        let _ = conn.write_all(&request);
        stuck.push(conn);
    }
    let mut poster = owner.clone();
    let mut posted = 0;
    for _ in 0..rounds {
        let answer = poster.post(&path, &json!({"body": random.words(2_000)}));
        match answer.status {
            201 => posted += 1,
            503 => assert!(answer.header("retry-after").is_some(), "{}", answer.text()),
            other => panic!("{other}: {}", answer.text()),
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    over.store(true, Ordering::SeqCst);
    loads.into_iter().for_each(|load| load.join().unwrap());
    let (done, shed) = (told.done.load(Ordering::Relaxed), told.shed.load(Ordering::Relaxed));
    eprintln!(
        "at rest {} MiB, bound {} MiB, at the end {} MiB, peak of the group {} bytes: {done} done, {shed} shed, {posted} of {rounds} small posts taken",
        resting >> 20,
        bound >> 20,
        server.memory_bytes("VmRSS:") >> 20,
        group.peak()
    );
    assert_eq!(group.killed(), 0, "killed for memory");
    assert!(done > 0 && shed > 0 && posted == rounds, "small posts always find room");
    drop((streams, stuck));
    let said = text(&poster.say(&channel, "and on it goes"), "body");
    assert_eq!(said, "and on it goes");
    afterwards(&server);
    server.stop();
    server.operate("verify", &[]).must_exit(0);
}

#[test]
#[ignore = "needs root, to bound a server's memory"]
fn a_server_with_a_quarter_more_memory_than_at_rest_sheds_and_is_never_killed() {
    squeeze(125, |_| ());
}

#[test]
#[ignore = "needs root, to bound a server's memory"]
fn a_server_with_twice_the_memory_that_it_has_at_rest_logs_people_in_once_the_load_is_gone() {
    squeeze(200, |server| {
        until("there is memory for a log-in", || {
            let body = json!({"name": "owner", "password": PASSWORD});
            let answer = server.client().post("/api/auth/login", &body);
            (answer.status == 200).then_some(())
        });
    });
}

#[test]
fn a_server_sets_its_allocator_and_keeps_its_process_and_name() {
    let of = |pid: u32, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap();
    let mut server = Server::started(&[]);
    // The server that was spawned is the one that listens: it has not become another process.
    let environment = of(server.pid(), "environ");
    let variables: Vec<&str> = environment.split('\0').collect();
    assert!(variables.contains(&"MALLOC_ARENA_MAX=2"), "{variables:?}");
    assert_eq!(of(server.pid(), "comm").trim(), "scrollback");
    assert!(of(server.pid(), "cmdline").contains("\0serve\0"));
    server.stop();
    server.set_environment(&[("MALLOC_ARENA_MAX".to_owned(), "7".to_owned())]);
    server.start();
    assert!(of(server.pid(), "environ").split('\0').any(|variable| variable == "MALLOC_ARENA_MAX=7"));
    server.stop();
}
