//! One setting after the other, and that nothing of an old one comes through.

use serde_json::json;

use super::double::{Double, State, bye, changed, gone};
use super::*;

#[tokio::test(start_paused = true)]
async fn after_a_replacement_nothing_comes_through_the_old_setting_whatever_its_server_goes_on_to_send() {
    let (server, client) = Double::start(&[("A", 1), ("B", 2), ("C", 3)]);
    // Under its own epoch, and under those that were not given yet.
    fn keep_sending(state: &mut State) {
        let old = state.old.as_ref().unwrap();
        for epoch in 1..6 {
            let _ = old.send(changed(epoch, &[("A", NEVER), ("B", NEVER), ("C", NEVER)]));
        }
    }
    let mut watch = client.watch(Watched::new().channel("A").channel("B"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    // One notice of two channels, of which the second was not told yet; and more that was sent and not read.
    server.with(|state| state.tell(&changed(1, &[("A", 4), ("B", 5)])));
    assert_eq!(next(&mut watch).await, Ok(told("A", 4)));
    server.with(|state| {
        state.old = state.streams.pop();
        keep_sending(state);
        state.when_asked = Some(keep_sending);
    });
    watch.replace(Watched::new().channel("B").channel("C"));
    let mut through_the_old_one = 0;
    // As long as somebody listens, and no longer than that.
    for _ in 0..50 {
        server.with(keep_sending);
        match next(&mut watch).await.unwrap() {
            Notice::Changed { offset: 3, .. } => {}
            Notice::CaughtUp => break,
            _ => through_the_old_one += 1,
        }
    }
    assert_eq!(through_the_old_one, 0);
    let expected = json!([{"id": "B", "since": 2}, {"id": "C"}]);
    assert_eq!(last_set(&server), expected, "what was not told is not known");
}

#[tokio::test(start_paused = true)]
async fn a_straggler_of_another_epoch_is_dropped() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    watch.replace(Watched::new().channel("A"));
    until_caught_up(&mut watch).await;
    server.with(|state| {
        state.tell(&changed(1, &[("A", NEVER)]));
        state.tell(&gone(1, "A", "deleted"));
        state.tell("id: 1.1000-00000000\nevent: checkpoint\ndata: {}\n\n");
        state.tell(&changed(3, &[("A", NEVER)]));
        // Without an id, as if more of it were to come.
        state.tell(&changed(2, &[("A", 9)]).replacen("id", "not-id", 1));
    });
    assert_eq!(next(&mut watch).await, Ok(told("A", 9)));
    assert_eq!(watch.watched().place, None, "nor does it say where the log stands");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_somebody_else_has_set_is_set_again_but_not_over_and_over() {
    for means in MEANS {
        let (server, client) = Double::start(&[("A", 1)]);
        let mut watch = client.watch(Watched::new().channel("A"), named(means));
        until_caught_up(&mut watch).await;
        let mut waits = Vec::new();
        while waits.len() < 12 {
            // Another program sets it as soon as this one is back.
            server.with(|state| {
                state.epoch += 1;
                state.set = Some(state.epoch);
                if means == Means::Sse {
                    state.tell(&bye("replaced"));
                    state.streams.clear();
                }
            });
            if let Notice::Away { retry_in, .. } = next(&mut watch).await.unwrap() {
                waits.push(retry_in);
            }
        }
        assert!(waits[11] > waits[0] * 20, "{means:?}: {waits:?}");
        let offset = server.change("A");
        loop {
            if next(&mut watch).await == Ok(told("A", offset)) {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_another_setting_is_not_read() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    assert_eq!(next(&mut watch).await, Ok(told("A", 1)));
    // A request of our own that was given up is carried out late, between the setting and its stream.
    server.lock().set = Some(77);
    server.lock().epoch = 77;
    assert!(matches!(next(&mut watch).await, Ok(Notice::Away { .. })));
    assert_eq!(until_caught_up(&mut watch).await, []);
    assert_eq!(server.lock().epoch, 78);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_ended_is_ended_on_the_server_too_and_asks_for_nothing_more() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    fn old_stream_is_closed(state: &mut State) {
        assert!(state.streams[0].is_closed(), "it was dropped before");
    }
    server.with(|state| state.when_asked = Some(old_stream_is_closed));
    watch.unwatch().await.unwrap();
    assert_eq!(server.lock().asked.last().unwrap().line, "DELETE /api/watch/w");
    assert_eq!(server.lock().set, None);
}
