//! Asking how things stand.

use std::future::poll_fn;
use std::task::Poll;

use super::double::Double;
use super::*;

#[tokio::test(start_paused = true)]
async fn by_hand_nothing_is_asked_for_until_it_is_checked_and_then_once_without_waiting() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Manual));
    assert_eq!(until_caught_up(&mut watch).await, [told("A", 1)]);
    let offset = server.change("A");
    tokio::time::timeout(Duration::from_secs(3_600), watch.next()).await.unwrap_err();
    assert_eq!(server.lock().asked.len(), 1, "it was set, and that was all");
    // A setting that is not relied upon any more is set anew instead, which says the same.
    watch.check();
    assert_eq!(until_caught_up(&mut watch).await, [told("A", offset)]);
    assert_eq!(server.asked("PUT").len(), 2);
    let offset = server.change("A");
    watch.check();
    assert_eq!(until_caught_up(&mut watch).await, [told("A", offset)]);
    assert_eq!(server.asked("GET")[0].line, "GET /api/watch/w/changes?wait=0");
    assert_eq!(server.lock().asked.len(), 3);
    // Its lease has ended meanwhile.
    server.restart();
    let offset = server.change("A");
    watch.check();
    assert_eq!(until_caught_up(&mut watch).await, [told("A", offset)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_a_stream_can_check_beside_it() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    until_caught_up(&mut watch).await;
    // What was lost is behind where the reader stands by now.
    server.lock().mute = true;
    let offset = server.change("A");
    server.with(|state| state.tell("id: 1.9-00000000\nevent: checkpoint\ndata: {}\n\n"));
    let _ = tokio::time::timeout(Duration::from_secs(1), watch.next()).await;
    assert_eq!(watch.watched().place.as_deref(), Some("9-00000000"));
    server.lock().mute = false;
    watch.check();
    assert_eq!(until_caught_up(&mut watch).await, [told("A", offset)]);
    let offset = server.change("A");
    assert_eq!(next(&mut watch).await, Ok(told("A", offset)), "the stream goes on");
    assert_eq!(server.asked("GET /api/watch/w/events").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_does_not_wait_for_the_next_try() {
    let (server, client) = Double::start(&[("A", 1)]);
    for _ in 0..9 {
        server.lock().instead.push_back(("PUT", 503, json!({"code": "busy", "detail": ""})));
    }
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Sse));
    for _ in 0..9 {
        next(&mut watch).await.unwrap();
    }
    let began = Instant::now();
    watch.check();
    assert_eq!(until_caught_up(&mut watch).await, [told("A", 1)]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn polls_keep_the_pause_between_notices_that_a_stream_would_have() {
    let (server, client) = Double::start(&[("A", 1)]);
    let pause = Duration::from_secs(2);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Poll).max_delay(pause));
    until_caught_up(&mut watch).await;
    let mut at = Vec::new();
    for _ in 0..5 {
        for _ in 0..3 {
            server.change("A");
        }
        let offset = server.lock().head;
        assert_eq!(next(&mut watch).await, Ok(told("A", offset)));
        at.push(Instant::now());
    }
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= pause), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_is_not_answered_by_what_was_asked_before_it() {
    let (server, client) = Double::start(&[("A", 1)]);
    let mut watch = client.watch(Watched::new().channel("A"), named(Means::Manual));
    // The watch is being set: polled until the server has answered, and not until that is read.
    while server.lock().epoch == 0 {
        {
            let mut next = std::pin::pin!(watch.next());
            let polled = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "{polled:?}");
        }
        tokio::task::yield_now().await;
    }
    let offset = server.change("A");
    watch.check();
    let mut notices = until_caught_up(&mut watch).await;
    notices.extend(until_caught_up(&mut watch).await);
    assert_eq!(notices, [told("A", 1), told("A", offset)]);
}
