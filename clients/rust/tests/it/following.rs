//! Following.

use std::time::{Duration, Instant};

use scrollback_client::{Boots, Ended, Transport, Update};

use super::fake::{Fake, Reply, begun, boot, hello, impatiently, message, path};

#[tokio::test]
async fn who_is_asked_to_wait_waits() {
    let fake = Fake::start(|_, before| match before {
        0 => Reply::json(503, "retry-after: 1\r\n", r#"{"code":"starting","detail":""}"#),
        _ => boot(),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let began = Instant::now();
    let away = follower.next().await.unwrap();
    assert!(
        matches!(&away, Update::Away { retry_in, .. } if *retry_in >= Duration::from_secs(1)),
        "{away:?}"
    );
    assert_eq!(follower.next().await, Ok(Update::Booted(Boots::First)));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_stream_that_is_silent_for_some_heartbeats_is_given_up_and_opened_where_it_was() {
    let fake = Fake::start(|request, before| match path(request) {
        "/api/boot" => boot(),
        _ if before == 0 => Reply::stream(&(begun(2, 1) + &message(3)), true),
        _ => Reply::stream(&(hello() + &message(4)), true),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let mut away = Vec::new();
    let following = async {
        while follower.state().is_none_or(|state| state.offset() < 4) {
            if let Update::Away { why, .. } = follower.next().await.unwrap() {
                away.push(why.what);
            }
        }
    };
    // Without the word of the server it would take three times 15 s.
    tokio::time::timeout(Duration::from_secs(30), following).await.expect("it is given up");
    assert_eq!(away, ["the stream is silent"]);
    let asked = fake.asked("/api/events");
    assert!(asked[0].contains("?resume_point=2-00000002 "), "{}", asked[0]);
    assert!(asked[1].contains("?resume_point=3-00000003 "), "{}", asked[1]);
}

#[tokio::test]
async fn waiting_may_be_dropped_at_any_time_and_nothing_is_lost_or_seen_twice() {
    const LAST: u64 = 60;
    let fake = Fake::start(|request, before| match path(request) {
        "/api/boot" => boot(),
        // The second time some come again, which a good server does not do.
        _ if before == 0 => Reply::stream(&(hello() + &(3..40).map(message).collect::<String>()), false),
        _ => Reply::stream(&(hello() + &(30..=LAST).map(message).collect::<String>()), true),
    })
    .await;
    let mut follower = fake.client().follow(Transport::Sse);
    let (mut seen, mut dropped) = (Vec::new(), 0);
    while seen.last() != Some(&LAST) {
        match impatiently(follower.next()).await {
            Some(update) => {
                if let Update::Event(event) = update.unwrap() {
                    seen.push(event.offset);
                }
            }
            None => dropped += 1,
        }
    }
    assert_eq!(seen, (3..=LAST).collect::<Vec<_>>());
    let known = follower.state().unwrap();
    assert_eq!(known.messages("C2").count(), seen.len());
    assert!(dropped > 0, "it was never dropped");
}

#[tokio::test]
async fn who_is_no_user_any_more_is_told_so_for_good() {
    let fake = Fake::start(|request, _| match path(request) {
        "/api/boot" => boot(),
        _ => Reply::json(401, "", r#"{"code":"unauthenticated","detail":""}"#),
    })
    .await;
    for transport in [Transport::Sse, Transport::Poll, Transport::WebSocket] {
        let mut follower = fake.client().follow(transport);
        assert_eq!(follower.next().await, Ok(Update::Booted(Boots::First)));
        for _ in 0..2 {
            assert_eq!(follower.next().await, Err(Ended::Unauthenticated), "{transport:?}");
        }
        assert_eq!(follower.close().await.unwrap().offset(), 2, "what is known stays");
    }
}
