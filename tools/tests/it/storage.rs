//! A disk that fails: every write and sync of the server in turn, by strace. Nothing is acknowledged that is not there
//! afterwards, streams are told, the process ends with 1, and the next start is a clean one.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::client::{Client, Request, text};
use crate::support::events::Events;
use crate::support::server::{Server, scrollback};

/// Longer than the server goes on reading after a failure.
const BYE_WAIT: Duration = Duration::from_secs(60);
/// No workload has more calls of one kind.
const CALLS_MAX: usize = 2000;

/// What was answered during one life of a server.
#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    /// Written or not, nobody knows.
    unknown: Vec<String>,
    failures: usize,
    /// Why the stream ended, if it said so.
    bye: Option<String>,
}

/// Says things, one after the other, until the server fails or all is said; some of it writes to the vault.
fn talk(client: &mut Client, channel: &str) -> Told {
    let mut told = Told::default();
    let mut stream = Events::try_open(client, "?resume_point=now", None).ok().and_then(Result::ok);
    for n in 0..10 {
        let body = format!("message {n}");
        let request = Request::post(&format!("/api/channels/{channel}"), &json!({ "body": body }))
            .key(&format!("key-{n}"));
        match client.try_send(&request) {
            Ok(response) if response.status == 201 => told.acknowledged.push(body),
            Ok(response) => {
                assert_eq!(response.refused(503), "outcome_unknown");
                told.unknown.push(body);
                told.failures += 1;
            }
            Err(_) => {
                told.unknown.push(body);
                told.failures += 1;
            }
        }
        if n == 5
            && told.failures == 0
            && let Ok(response) = client.try_send(&Request::post("/api/tokens", &json!({ "label": "t" })))
            && response.status != 201
        {
            assert_eq!(response.refused(503), "outcome_unknown");
            told.failures += 1;
        }
        if told.failures > 0 {
            break;
        }
    }
    if told.failures > 0
        && let Some(stream) = &mut stream
    {
        // Frames may come before it; an abrupt end without one is seen below.
        while let Ok(frame) = stream.try_next(BYE_WAIT) {
            if frame.kind == "bye" {
                told.bye = Some(text(&frame.json(), "reason"));
                break;
            }
        }
    }
    told
}

/// One life of a server in which the `number`th call of these kinds to a file below `data` fails. Returns whether one did.
fn live_through(number: usize, calls: &str, error: &str) -> bool {
    let (mut server, mut owner) = Server::set_up(&["--scrub-rate", "0"]);
    let channel = owner.create_channel("general");
    server.stop();
    let log = server.data().join("log.1/db");
    let (witness, vault) = (server.data().join("witness"), server.data().join("vault/db"));
    let checkpoint = server.data().join("views/checkpoint.new");
    let trace = server.data().with_file_name("trace");
    let mut strace = Command::new("strace");
    // Detached, so that signals and the exit code are the server's own.
    strace.args(["-D", "-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(&trace);
    for path in [&log, &witness, &vault, &checkpoint] {
        strace.arg("-P").arg(path);
    }
    strace.args(["-e", &format!("inject={calls}:error={error}:when={number}")]);
    strace.arg(scrollback().get_program());
    server.wrap(strace);
    let what = format!("{error} at call {number} of {calls}");
    let mut told = Told::default();
    let ended = match server.try_start() {
        Err(ended) => Some(ended),
        Ok(()) => {
            owner = server.client();
            // A failure may hit the session that a log-in opens.
            let login = json!({ "name": "owner", "password": crate::support::PASSWORD });
            match owner.try_send(&Request::post("/api/auth/login", &login)) {
                Ok(response) if response.status == 200 => {
                    owner.adopt(&response);
                    told = talk(&mut owner, &channel);
                }
                Ok(response) => {
                    assert_eq!(response.refused(503), "outcome_unknown", "{what}");
                    told.failures += 1;
                }
                Err(_) => told.failures += 1,
            }
            if told.failures > 0 { Some(server.end()) } else { None }
        }
    };
    let ended = ended.unwrap_or_else(|| server.terminate());
    assert!(!ended.stderr.contains("panicked"), "{what}: {ended:?}");
    let failed = ended.code != Some(0);
    if failed {
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        assert!(ended.stderr.contains("rror"), "{what} is not told: {ended:?}");
    }
    if told.failures > 0 {
        assert!(failed, "{what}: it went on after a failed write: {ended:?}");
        if !told.acknowledged.is_empty() || !told.unknown.is_empty() {
            assert_eq!(told.bye.as_deref(), Some("storage"), "{what}");
        }
    }
    let injected = std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)");
    assert_eq!(failed, injected, "{what} passed unnoticed: {ended:?}");
    server.unwrap();
    server.start();
    owner = server.client();
    owner.log_in("owner", crate::support::PASSWORD);
    let there: Vec<String> =
        owner.history(&channel, 500).iter().map(|message| text(message, "body")).collect();
    for body in &told.acknowledged {
        assert_eq!(there.iter().filter(|known| *known == body).count(), 1, "{what}: {body:?} in {there:?}");
    }
    assert!(
        there.iter().all(|body| told.acknowledged.contains(body) || told.unknown.contains(body)),
        "{what}"
    );
    // A retry with the same key finds out, and is not said twice.
    for body in &told.unknown {
        let number = body.rsplit(' ').next().unwrap();
        let request = Request::post(&format!("/api/channels/{channel}"), &json!({ "body": body }))
            .key(&format!("key-{number}"));
        owner.send(&request).ok(201);
    }
    let mut after: Vec<String> =
        owner.history(&channel, 500).iter().map(|message| text(message, "body")).collect();
    after.sort();
    let mut expected: Vec<String> = told.acknowledged.iter().chain(&told.unknown).cloned().collect();
    expected.sort();
    assert_eq!(after, expected, "{what}");
    server.stop();
    server.operate("verify", &[]).must_exit(0);
    failed
}

/// Lets every call of these kinds fail in turn.
fn each_in_turn(calls: &str, error: &str) {
    for number in 1..CALLS_MAX {
        if !live_through(number, calls, error) {
            println!("{error} at each of {} calls of {calls}, counted by thread", number - 1);
            assert!(number > 5, "hardly anything ever failed");
            return;
        }
    }
    panic!("more than {CALLS_MAX} calls");
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_sync_that_fails_anywhere_is_never_acknowledged_and_ends_the_server() {
    each_in_turn("fdatasync,fsync", "EIO");
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_write_that_fails_anywhere_is_never_acknowledged_and_ends_the_server() {
    each_in_turn("pwrite64,write,ftruncate", "EIO");
}

#[test]
#[ignore = "needs strace (tools/test installs it)"]
fn a_write_to_a_disk_that_filled_up_below_the_mark_is_like_any_other_that_fails() {
    each_in_turn("pwrite64,write", "ENOSPC");
}
