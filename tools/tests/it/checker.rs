//! The checker of histories is itself checked: a good history passes, and each kind of bad one is found.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::history::{Ack, Anomaly, Erasure, History, Session, is_same};

fn sent(offset: u64, body: &str) -> Value {
    let at = format!("2026-01-01T00:00:00.{offset:06}Z");
    json!({"offset": offset, "at": at, "type": "message", "event": "sent", "id": format!("M{offset}"),
        "channel": "C1", "sender": "U1", "body": body})
}

fn masked(event: &Value) -> Value {
    let mut event = event.clone();
    event["body"] = json!("");
    event["deleted_at"] = json!("2026-01-02T00:00:00.000000Z");
    event
}

/// Messages at the odd offsets, as if every second record were internal; one reader that came back once, one that
/// read the second half. The third message was deleted before the first reader came back.
fn good(messages: usize) -> History {
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let log: Vec<Value> = (0..messages).map(|n| sent(2 * n as u64 + 1, &format!("body {n}"))).collect();
    let ack = |event: &Value| Ack {
        offset: event["offset"].as_u64().unwrap(),
        id: event["id"].as_str().unwrap().into(),
        body: event["body"].as_str().unwrap().into(),
        key: format!("key of {}", event["id"]),
    };
    let acks = log.iter().map(ack).collect();
    let erasures = vec![Erasure { id: "M5".into(), at: later }];
    let half = messages / 2;
    let session = |asked, after, events: &[Value], complete_to| Session {
        asked,
        after,
        events: events.to_vec(),
        complete_to,
    };
    let head = 2 * messages as u64;
    let came_back = vec![
        session(start, 0, &log[..half], None),
        session(later, 2 * half as u64 - 1, &log[half..], Some(head)),
    ];
    let late = vec![session(later, 2 * half as u64, &log[half..], Some(head))];
    let mut log = log;
    log[2] = masked(&log[2]);
    History { acks, erasures, readers: vec![came_back, late], log }
}

fn first_session(history: &mut History) -> &mut Session {
    &mut history.readers[0][0]
}

#[test]
fn a_good_history_passes() {
    good(10).must_hold();
}

#[test]
fn an_acknowledged_message_that_the_log_does_not_have_is_found() {
    let mut history = good(10);
    history.log.remove(6);
    assert!(history.check().contains(&Anomaly::AckedLost(13)));
}

#[test]
fn an_offset_with_another_content_is_found() {
    let mut history = good(10);
    history.log[6]["body"] = json!("something else");
    assert!(history.check().contains(&Anomaly::OffsetReused(13)));
    let mut history = good(10);
    first_session(&mut history).events[1]["id"] = json!("M99");
    assert!(history.check().contains(&Anomaly::OffsetReused(3)));
}

#[test]
fn a_message_written_twice_is_found() {
    let mut history = good(10);
    let again = sent(101, "body 6");
    history.log.push(again);
    assert!(history.check().contains(&Anomaly::KeyTwice("M101".into())));
    let mut history = good(10);
    let mut again = history.acks[6].clone();
    again.offset = history.acks[7].offset;
    again.id = history.acks[7].id.clone();
    again.body = history.acks[7].body.clone();
    history.acks.push(again);
    assert!(history.check().iter().any(|anomaly| matches!(anomaly, Anomaly::KeyTwice(_))));
}

#[test]
fn an_event_that_comes_twice_is_found() {
    let mut history = good(10);
    let event = history.readers[0][0].events[3].clone();
    first_session(&mut history).events.insert(4, event);
    assert_eq!(history.check(), [Anomaly::Doubled(7)]);
}

#[test]
fn an_event_that_comes_twice_over_a_resumption_is_found() {
    let mut history = good(10);
    let event = history.readers[0][0].events.last().unwrap().clone();
    history.readers[0][1].events.insert(0, event);
    assert_eq!(history.check(), [Anomaly::Doubled(9)]);
    let mut history = good(10);
    history.readers[0][1].after = 3;
    assert!(history.check().contains(&Anomaly::NotResumed(3)));
}

#[test]
fn events_in_the_wrong_order_are_found() {
    let mut history = good(10);
    first_session(&mut history).events.swap(1, 2);
    assert!(history.check().contains(&Anomaly::Reordered(3)));
    let mut history = good(10);
    history.log.swap(6, 7);
    assert!(history.check().contains(&Anomaly::Reordered(13)));
}

#[test]
fn an_event_that_did_not_come_is_found() {
    let mut history = good(10);
    first_session(&mut history).events.remove(1);
    assert_eq!(history.check(), [Anomaly::Missed(3)]);
}

#[test]
fn an_event_missing_at_the_end_is_found_once_the_reader_was_told_that_it_has_all() {
    let mut history = good(10);
    history.readers[1][0].events.pop();
    assert_eq!(history.check(), [Anomaly::Missed(19)]);
    history.readers[1][0].complete_to = None;
    history.must_hold();
}

#[test]
fn a_resumption_that_jumps_over_an_event_is_found() {
    let mut history = good(10);
    let second = &mut history.readers[0][1];
    second.after = 11;
    second.events.remove(0);
    assert_eq!(history.check(), [Anomaly::Missed(11)]);
}

#[test]
fn deleted_text_shown_to_a_later_request_is_found() {
    let mut history = good(10);
    // The reader that was already there may have had the text; one that asks again may not.
    history.readers.push(vec![Session {
        asked: history.erasures[0].at,
        after: 4,
        events: vec![sent(5, "body 2")],
        complete_to: None,
    }]);
    assert_eq!(history.check(), [Anomaly::DeletedTextShown(5)]);
    history.readers[2][0].events[0]["deleted_at"] = json!("2026-01-02T00:00:00.000000Z");
    assert_eq!(history.check(), [Anomaly::DeletedTextShown(5)]);
    history.readers[2][0].events[0]["body"] = json!("");
    history.must_hold();
}

#[test]
fn masking_takes_the_text_away_and_nothing_else() {
    let whole = sent(5, "text");
    assert!(is_same(&whole, &masked(&whole)));
    let mut other = masked(&whole);
    other["sender"] = json!("U2");
    assert!(!is_same(&whole, &other));
}

proptest! {
    #[test]
    fn any_one_change_to_what_a_reader_saw_is_found(
        messages in 4_usize..40, reader in 0_usize..2, place in 0_usize..1000, change in 0_u8..4,
    ) {
        let mut history = good(messages);
        let events = &mut history.readers[reader].last_mut().unwrap().events;
        let place = place % events.len();
        match change {
            0 => drop(events.remove(place)),
            1 => events.insert(place, events[place].clone()),
            2 => events[place]["body"] = json!("changed"),
            _ if place + 1 < events.len() => events.swap(place, place + 1),
            _ => events[place]["offset"] = json!(1000),
        }
        // The one message that is masked in the log has no text left to compare with.
        let hidden = change == 2 && events[place]["id"] == "M5";
        prop_assert!(hidden || !history.check().is_empty());
    }
}
