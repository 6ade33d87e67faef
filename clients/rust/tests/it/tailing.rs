//! Reading the tail of the log.

use scrollback_client::{Elsewhere, Ended, Start, Tail, TailOptions, Tailed, Transport};
use serde_json::json;

use super::fake::{Fake, Reply, begun, hello, impatiently, message, path};

/// The offsets of the next events, so many of them, and what happened between.
async fn read(tail: &mut Tail, count: usize) -> (Vec<u64>, Vec<String>) {
    let (mut offsets, mut away) = (Vec::new(), Vec::new());
    while offsets.len() < count {
        match tail.next().await.unwrap() {
            Tailed::Event(event) => offsets.push(event.read().unwrap().offset),
            Tailed::Away { why, .. } => away.push(why.what),
            _ => {}
        }
    }
    (offsets, away)
}

fn page(offsets: std::ops::RangeInclusive<u64>) -> Reply {
    let last = *offsets.end();
    let events: Vec<String> =
        offsets.map(|offset| message(offset).lines().nth(2).unwrap()["data: ".len()..].to_owned()).collect();
    let events = events.join(",");
    Reply::json(
        200,
        "",
        &format!(r#"{{"resume":"ok","events":[{events}],"next":"{last}-0000000{last}","head":{last}}}"#),
    )
}

#[tokio::test]
async fn a_tail_that_loses_its_stream_before_any_event_goes_on_where_that_began() {
    let fake = Fake::start(|_, before| match before {
        0 => Reply::stream(&begun(2, 15), false),
        _ => Reply::stream(&(begun(2, 15) + &message(3)), true),
    })
    .await;
    let mut tail = fake.client().tail(Start::Now, TailOptions::default());
    assert_eq!(read(&mut tail, 1).await.0, [3]);
    let asked = fake.asked("/api/events");
    assert!(asked[0].contains("/api/events?resume_point=now "), "{}", asked[0]);
    assert!(asked[1].contains("/api/events?resume_point=2-00000002 "), "{}", asked[1]);
    assert_eq!(tail.start(), &Start::After("3-00000003".into()));
}

#[tokio::test]
async fn a_tail_asks_for_its_filters_and_its_start_wherever_it_goes_on() {
    let escaped = "&filter=%5B%5B%22type%22%2C%22%3D%22%2C%22message%22%5D%5D&filter=%5B%5D";
    let fake = Fake::start(|request, before| match (path(request), before) {
        ("/api/events", 0) => Reply::stream(&(hello() + &message(3)), false),
        ("/api/events", _) => Reply::stream(&(hello() + &message(4)), true),
        (_, 0) => page(3..=4),
        _ => page(5..=5),
    })
    .await;
    let options = TailOptions::default().filter(json!([["type", "=", "message"]])).filter(json!([]));
    let mut tail = fake.client().tail(Start::Last(7), options.clone());
    read(&mut tail, 2).await;
    let asked = fake.asked("/api/events");
    assert!(asked[0].contains(&format!("?last=7{escaped} ")), "{}", asked[0]);
    assert!(asked[1].contains(&format!("?resume_point=3-00000003{escaped} ")), "{}", asked[1]);

    let mut tail =
        fake.client().tail(Start::Since("2026-11-21T14:13:41Z".into()), options.transport(Transport::Poll));
    assert_eq!(read(&mut tail, 3).await.0, [3, 4, 5]);
    let asked = fake.asked("/api/events/poll");
    assert!(asked[0].contains(&format!("?since=2026-11-21T14%3A13%3A41Z{escaped}&wait=0&")), "{}", asked[0]);
    assert!(asked[1].contains(&format!("?after=4-00000004{escaped}&")), "{}", asked[1]);
}

#[tokio::test]
async fn an_event_is_given_as_it_was_written_and_one_that_was_not_given_comes_again() {
    let odd =
        r#"{"offset":3,"at":"2026-11-21T14:13:41.000003Z","type":"mark","event":"moved",  "later":[1.50]}"#;
    let fake = Fake::start(move |_, before| match before {
        // It breaks off in the middle of the second one.
        0 => {
            let whole = format!("{}id: 3-00000003\nevent: mark\ndata: {odd}\n\n{}", hello(), message(4));
            Reply::stream(&whole[..whole.len() - 9], false)
        }
        _ => Reply::stream(&(hello() + &message(4)), true),
    })
    .await;
    let mut tail = fake.client().tail(Start::After("2".into()), TailOptions::default());
    let first = loop {
        if let Tailed::Event(event) = tail.next().await.unwrap() {
            break event;
        }
    };
    assert_eq!(first.json(), odd);
    assert_eq!(read(&mut tail, 1).await.0, [4]);
    assert!(fake.asked("/api/events")[1].contains("?resume_point=3-00000003 "));
}

#[tokio::test]
async fn a_tail_ends_when_it_is_no_use_to_go_on_and_says_why() {
    for (resume, elsewhere) in [("other_history", Elsewhere::OtherHistory), ("ahead", Elsewhere::Ahead)] {
        let begun = hello().replace("\"ok\"", &format!("\"{resume}\""));
        let fake = Fake::start(move |_, _| Reply::stream(&begun, true)).await;
        let mut tail = fake.client().tail(Start::After("9-00000009".into()), TailOptions::default());
        for _ in 0..2 {
            assert_eq!(tail.next().await.unwrap_err(), Ended::Elsewhere(elsewhere));
        }
        assert_eq!(tail.start(), &Start::After("9-00000009".into()));
    }
    let fake = Fake::start(|_, _| {
        Reply::json(400, "", r#"{"code":"bad_query","detail":"condition 1 of filter 1"}"#)
    })
    .await;
    for transport in [Transport::Sse, Transport::Poll, Transport::WebSocket] {
        let options = TailOptions::default().filter(json!("x")).transport(transport);
        let ended = fake.client().tail(Start::Now, options).next().await.unwrap_err();
        assert!(matches!(&ended, Ended::Refused(problem) if problem.code == "bad_query"), "{ended:?}");
    }
}

#[tokio::test]
async fn the_place_of_a_tail_does_not_lie_behind_events_that_it_has_not_given() {
    let fake = Fake::start(|_, _| page(3..=5)).await;
    let options = TailOptions::default().transport(Transport::Poll);
    let mut tail = fake.client().tail(Start::After("2".into()), options);
    for last in ["2", "2", "5-00000005"] {
        read(&mut tail, 1).await;
        assert_eq!(tail.start(), &Start::After(last.into()));
    }
}

#[tokio::test]
async fn waiting_for_a_tail_may_be_dropped_at_any_time_and_nothing_is_lost_or_told_twice() {
    const LAST: u64 = 60;
    let fake = Fake::start(|request, before| match (path(request), before) {
        ("/api/events", 0) => Reply::stream(&(hello() + &(3..40).map(message).collect::<String>()), false),
        ("/api/events", _) => Reply::stream(&(hello() + &(40..=LAST).map(message).collect::<String>()), true),
        (_, 0) => page(3..=39),
        (_, 1) => Reply::lost(),
        (_, 2) => page(40..=LAST),
        _ => Reply { bytes: String::new(), stays: true },
    })
    .await;
    for transport in [Transport::Sse, Transport::Poll] {
        let options = TailOptions::default().transport(transport);
        let mut tail = fake.client().tail(Start::After("2".into()), options);
        let (mut seen, mut dropped) = (Vec::new(), 0);
        while seen.last() != Some(&LAST) {
            match impatiently(tail.next()).await {
                Some(Ok(Tailed::Event(event))) => seen.push(event.read().unwrap().offset),
                Some(told) => drop(told.unwrap()),
                None => dropped += 1,
            }
        }
        assert_eq!(seen, (3..=LAST).collect::<Vec<_>>(), "{transport:?}");
        assert!(dropped > 0, "it was never dropped");
    }
}
