//! Arvados' own clients, as they are: the library by socket and by polling, and the command `arv-ws`. All of them see exactly the
//! log, over TLS and over starts of the server, and none comes again and again for nothing.

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::arvados::{Clients, Program, Site, soon};
use crate::support::arvados_follower::{Follower, RECONNECTED};
use crate::support::arvados_rows::must_be;
use crate::support::client::{number, text};
use crate::support::progress::{EndOnDrop, Progress};
use crate::support::relay::{Relay, Treatment};
use crate::support::server::run;
use crate::support::until;

/// Between two polls, in seconds.
const POLL_EVERY: f64 = 0.2;
/// The most bytes of a message's text.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How often a client is refused, and how long that takes it at least: it waits twice as long each time, from 0.2 s on.
const REFUSALS: usize = 5;
const BACKOFF_SECONDS: f64 = 3.0;

/// Everything of the log, by what the library makes of a subscription, over a kill of the server.
fn subscribe_over_a_kill(clients: impl FnOnce(&Clients) -> Clients, expected: &str) {
    let mut site = Site::new(&[]);
    let clients = clients(&site.clients);
    // More than a page of a poll has.
    for n in 0..120 {
        site.say(&format!("before the client came {n}"));
    }
    let mut follower =
        Follower::from_the_beginning(move |last| clients.subscribe(&json!([]), POLL_EVERY, last));
    let mut last = 0;
    for kill in 0..2 {
        for n in 0..10 {
            last = site.say(&format!("live, \u{1f600} {kill}/{n}"));
        }
        follower.receive(last);
        let deleted = site.say_and_name("perhaps not read before the kill");
        site.server.kill9();
        site.server.start();
        site.delete(&deleted);
        last = site.say("the client is perhaps away");
    }
    follower.receive(last);
    follower.close();
    assert_eq!(follower.log[0], format!("client {expected}"));
    assert_eq!(follower.begun, 1, "{:?}", follower.log);
    follower.must_have_been_told(&site.rows());
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_subscribe_comes_by_websocket_and_is_told_exactly_the_log_over_kills() {
    subscribe_over_a_kill(Clients::clone, "EventClient");
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_subscribe_without_websockets_polls_exactly_the_log_over_kills() {
    subscribe_over_a_kill(|clients| clients.with("ARVADOS_DISABLE_WEBSOCKETS", "1"), "PollClient");
}

/// One way to call `arv-ws`, and which rows it is to print.
struct Call {
    clients: Clients,
    arguments: Vec<String>,
    wanted: Box<dyn Fn(&Value) -> bool>,
}

impl Call {
    fn new(clients: &Clients, arguments: &[&str], wanted: impl Fn(&Value) -> bool + 'static) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { clients: clients.clone(), arguments, wanted: Box::new(wanted) }
    }

    fn begin(&self) -> Program {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Program::begin(self.clients.arv_ws(&arguments))
    }
}

/// The second in which a row was made, as the command takes times.
fn second_of(row: &Value) -> String {
    text(row, "created_at")[.."2006-01-02T15:04:05".len()].replace('T', " ")
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arv_ws_prints_exactly_the_rows_that_it_is_asked_for() {
    let mut site = Site::new(&[]);
    let messages: Vec<String> = (0..20).map(|n| site.say_and_name(&format!("message {n}"))).collect();
    site.delete(&messages[5]);
    let first = second_of(site.rows().last().unwrap());
    let since = until("the next second", || {
        site.say("passes the time");
        Some(second_of(site.rows().last().unwrap())).filter(|now| *now != first)
    });
    let middle = number(&site.rows()[10], "id");
    let (one, channel) = (messages[3].clone(), site.channel.clone());
    let some = [one.clone(), messages[7].clone(), channel.clone()];
    let of_deleted =
        json!([["object_kind", "=", "scrollback#message"], ["event_type", "in", ["delete", "stdout"]]]);
    let of_some = json!([["object_uuid", "in", some]]);
    let of_changes = json!([["event_type", "!=", "create"], ["object_owner_uuid", "=", channel]]);
    let (clients, start) = (&site.clients, since.clone());
    let polling = clients.with("ARVADOS_DISABLE_WEBSOCKETS", "1");
    let filtered = |filters: &Value, wanted: fn(&Value, &[String]) -> bool| {
        let some = some.clone();
        let arguments = ["--no-poll", "--id", "1", "-f", &filters.to_string()];
        Call::new(clients, &arguments, move |row| wanted(row, &some))
    };
    let calls = [
        Call::new(clients, &["--no-poll", "--id", &middle.to_string()], move |row| {
            number(row, "id") >= middle
        }),
        Call::new(clients, &["--no-poll", "--start-time", &since], move |row| second_of(row) >= start),
        Call::new(clients, &["-u", &one, "--id", "1"], {
            let one = one.clone();
            move |row| row["object_uuid"] == *one
        }),
        filtered(&of_deleted, |row, _| {
            row["object_kind"] == "scrollback#message" && row["event_type"] == "delete"
        }),
        filtered(&of_some, |row, some| some.contains(&text(row, "object_uuid"))),
        filtered(&of_changes, |row, _| {
            row["object_owner_uuid"] != Value::Null && row["event_type"] != "create"
        }),
        Call::new(&polling, &["--poll-interval", "1", "--id", "1"], |_| true),
    ];
    let mut programs: Vec<Program> = calls.iter().map(Call::begin).collect();
    // Some of it comes live, and the last is wanted by all.
    site.delete(&messages[9]);
    site.owner.create_channel("another");
    site.delete(&one);
    let rows = site.rows();
    for (call, program) in calls.iter().zip(&mut programs) {
        let wanted: Vec<Value> = rows.iter().filter(|row| (call.wanted)(row)).cloned().collect();
        let mut printed: Vec<Value> = Vec::new();
        let until = soon();
        while printed.last().is_none_or(|row| row["id"] != rows.last().unwrap()["id"]) {
            let row = program.next(until).unwrap_or_else(|| panic!("{:?} has ended", call.arguments));
            // A sign of life is printed as it comes.
            if row != json!({}) {
                printed.push(row);
            }
        }
        eprintln!("{:?}: {} of {} rows", call.arguments, wanted.len(), rows.len());
        assert!(wanted.len() > 1, "{:?} proves little", call.arguments);
        must_be(&printed.iter().collect::<Vec<_>>(), &wanted);
    }
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_takes_the_largest_messages_on_one_connection() {
    let mut site = Site::new(&[]);
    let relay = Relay::to(&site.server.address, &[Treatment::Pass], 0xA276);
    let bodies: Vec<String> = ["\"", "\\", "\n\t.", "\u{2028}x", "\u{1f600}", "\u{e9}"]
        .iter()
        .map(|piece| piece.repeat(BODY_BYTES_MAX / piece.len()))
        .collect();
    for body in &bodies {
        site.say(body);
    }
    let clients = site.clients.at(relay.address().get());
    let mut follower = Follower::from_the_beginning(move |last| clients.events(&[json!([])], last));
    for body in &bodies {
        site.say(body);
    }
    let last = site.say("small again");
    follower.receive(last);
    follower.close();
    assert_eq!((follower.connections.len(), follower.begun, relay.served()), (1, 1, 1), "{:?}", follower.log);
    follower.must_have_been_told(&site.rows());
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_whose_token_is_revoked_gets_no_more_and_does_not_hammer() {
    let mut site = Site::new(&[]);
    let relay = Relay::to(&site.server.address, &[Treatment::Pass], 0xA277);
    let clients = site.clients.at(relay.address().get());
    let mut follower = Follower::from_the_beginning(move |last| clients.events(&[json!([])], last));
    let last = site.say("for everybody");
    follower.receive(last);
    let revoked = Instant::now();
    assert!(site.owner.delete(&format!("/api/tokens/{}", site.token)).status < 300);
    site.say("not for it any more");
    for _ in 0..REFUSALS {
        follower.until_it_says("HTTP 401");
    }
    let seconds = revoked.elapsed().as_secs_f64();
    // Before the client comes again.
    let served = relay.served();
    site.say("nor this");
    follower.kill();
    eprintln!("{served} connections within {seconds:.1} s");
    assert_eq!(follower.last(), last, "it was told more");
    assert!(!follower.log.iter().any(|said| said == RECONNECTED), "{:?}", follower.log);
    assert!((1 + REFUSALS..=2 + REFUSALS).contains(&served), "{served}: {:?}", follower.log);
    assert!(seconds >= BACKOFF_SECONDS, "{seconds} s");
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_is_back_after_the_server_was_stopped_in_order_and_started_again() {
    let mut site = Site::new(&[]);
    let clients = site.clients.clone();
    let mut follower = Follower::from_the_beginning(move |last| clients.events(&[json!([])], last));
    let mut last = site.say("before");
    for n in 0..3 {
        follower.receive(last);
        site.say(&format!("perhaps not read before the stop {n}"));
        site.server.restart();
        last = site.say(&format!("after start {n}"));
    }
    follower.receive(last);
    follower.close();
    assert_eq!((follower.begun, follower.connections.len()), (1, 4), "{:?}", follower.log);
    follower.must_have_been_told(&site.rows());
}

/// Kills the server twice under a client that is told something, and waits until it was told all.
fn kill_and_go_on(site: &mut Site, follower: &mut Follower, mut said: impl FnMut(&mut Site) -> u64) {
    let mut last = 0;
    for _ in 0..2 {
        for _ in 0..5 {
            last = said(site);
        }
        follower.receive(last);
        said(site);
        site.server.kill9();
        site.server.start();
        last = said(site);
    }
    follower.receive(last);
}

/// A client that knew no event was told these rows without a gap and to their end, from one on behind `before`, and not behind
/// `at_most`. It was begun once, so it came back by itself.
#[track_caller]
fn must_have_followed(follower: &Follower, rows: &[Value], before: u64, at_most: u64) {
    let first = number(follower.rows().next().expect("something was told"), "id");
    assert!(first > before, "{first} was there before it came");
    assert!(first <= at_most, "{first} is told, but not {at_most}, which came behind its beginning");
    let rows: Vec<Value> = rows.iter().filter(|row| number(row, "id") >= first).cloned().collect();
    follower.must_have_been_told(&rows);
    assert_eq!(follower.begun, 1, "{:?}", follower.log);
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_that_knows_no_event_is_told_all_that_is_new_and_misses_nothing_over_kills() {
    let mut site = Site::new(&[]);
    let before = (0..20).map(|n| site.say(&format!("before the client came {n}"))).last().unwrap();
    let clients = site.clients.clone();
    let progress = Progress::default();
    // Somebody writes all the while: so there is something new in the moment in which it is subscribed.
    let mut follower = std::thread::scope(|scope| {
        let end = EndOnDrop(&progress);
        let (mut writer, channel, progress) = (site.owner.clone(), &site.channel, &progress);
        scope.spawn(move || {
            while !progress.is_over() {
                writer.say(channel, "while it comes");
                progress.step();
            }
        });
        progress.wait_for(1);
        let mut follower = Follower::from_now(move |last| clients.events(&[json!([])], last));
        follower.until_it_is_subscribed(1);
        drop(end);
        follower
    });
    let sure = site.say("it is subscribed");
    follower.receive(sure);
    kill_and_go_on(&mut site, &mut follower, |site| site.say("live, or while it is away"));
    follower.close();
    assert_eq!(follower.connections.len(), 3, "{:?}", follower.log);
    must_have_followed(&follower, &site.rows(), before, sure);
}

/// It cannot say where it was, so what came while it was away is not told; from its first event on it misses nothing.
#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_that_was_told_nothing_yet_comes_back_to_what_is_new_by_then() {
    let mut site = Site::new(&[]);
    let relay = Relay::to(&site.server.address, &[Treatment::Pass], 0xA278);
    let clients = site.clients.at(relay.address().get());
    let mut follower = Follower::from_now(move |last| clients.events(&[json!([])], last));
    let mut before = 0;
    for times in 1..=2 {
        follower.until_it_is_subscribed(times);
        relay.kill();
        before = site.say("while it is away");
        relay.come_back();
    }
    follower.until_it_is_subscribed(3);
    let first = site.say("new");
    follower.receive(first);
    relay.kill();
    let last = site.say("while it is away and knows where it was");
    relay.come_back();
    follower.receive(last);
    follower.close();
    assert_eq!(follower.connections.len(), 4, "{:?}", follower.log);
    must_have_followed(&follower, &site.rows(), before, first);
}

/// A client that polls and knows no event, of what these filters let through. `said` makes something that they do.
fn poll_from_now(filters: Value, wanted: impl Fn(&Value) -> bool, mut said: impl FnMut(&mut Site) -> u64) {
    let mut site = Site::new(&[]);
    let before = (0..5).map(|n| site.say(&format!("before the client came {n}"))).last().unwrap();
    let clients = site.clients.with("ARVADOS_DISABLE_WEBSOCKETS", "1");
    let mut follower = Follower::from_now(move |last| clients.subscribe(&filters, POLL_EVERY, last));
    // It calls itself subscribed before it has asked what is the newest.
    follower.until_it_has_lists(1);
    let first = said(&mut site);
    kill_and_go_on(&mut site, &mut follower, said);
    follower.close();
    let rows: Vec<Value> = site.rows().into_iter().filter(|row| wanted(row)).collect();
    assert_eq!(follower.log[0], "client PollClient");
    must_have_followed(&follower, &rows, before, first);
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_poll_client_that_knows_no_event_goes_on_behind_the_newest_that_it_finds() {
    poll_from_now(json!([]), |_| true, |site| site.say("new"));
}

/// Then it asks by the time until it is told the first.
#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_poll_client_that_finds_no_event_is_told_the_first_that_is_wanted_and_all_behind_it() {
    let deletions = json!([["event_type", "=", "delete"]]);
    let is_deletion = |row: &Value| row["event_type"] == "delete";
    poll_from_now(deletions, is_deletion, |site| {
        let message = site.say_and_name("to be deleted");
        site.delete(&message)
    });
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_clients_with_a_wrong_token_are_refused_at_once_and_fall_back_as_they_always_do() {
    let site = Site::new(&[]);
    let clients = site.clients.with_token("a-token-of-nobody");
    let said = |begin: fn(&Clients, Option<u64>) -> Program| {
        let clients = clients.clone();
        let mut follower = Follower::from_the_beginning(move |last| begin(&clients, last));
        follower.hear_the_end();
        assert_eq!(follower.rows().count(), 0, "nothing is told");
        follower.log
    };
    let refused = |said: &str| said.starts_with("raised InvalidStatus") && said.contains("HTTP 401");
    let events = said(|clients, last| clients.events(&[json!([])], last));
    assert!(events.len() == 1 && refused(&events[0]), "{events:?}");
    let without_polling = said(|clients, last| clients.subscribe(&json!([]), 0.0, last));
    assert!(without_polling.last().is_some_and(|last| refused(last)), "{without_polling:?}");
    let polling = clients.clone();
    let mut follower =
        Follower::from_the_beginning(move |last| polling.subscribe(&json!([]), POLL_EVERY, last));
    follower.until_it_says("client PollClient");
    // What it makes of a refusal is its own affair, as long as it understands that it is one.
    follower.until_it_says("could not contact API server");
    follower.hear_the_end();
    let has = |part: &str| follower.log.iter().any(|said| said.contains(part));
    assert!(has("Falling back to polling") && has("HTTP 401"), "{:?}", follower.log);
    assert_eq!(follower.rows().count(), 0, "nothing is told");
    let ended = run(clients.arv_ws(&["--no-poll", "--id", "1"]).stdin(Stdio::null()));
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("HTTP 401"), "{}", ended.stderr);
}
