//! Arvados' event client while it, the server and a relay between them are killed at random: it comes back by itself, or is begun
//! again where it stood, and is told everything exactly once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::arvados::Site;
use crate::support::arvados_follower::{Follower, now};
use crate::support::arvados_rows::{is_without_text, must_be, shown_text};
use crate::support::client::{Client, Request, number, text};
use crate::support::count;
use crate::support::progress::{EndOnDrop, Progress};
use crate::support::random::Random;
use crate::support::relay::{Relay, Treatment};

/// One message in so many is deleted, one of the newest.
const DELETED_ONE_IN: u64 = 4;
const NEWEST: usize = 40;
/// Something is killed after at most so many answers to writers, and a relay or client is gone for at most so many.
const ANSWERS_MAX: u64 = 60;
/// A writer waits so long between two messages, so that the client catches up when it comes back.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(4);
/// How connections are treated while it is waited for the client: of a silence it learns only after 40 s.
const CALM: [Treatment; 5] =
    [Treatment::Pass, Treatment::Drip, Treatment::Cut, Treatment::DeafClient, Treatment::DeafServer];
const WILD: [Treatment; 6] = [
    Treatment::Pass,
    Treatment::Hush,
    Treatment::Cut,
    Treatment::Drip,
    Treatment::DeafClient,
    Treatment::DeafServer,
];

/// A message that was deleted, and when it was known to be.
struct Deleted {
    id: String,
    known: u64,
}

/// Writes and deletes until all is over.
fn write(name: &str, mut client: Client, channel: &str, progress: &Progress) -> Vec<Deleted> {
    let mut random = Random::new(0xA27A + name.len() as u64);
    let (mut newest, mut deleted) = (Vec::new(), Vec::new());
    for n in 0_u64.. {
        if progress.is_over() {
            break;
        }
        let key = format!("{name}-{n}");
        let length = random.below(300) as usize;
        let body = format!("{key} \u{1f600} {}.", random.words(length));
        let request = Request::post(&format!("/api/channels/{channel}"), &json!({"body": body})).key(&key);
        newest.push(text(&client.insist(&request, &[201]).1, "id"));
        progress.step();
        if random.one_in(DELETED_ONE_IN) {
            let id = newest.swap_remove(random.below(newest.len() as u64) as usize);
            client.insist(&Request::new("DELETE", &format!("/api/messages/{id}")), &[200, 404]);
            deleted.push(Deleted { id, known: now() });
            progress.step();
        }
        if newest.len() > NEWEST {
            newest.remove(0);
        }
        std::thread::sleep(BETWEEN_MESSAGES);
    }
    deleted
}

/// No text was sent after it was known to be deleted. Returns how many came without theirs.
fn check_texts(follower: &Follower, deleted: &[Deleted]) -> usize {
    for connection in &follower.connections {
        for shown in connection.rows.iter().filter_map(shown_text) {
            let gone = deleted.iter().find(|deleted| deleted.id == shown);
            assert!(
                gone.is_none_or(|gone| gone.known > connection.since),
                "{shown} was told on a connection that began after its deletion"
            );
        }
    }
    follower.rows().filter(|row| is_without_text(row)).count()
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_is_told_everything_once_whatever_is_killed() {
    let cycles = count("SCROLLBACK_ARVADOS_CYCLES", 12);
    let mut site = Site::new(&["--heartbeat", "1s"]);
    let relay = Relay::to(&site.server.address, &WILD, 0xA27);
    let clients = site.clients.at(relay.address().get());
    let mut follower = Follower::from_the_beginning(move |last| clients.events(&[json!([])], last));
    let mut random = Random::new(0xA270);
    let mut kills = [0; 3];
    let progress = Progress::default();
    let deleted: Vec<Deleted> = std::thread::scope(|scope| {
        let end = EndOnDrop(&progress);
        let writers = ["one", "second"].map(|name| {
            let (client, channel, progress) = (site.owner.clone(), site.channel.clone(), &progress);
            scope.spawn(move || write(name, client, &channel, progress))
        });
        for _ in 0..cycles {
            progress.wait_for(1 + random.below(ANSWERS_MAX));
            relay.treat(&CALM);
            let kind = random.below(3) as usize;
            kills[kind] += 1;
            match kind {
                0 => {
                    site.server.kill9();
                    site.server.start();
                }
                1 => {
                    relay.kill();
                    progress.wait_for(1 + random.below(ANSWERS_MAX));
                    relay.come_back();
                }
                _ => {
                    follower.kill();
                    progress.wait_for(1 + random.below(ANSWERS_MAX));
                    follower.begin_again();
                }
            }
            if random.one_in(2) {
                let said = site.say("seen before anything else is killed");
                follower.receive(said);
            }
            relay.treat(&WILD);
        }
        drop(end);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    // Nothing breaks any more, and a silence that has begun ends.
    relay.treat(&[Treatment::Pass]);
    relay.kill();
    relay.come_back();
    let last = site.say("the last word");
    follower.receive(last);
    follower.close();
    let rows = site.rows();
    let masked = check_texts(&follower, &deleted);
    eprintln!(
        "kills: {} of the server, {} of the relay, {} of the client; {} events, {} messages deleted, {masked} told without \
         their text; the client was begun {} times, came {} times and was told something on {} connections",
        kills[0],
        kills[1],
        kills[2],
        rows.len(),
        deleted.len(),
        follower.begun,
        relay.served(),
        follower.connections.iter().filter(|connection| !connection.rows.is_empty()).count()
    );
    follower.must_have_been_told(&rows);
    assert!(
        rows.len() > 10 * cycles && masked > 0 && relay.served() > cycles,
        "too little happened to prove anything"
    );
    let clients = site.clients.clone();
    let mut afterwards = Follower::from_the_beginning(move |last| clients.events(&[json!([])], last));
    afterwards.receive(last);
    check_texts(&afterwards, &deleted);
    afterwards.must_have_been_told(&rows);
    site.server.stop();
    site.server.operate("verify", &[]).must_exit(0);
}

#[test]
#[ignore = "needs arvados-python-client, which tools/test installs"]
fn arvados_event_client_with_two_filters_is_told_each_event_once_a_connection_after_it_came_back() {
    let mut site = Site::new(&[]);
    let relay = Relay::to(&site.server.address, &[Treatment::Pass], 0xA272);
    let clients = site.clients.at(relay.address().get());
    // Of messages both, or one of them; of channels the first; a channel's deletion neither.
    let filters =
        [json!([["event_type", "=", "create"]]), json!([["object_kind", "=", "scrollback#message"]])];
    let mut follower = Follower::from_the_beginning(move |last| clients.events(&filters, last));
    let mut last = 0;
    for kill in 0..4 {
        for n in 0..10 {
            let channel = site.owner.create_channel(&format!("channel {kill} {n}"));
            let message = site.say_and_name(&format!("message {kill}/{n}"));
            site.owner.delete(&format!("/api/channels/{channel}")).ok(200);
            site.delete(&message);
            last = site.say(&format!("message {kill}/{n}, to stay"));
            if n == 4 && kill < 3 {
                // The rest is written while the client is away.
                follower.receive(last);
                relay.kill();
            }
        }
        site.server.kill9();
        site.server.start();
        relay.come_back();
    }
    follower.receive(last);
    follower.close();
    let rows: Vec<Value> = site
        .rows()
        .into_iter()
        .filter(|row| row["event_type"] == "create" || row["object_kind"] == "scrollback#message")
        .collect();
    assert_eq!(follower.begun, 1, "{:?}", follower.log);
    assert!(follower.connections.len() > 3, "{:?}", follower.log);
    // The first connection's filters are sent one after the other, so what they match may come in two passes.
    let mut told: Vec<&Value> = follower.rows().collect();
    let first = follower.connections[0].rows.len();
    told[..first].sort_by_key(|row| number(row, "id"));
    must_be(&told, &rows);
    follower.must_have_counted();
}
