//! What is lost on the way is made up for.

use serde_json::json;

use super::double::{Double, State};
use super::*;

#[tokio::test(start_paused = true)]
async fn with_a_server_that_drops_every_notice_nobody_is_later_than_the_interval() {
    let interval = Duration::from_secs(60);
    for means in MEANS {
        let (server, client) = Double::start(&[("A", 1), ("B", 2)]);
        server.lock().mute = true;
        let options = named(means).anew_every(interval);
        let mut watch = client.watch(Watched::new().channel("A").channel("B"), options);
        until_caught_up(&mut watch).await;
        for round in 0..30_u32 {
            // At any time between two settings.
            let idle = tokio::time::timeout(interval.mul_f64(f64::from(round) / 23.0), async {
                loop {
                    let notice = next(&mut watch).await.unwrap();
                    assert_eq!(notice, Notice::CaughtUp, "there is nothing to tell");
                }
            });
            idle.await.unwrap_err();
            let channel = ["A", "B"][round as usize % 2];
            let (offset, since) = (server.change(channel), Instant::now());
            loop {
                match next(&mut watch).await.unwrap() {
                    Notice::CaughtUp => {}
                    notice => {
                        assert_eq!(notice, told(channel, offset));
                        break;
                    }
                }
            }
            assert!(since.elapsed() <= interval, "{means:?}: {:?}", since.elapsed());
        }
        assert!(server.asked("PUT").len() > 20);
    }
}

#[test]
fn settings_are_relied_upon_for_the_interval_at_most_and_not_all_for_as_long() {
    let interval = Duration::from_secs(300);
    assert_eq!(relied_upon(interval, 0.0), interval);
    assert_eq!(relied_upon(interval, 1.0), Duration::from_secs(225));
    assert_eq!(named(Means::Sse).anew_every, interval, "if nothing was said");
    assert_eq!(named(Means::Sse).anew_every(Duration::ZERO).anew_every, Duration::from_secs(1));
    let most = named(Means::Sse).anew_every(Duration::MAX).anew_every;
    assert!(Instant::now().checked_add(most).is_some(), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_begins_anew_is_asked_again_with_what_was_told_and_nothing_is_lost_or_told_twice() {
    for means in MEANS {
        let (server, client) = Double::start(&[("A", 1), ("B", 2), ("C", 3)]);
        let watched = Watched::new().channel("A").channel("B").channel("C");
        let mut watch = client.watch(watched, named(means));
        until_caught_up(&mut watch).await;
        server.lock().mute = true;
        let offset = server.change("B");
        server.restart();
        server.lock().newest.remove("C");
        let mut notices = until_caught_up(&mut watch).await;
        notices.retain(|notice| !matches!(notice, Notice::Away { .. }));
        assert_eq!(notices, [told("B", offset), Notice::Gone { channel: "C".into(), why: Gone::NotFound }]);
        let expected = json!([{"id": "A", "since": 1}, {"id": "B", "since": 2}, {"id": "C", "since": 3}]);
        assert_eq!(last_set(&server), expected, "{means:?}");
        assert_eq!(server.asked("PUT").len(), 2);
        server.lock().mute = false;
        let offset = server.change("A");
        assert_eq!(next(&mut watch).await, Ok(told("A", offset)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_knows_what_was_set_is_not_asked_over_and_over() {
    let (server, client) = Double::start(&[("A", 1)]);
    fn forget(state: &mut State) {
        state.instead.push_back(("GET /api/watch", 404, json!({"code": "unknown_watch", "detail": ""})));
    }
    server.with(|state| state.when_asked = Some(forget));
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    let mut waits = Vec::new();
    while waits.len() < 10 {
        if let Notice::Away { retry_in, .. } = next(&mut watch).await.unwrap() {
            waits.push(retry_in);
        }
    }
    assert!(waits[9] > waits[0] * 20, "{waits:?}");
    assert!(server.lock().asked.len() < 50);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_for_some_heartbeats_is_opened_again_where_it_was() {
    let (server, client) = Double::start(&[("A", 1)]);
    server.lock().hushed = true;
    server.lock().heartbeat = 20;
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    let offset = server.change("A");
    assert_eq!(next(&mut watch).await, Ok(told("A", offset)));
    let began = Instant::now();
    let Ok(Notice::Away { why, .. }) = next(&mut watch).await else { panic!("it is not silent") };
    assert_eq!((why.what.as_str(), began.elapsed()), ("the stream is silent", Duration::from_secs(60)));
    until_caught_up(&mut watch).await;
    let opened = server.asked("GET /api/watch/w/events");
    assert_eq!(opened[1].line, "GET /api/watch/w/events?resume_point=1.2-00000000");
    assert_eq!(server.asked("PUT").len(), 1, "the setting was there all the time");
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_what_is_of_another_log_is_told_so_and_then_of_every_channel() {
    let cases =
        [(None, "ok", Elsewhere::Ahead), (Some("9-00000000"), "other_history", Elsewhere::OtherHistory)];
    for means in MEANS {
        for (place, resume, elsewhere) in cases {
            let (server, client) = Double::start(&[("A", 10), ("B", 12)]);
            server.lock().resume = resume;
            let known = if place.is_none() { NEVER } else { 12 };
            let watched = Watched::new().channel_at("A", known).channel_at("B", 12);
            let watched = Watched { place: place.map(str::to_owned), ..watched };
            let mut watch = client.watch(watched, named(means));
            let expected = [Notice::Elsewhere(elsewhere), told("A", 10), told("B", 12)];
            assert_eq!(until_caught_up(&mut watch).await, expected, "{means:?}");
            assert_eq!(last_set(&server), json!([{"id": "A"}, {"id": "B"}]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_taken_back_while_the_server_was_away_is_told_of() {
    let (server, client) = Double::start(&[("A", 10), ("B", 12)]);
    let mut watch = client.watch(Watched::new().channel("A").channel("B"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    // Its log has come to where it was again; only A's newest record shows it.
    server.with(|state| state.newest.extend([("A".to_owned(), 8)]));
    server.restart();
    let mut notices = until_caught_up(&mut watch).await;
    notices.retain(|notice| !matches!(notice, Notice::Away { .. }));
    assert_eq!(notices, [Notice::Elsewhere(Elsewhere::OtherHistory), told("A", 8), told("B", 12)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_the_server_must_show_that_its_log_is_the_one_that_was_told_of() {
    for means in [Means::Sse, Means::Poll, Means::Manual] {
        let (server, client) = Double::start(&[("A", 10)]);
        let mut watch = client.watch(Watched::new().channel("A"), named(means));
        until_caught_up(&mut watch).await;
        let offset = server.change("A");
        watch.check();
        assert_eq!(until_caught_up(&mut watch).await, [told("A", offset)]);
        assert_eq!(server.asked("GET /api/events").len(), 0, "{means:?}: there was no doubt");
        server.with(|state| state.resume = "other_history");
        server.restart();
        if means == Means::Manual {
            watch.check();
        }
        let mut notices = until_caught_up(&mut watch).await;
        notices.retain(|notice| !matches!(notice, Notice::Away { .. }));
        assert_eq!(notices, [Notice::Elsewhere(Elsewhere::OtherHistory), told("A", offset)]);
        let asked = &server.asked("GET /api/events")[0].line;
        // Behind the place there may be more than a bad connection carries, and nobody wants it.
        assert!(asked.ends_with("?after=11-00000000&limit=1"), "{asked}");
    }
}
