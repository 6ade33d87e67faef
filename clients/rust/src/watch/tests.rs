//! Watches against a server that does what a good one never does. Time is that of the test: it stands while anybody works.

mod asking;
mod double;
mod losses;
mod settings;

use std::task::Poll;

use double::Double;
use serde_json::{Value, json};

use super::*;

/// Beyond every offset that the server's log has.
const NEVER: u64 = 1_000_000;
const MEANS: [Means; 2] = [Means::Sse, Means::Poll];

fn named(means: Means) -> WatchOptions {
    WatchOptions::default().name("w").means(means)
}

fn told(channel: &str, offset: u64) -> Notice {
    Notice::Changed { channel: channel.into(), offset }
}

/// The next notice, which comes within an hour of the test's time or never.
async fn next(watch: &mut Watch) -> Result<Notice, Ended> {
    tokio::time::timeout(Duration::from_secs(3_600), watch.next()).await.expect("a notice")
}

/// What is told up to the next time that everything is.
async fn until_caught_up(watch: &mut Watch) -> Vec<Notice> {
    let mut notices = Vec::new();
    loop {
        match next(watch).await.unwrap() {
            Notice::CaughtUp => return notices,
            notice => notices.push(notice),
        }
    }
}

/// What the last setting has asked for.
fn last_set(server: &Double) -> Value {
    server.asked("PUT /api/watch/w").last().expect("it was set").body["watch"].clone()
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_what_is_newer_than_what_they_know_and_then_what_changes() {
    for means in MEANS {
        let (server, client) = Double::start(&[("A", 3), ("B", 5), ("C", 7)]);
        let watched = Watched::new().channel("A").channel_at("B", 5).channel_at("C", 6).channel("D");
        let mut watch = client.watch(watched, named(means).max_delay(Duration::from_millis(40)));
        let expected =
            [told("A", 3), told("C", 7), Notice::Gone { channel: "D".into(), why: Gone::NotFound }];
        assert_eq!(until_caught_up(&mut watch).await, expected, "{means:?}");
        let body = &server.asked("PUT /api/watch/w")[0].body;
        assert_eq!(body["max_delay_ms"], 40);
        assert_eq!(
            body["watch"],
            json!([{"id": "A"}, {"id": "B", "since": 5}, {"id": "C", "since": 6}, {"id": "D"}])
        );
        for channel in ["B", "A", "B"] {
            let offset = server.change(channel);
            assert_eq!(next(&mut watch).await, Ok(told(channel, offset)), "{means:?}");
        }
        let known = Watched::new().channel_at("A", 9).channel_at("B", 10).channel_at("C", 7);
        assert_eq!(Watched { place: None, ..watch.watched() }, known);
        assert!(watch.watched().place.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_may_be_dropped_at_any_time_and_nothing_is_lost_or_told_twice() {
    for means in MEANS {
        let (server, client) = Double::start(&[("A", 1), ("B", 2)]);
        let options = named(means).anew_every(Duration::from_secs(1)).max_delay(Duration::ZERO);
        let mut watch = client.watch(Watched::new().channel("A").channel("B"), options);
        let (mut seen, mut dropped, mut polls) = (BTreeSeen::default(), 0, 0);
        for round in 0..4_000 {
            if round % 10 == 0 && round < 3_000 {
                server.change(if round % 20 == 0 { "A" } else { "B" });
            }
            if round % 700 == 0 {
                server.restart();
            }
            let mut next = std::pin::pin!(watch.next());
            polls += 1;
            match std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
                Poll::Ready(notice) => seen.take(notice.unwrap()),
                Poll::Pending => {
                    dropped += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        let newest = server.lock().newest.clone();
        assert_eq!(seen.0, newest, "{means:?}: {polls} polls, {dropped} dropped");
        assert!(dropped > 100);
    }
}

/// The newest that was told of each channel, which never goes back.
#[derive(Default)]
struct BTreeSeen(std::collections::BTreeMap<String, u64>);

impl BTreeSeen {
    fn take(&mut self, notice: Notice) {
        if let Notice::Changed { channel, offset } = notice {
            let before = self.0.insert(channel, offset);
            assert!(before < Some(offset), "{before:?}, then {offset}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_over_for_good_only_when_it_is_no_use_to_go_on_and_what_is_known_stays() {
    let unauthenticated = || (401, json!({"code": "unauthenticated", "detail": ""}));
    let bad = || (400, json!({"code": "bad_watch", "detail": "too long"}));
    for (status, body) in [unauthenticated(), bad()] {
        let (server, client) = Double::start(&[("A", 1)]);
        let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
        until_caught_up(&mut watch).await;
        server.lock().instead.push_back(("PUT", status, body));
        server.restart();
        let ended = loop {
            if let Err(ended) = next(&mut watch).await {
                break ended;
            }
        };
        assert_eq!(matches!(ended, Ended::Unauthenticated), status == 401, "{ended:?}");
        assert_eq!(next(&mut watch).await, Err(ended));
        assert_eq!(watch.watched().channels().collect::<Vec<_>>(), [("A", Some(1))]);
    }
}
