//! The client library against the real server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use scrollback_client::{
    Client as Library, Ended, Means, Start, TailOptions, Tailed, Transport, WatchOptions, Watched,
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::client::{Client as Raw, number, text};
use crate::support::http::escaped;
use crate::support::library::Program;
use crate::support::paper::Paper;
use crate::support::relay::{Relay, Treatment};
use crate::support::scenario;
use crate::support::server::{Server, Way};
use crate::support::tailing::Tailing;
use crate::support::watcher::Watcher;
use crate::support::{PASSWORD, count, until};

/// How many scenarios run at once; most of their time they wait.
const LANES: usize = 3;

#[test]
fn every_scenario_that_client_libraries_share_holds() {
    let scenarios = Mutex::new(scenario::all().into_iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let next = scenarios.lock().unwrap().next();
                    let Some(scenario) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| scenario.run())).is_err() {
                        failed.lock().unwrap().push(scenario.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these do not hold: {failed:#?}");
}

const TRANSPORTS: [Transport; 3] = [Transport::Sse, Transport::Poll, Transport::WebSocket];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn behind_a_relay_that_mistreats_it_the_library_ends_with_the_state_of_a_fresh_boot() {
    let rounds = count("SCROLLBACK_CLIENT_ROUNDS", 4);
    let (server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let channel = owner.create_channel("general");
    let token = owner.token("relayed");
    let runtime = runtime();
    // A poll that nobody answers is waited for longer than a test wants to.
    let heard: Vec<Treatment> = Treatment::BAD.into_iter().filter(|bad| *bad != Treatment::Hush).collect();
    let programs = TRANSPORTS.map(|transport| {
        let treatments = if transport == Transport::Poll { &heard[..] } else { &Treatment::BAD };
        let relay = Relay::to(&server.address, treatments, transport as u64);
        let client = Library::new(&format!("http://{}", relay.address().get()), &token).unwrap();
        // As many as there will be: a state keeps all that it was told, a boot brings the newest.
        (Program::start(&runtime, client.messages(500), transport), relay)
    });
    let mut said = 0;
    for _ in 0..rounds {
        let gone = text(&owner.say(&channel, "goes"), "id");
        let mut last = 0;
        for _ in 0..8 {
            said += 1;
            last = number(&owner.say(&channel, &format!("{said} {}", "x".repeat(1_000))), "offset");
        }
        owner.delete(&format!("/api/messages/{gone}")).ok(200);
        for (program, _) in &programs {
            program.until(&format!("offset {last}"), |state| state.offset() >= last);
        }
        // Who was treated so that it goes on, only slowly, is treated otherwise in the next round.
        for (_, relay) in &programs {
            relay.kill();
            relay.come_back();
        }
    }
    let served = programs.each_ref().map(|(_, relay)| relay.served());
    eprintln!("connections: {served:?}");
    assert!(served.iter().all(|served| *served > rounds), "too little happened to prove anything");
    for (program, relay) in &programs {
        relay.treat(&[Treatment::Pass]);
        program.is_as_booted(&runtime, &mut owner);
        program.booted(1);
    }
}

#[test]
fn behind_a_relay_that_mistreats_it_a_tail_is_told_of_everything_that_its_filters_choose_and_of_nothing_twice()
 {
    let rounds = count("SCROLLBACK_CLIENT_ROUNDS", 4);
    let (server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let [general, news] = ["general", "news"].map(|name| owner.create_channel(name));
    let token = owner.token("relayed");
    let runtime = runtime();
    let filter = json!([["channel", "=", general]]);
    let query = escaped(&filter.to_string());
    // A poll that nobody answers is waited for longer than a test wants to.
    let heard: Vec<Treatment> = Treatment::BAD.into_iter().filter(|bad| *bad != Treatment::Hush).collect();
    let tails = TRANSPORTS.map(|transport| {
        let treatments = if transport == Transport::Poll { &heard[..] } else { &Treatment::BAD };
        let relay = Relay::to(&server.address, treatments, transport as u64);
        let client = Library::new(&format!("http://{}", relay.address().get()), &token).unwrap();
        let options = TailOptions::default().transport(transport).filter(filter.clone());
        (Tailing::start(&runtime, &client, Start::After("0".into()), options), relay)
    });
    for round in 0..rounds {
        for said in 0..12 {
            owner.say(&general, &format!("{round} {said} {}", "x".repeat(1_000)));
            owner.say(&news, "not for them");
        }
        let chosen = owner.get(&format!("/api/events/poll?after=0&limit=500&filter={query}")).ok(200);
        let chosen = chosen["events"].as_array().unwrap();
        for (tail, relay) in &tails {
            assert_eq!(tail.told(chosen.len()), *chosen);
            relay.kill();
            relay.come_back();
        }
    }
    let served = tails.each_ref().map(|(_, relay)| relay.served());
    assert!(
        served.iter().all(|served| *served > rounds),
        "too little happened to prove anything: {served:?}"
    );
}

#[test]
fn behind_a_relay_that_mistreats_it_a_watch_is_told_of_everything_and_of_nothing_twice() {
    let rounds = count("SCROLLBACK_CLIENT_ROUNDS", 4);
    let (server, mut owner) = Server::set_up(&["--heartbeat", "1s"]);
    let channels = ["general", "news"].map(|name| owner.create_channel(name));
    let token = owner.token("relayed");
    let runtime = runtime();
    // A request that nobody answers is waited for longer than a test wants to.
    let heard: Vec<Treatment> = Treatment::BAD.into_iter().filter(|bad| *bad != Treatment::Hush).collect();
    let watchers = [Means::Sse, Means::Poll].map(|means| {
        let relay = Relay::to(&server.address, &heard, means as u64);
        let client = Library::new(&format!("http://{}", relay.address().get()), &token).unwrap();
        let options = WatchOptions::default().means(means).max_delay(Duration::ZERO);
        let options = options.anew_every(Duration::from_secs(2));
        (Watcher::start(&runtime, &client, channels.iter().collect::<Watched>(), options), relay)
    });
    for round in 0..rounds {
        for said in 0..60 {
            // The other one is quiet for this round, until its end.
            let busy = if said < 59 { round } else { round + 1 };
            owner.say(&channels[busy % 2], &format!("{round} {said}"));
        }
        let listed = owner.get("/api/channels").ok(200);
        for (watcher, relay) in &watchers {
            for channel in &channels {
                let listed = listed["channels"].as_array().unwrap().iter();
                let newest = listed.clone().find(|listed| listed["id"] == **channel).unwrap();
                watcher.told(channel, number(newest, "last_offset"));
            }
            relay.kill();
            relay.come_back();
        }
    }
    for (watcher, relay) in &watchers {
        watcher.never_went_back();
        assert!(relay.served() > rounds, "too little happened to prove anything: {}", relay.served());
    }
}

#[test]
fn inside_tls_the_library_follows_whom_it_trusts_and_nobody_else() {
    let (paper, other) = (Paper::new(), Paper::new());
    let options = paper.options();
    let server = Server::started(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let mut owner = Raw::new(server.address.by(Way { trust: Some(paper.trust.clone()), ..Way::default() }));
    let set_up = owner.post("/api/setup", &json!({"name": "ada", "password": PASSWORD}));
    owner.adopt(&set_up);
    let (channel, token) = (owner.create_channel("general"), owner.token("inside"));
    let url = format!("https://localhost:{}", server.address.get().port());
    let runtime = runtime();
    for transport in TRANSPORTS {
        let client = Library::with_tls(&url, &token, paper.trust.clone()).unwrap();
        let program = Program::start(&runtime, client, transport);
        program.booted(1);
        owner.say(&channel, &format!("{transport:?}"));
        program.is_as_booted(&runtime, &mut owner);
        let deceived = Library::with_tls(&url, &token, other.trust.clone()).unwrap();
        let ended = Program::start(&runtime, deceived, transport).ended();
        assert!(matches!(ended, Ended::Untrusted(_)), "{ended:?}");
    }
}

/// How many sessions there are, and how many of them nobody has now.
fn sessions(server: &Server) -> [Option<u64>; 2] {
    ["", "_kept"].map(|which| server.client().figure(&format!("scrollback_websocket_sessions{which}")))
}

#[test]
fn over_websocket_more_than_a_window_comes_by_one_session_which_is_gone_on_with_when_its_socket_breaks() {
    // The server lets no more than that be under way unacknowledged.
    const WINDOW: usize = 1_000;
    let (server, mut owner) = Server::set_up(&[]);
    let (channel, token) = (owner.create_channel("general"), owner.token("session"));
    let runtime = runtime();
    let relay = Relay::to(&server.address, &[Treatment::Pass], 1);
    let client = Library::new(&format!("http://{}", relay.address().get()), &token).unwrap();
    let options = TailOptions::default().transport(Transport::WebSocket);
    let options = options.filter(json!([["event", "=", "sent"]]));
    let tail = Tailing::start(&runtime, &client, Start::Now, options);
    tail.caught_up();
    let program = Program::start(&runtime, client, Transport::WebSocket);
    program.booted(1);
    let mut said = 0;
    let mut say = |count: usize| {
        let last =
            (0..count).map(|n| number(&owner.say(&channel, &format!("{n}")), "offset")).last().unwrap();
        program.until(&format!("offset {last}"), |state| state.offset() >= last);
        said += count;
        tail.told(said);
    };
    say(WINDOW + 10);
    relay.kill();
    relay.come_back();
    say(1);
    assert_eq!(sessions(&server), [Some(2), Some(0)]);
}

#[test]
fn a_tail_that_takes_leave_leaves_no_session_behind() {
    let (server, mut owner) = Server::set_up(&[]);
    let token = owner.token("leaves");
    let client = Library::new(&format!("http://{}", server.address.get()), &token).unwrap();
    runtime().block_on(async {
        let options = TailOptions::default().transport(Transport::WebSocket);
        let mut tail = client.tail(Start::Now, options);
        while !matches!(tail.next().await.unwrap(), Tailed::CaughtUp) {}
        tail.close().await;
    });
    until("no session is left or kept", || (sessions(&server) == [Some(0); 2]).then_some(()));
}
