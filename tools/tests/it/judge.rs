//! The judge of readers whose rights change is itself judged: a good case passes, and each kind of bad one is found.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::judge::{Case, Change, Fault, Reading, Turn, Visit, passes};

/// Moments in the order of their numbers.
fn at(began: Instant, moment: u64) -> Instant {
    began + Duration::from_secs(moment)
}

fn said(offset: u64, channel: &str) -> Value {
    json!({"offset": offset, "type": "message", "event": "sent", "id": format!("M{offset}"), "channel": channel,
        "sender": "U1", "body": format!("body {offset}")})
}

fn member(offset: u64, event: &str) -> Value {
    json!({"offset": offset, "type": "member", "event": event, "channel": "C4", "user": "U2", "by": "U1", "history_after": 3})
}

/// A log whose records are made at the moments of their offsets. U1 is an owner, U2 is added to C4 at 10, removed at 20 and added again at 30.
/// Each change is asked for half a moment before and answered half a moment after.
fn log() -> Vec<Value> {
    let mut log = vec![
        json!({"offset": 1, "type": "user", "event": "created", "id": "U1", "role": "owner"}),
        json!({"offset": 2, "type": "user", "event": "created", "id": "U2", "role": "member"}),
        json!({"offset": 3, "type": "channel", "event": "created", "id": "C3", "private": false, "creator": "U1"}),
        json!({"offset": 4, "type": "channel", "event": "created", "id": "C4", "private": true, "creator": "U1"}),
    ];
    for offset in 5..40 {
        log.push(match offset {
            10 | 30 => member(offset, "added"),
            20 => member(offset, "removed"),
            _ if offset % 2 == 0 => said(offset, "C3"),
            _ => said(offset, "C4"),
        });
    }
    log
}

fn change(began: Instant, turn: Turn, offset: u64) -> Change {
    let half = Duration::from_millis(500);
    let channel = Some("C4".to_owned());
    Change {
        turn,
        user: "U2".into(),
        channel,
        asked: at(began, offset) - half,
        answered: at(began, offset) + half,
    }
}

fn visit(began: Instant, asked: u64, shown: &[(u64, u64)]) -> Visit {
    let log = log();
    let event = |offset: u64| log.iter().find(|event| event["offset"] == offset).unwrap().clone();
    let shown = shown.iter().map(|(moment, offset)| (at(began, *moment), event(*offset))).collect();
    Visit { asked: at(began, asked), shown }
}

/// A reader that is live all the time: what it sees of C4 it sees when it is written.
fn good() -> Case {
    let began = Instant::now();
    let sees = |offset: u64| {
        offset.is_multiple_of(2) && offset != 4 || offset < 4 || (10..=20).contains(&offset) || offset >= 30
    };
    let of = |range: std::ops::Range<u64>| -> Vec<(u64, u64)> {
        range.filter(|offset| sees(*offset)).map(|offset| (offset, offset)).collect()
    };
    let changes = [(Turn::Added, 10), (Turn::Removed, 20), (Turn::Added, 30)]
        .map(|(turn, offset)| change(began, turn, offset));
    let history = |asked: u64, to: u64| {
        visit(
            began,
            asked,
            &(4..=to)
                .filter(|o| *o == 4 || o % 2 == 1 || *o == 10 || *o == 20 || *o == 30)
                .map(|o| (asked, o))
                .collect::<Vec<_>>(),
        )
    };
    let mover = Reading {
        user: "U2".into(),
        filters: Value::Null,
        visits: vec![visit(began, 0, &of(1..20)), visit(began, 21, &of(20..40))],
        history: vec![history(11, 9), history(31, 30)],
    };
    let owner = Reading {
        user: "U1".into(),
        filters: json!([[["type", "=", "message"]]]),
        visits: vec![visit(
            began,
            50,
            &(5..40).filter(|o| ![10, 20, 30].contains(o)).map(|o| (51, o)).collect::<Vec<_>>(),
        )],
        history: vec![],
    };
    Case { began, log: log(), changes: changes.to_vec(), readings: vec![mover, owner] }
}

fn events(case: &mut Case) -> &mut Vec<(Instant, Value)> {
    &mut case.readings[0].visits[1].shown
}

fn place(case: &mut Case, offset: u64) -> usize {
    events(case).iter().position(|(_, event)| event["offset"] == offset).unwrap()
}

#[test]
fn a_good_case_passes() {
    good().must_hold();
}

#[test]
fn an_event_that_was_never_shown_is_found() {
    for gone in [22, 32, 39] {
        let mut case = good();
        let place = place(&mut case, gone);
        events(&mut case).remove(place);
        assert_eq!(case.check(), [Fault::Missing(0, gone)]);
    }
    // What was shown by the history need not come by the stream; what neither showed is missing.
    let mut case = good();
    case.readings[0].history[1].shown.retain(|(_, event)| event["offset"] != 25);
    assert_eq!(case.check(), [Fault::Missing(0, 25)]);
    let mut case = good();
    case.readings[0].history.clear();
    assert!(case.check().contains(&Fault::Missing(0, 7)));
    // Whoever may not see it in the end need not have been shown it.
    case.changes.pop();
    case.log.retain(|event| event["offset"] != 30);
    case.readings[0].visits[1].shown.retain(|(_, event)| event["offset"].as_u64() < Some(30));
    case.readings[0].visits[1]
        .shown
        .extend(visit(case.began, 0, &[(32, 32), (34, 34), (36, 36), (38, 38)]).shown);
    case.readings[0].visits[0]
        .shown
        .retain(|(_, event)| event["channel"] != "C4" || event["type"] == "member");
    case.must_hold();
}

#[test]
fn the_own_removal_must_be_shown_though_the_channel_is_not() {
    let mut case = good();
    let place = place(&mut case, 20);
    events(&mut case).remove(place);
    case.readings[0].history[1].shown.retain(|(_, event)| event["offset"] != 20);
    assert_eq!(case.check(), [Fault::Missing(0, 20)]);
}

#[test]
fn an_event_shown_between_removal_and_return_is_found() {
    // Written after the removal, on a stream that was there before it.
    let mut case = good();
    let began = case.began;
    case.readings[0].visits[0].shown.extend(visit(began, 0, &[(25, 19), (25, 25)]).shown);
    case.readings[0].visits[1]
        .shown
        .retain(|(_, event)| ![19, 20, 22, 24].contains(&event["offset"].as_u64().unwrap()));
    assert!(case.check().contains(&Fault::Forbidden(0, 25)), "{:?}", case.check());
    // 19 may have been on its way.
    assert!(!case.check().contains(&Fault::Forbidden(0, 19)), "{:?}", case.check());
    // Written before the removal, by a request that was made after it.
    let mut case = good();
    case.readings[0].history.push(visit(case.began, 25, &[(26, 15)]));
    assert_eq!(case.check(), [Fault::Forbidden(0, 15)]);
    // Asked for before the return and shown after it was asked for: allowed. So is what is asked for before the removal is acknowledged.
    for (asked, shown, offset) in [(25, 30, 25), (20, 29, 15)] {
        let mut case = good();
        case.readings[0].history.push(visit(case.began, asked, &[(shown, offset)]));
        case.must_hold();
    }
}

#[test]
fn an_event_shown_before_any_right_is_found() {
    let mut case = good();
    let early = visit(case.began, 0, &[(5, 5)]).shown;
    case.readings[0].visits[0].shown.splice(3..3, early);
    assert_eq!(case.check(), [Fault::Forbidden(0, 5)]);
    // The channel itself is no less private than what is said in it.
    let mut case = good();
    let early = visit(case.began, 0, &[(6, 4)]).shown;
    case.readings[0].visits[0].shown.splice(3..3, early);
    assert_eq!(case.check(), [Fault::Forbidden(0, 4)]);
}

#[test]
fn what_an_owner_is_shown_after_being_one_is_found() {
    let mut case = good();
    let began = case.began;
    case.log.push(json!({"offset": 40, "type": "user", "event": "changed", "id": "U1", "role": "member"}));
    case.log.push(member(41, "removed"));
    case.log[40]["user"] = json!("U1");
    let lost = |turn, channel: Option<&str>, offset| Change {
        turn,
        user: "U1".into(),
        channel: channel.map(str::to_owned),
        asked: at(began, offset),
        answered: at(began, offset),
    };
    case.changes.push(lost(Turn::Lowered, None, 40));
    case.changes.push(lost(Turn::Removed, Some("C4"), 41));
    case.readings.remove(0);
    // It is asked for at 50, when neither role nor membership allow it any more.
    let faults = case.check();
    assert!(
        faults.contains(&Fault::Forbidden(0, 5)) && faults.contains(&Fault::Forbidden(0, 39)),
        "{faults:?}"
    );
    assert!(!faults.contains(&Fault::Forbidden(0, 6)), "{faults:?}");
    // As long as it has one of the two it is allowed.
    case.changes.pop();
    case.log.pop();
    case.must_hold();
}

#[test]
fn doubled_and_reordered_and_altered_events_are_found() {
    let mut case = good();
    let again = events(&mut case)[3].clone();
    let offset = again.1["offset"].as_u64().unwrap();
    events(&mut case).insert(4, again.clone());
    assert_eq!(case.check(), [Fault::Doubled(0, offset)]);
    let mut case = good();
    case.readings[0].visits[0].shown.push(again);
    assert!(case.check().contains(&Fault::Doubled(0, offset)));
    let mut case = good();
    events(&mut case).swap(3, 4);
    assert!(matches!(case.check()[..], [Fault::Reordered(0, _)]));
    let mut case = good();
    case.readings[0].history[1].shown.swap(3, 4);
    assert!(matches!(case.check()[..], [Fault::Reordered(0, _)]));
    let mut case = good();
    events(&mut case)[3].1["body"] = json!("another");
    assert!(matches!(case.check()[..], [Fault::Altered(0, _)]));
    let mut case = good();
    events(&mut case)[3].1["offset"] = json!(1000);
    assert!(case.check().contains(&Fault::Altered(0, 1000)));
}

#[test]
fn changes_that_the_log_does_not_tell_or_nobody_asked_for_are_found() {
    let mut case = good();
    case.changes.push(change(case.began, Turn::Removed, 38));
    assert!(case.check().contains(&Fault::Undone(3)));
    let mut case = good();
    case.log.push(member(40, "removed"));
    assert!(case.check().contains(&Fault::Unasked(40)));
}

#[test]
fn filters_are_read_as_the_contract_has_them() {
    let event = said(7, "C4");
    let holds = |filters: Value| passes(&filters, &event);
    assert!(holds(Value::Null) && holds(json!([[]])));
    assert!(holds(json!([[["type", "=", "message"], ["channel", "in", ["C3", "C4"]]]])));
    assert!(!holds(json!([[["type", "=", "message"], ["channel", "not in", ["C3", "C4"]]]])));
    assert!(holds(json!([[["type", "=", "user"]], [["sender", "!=", "U2"]]])));
    assert!(!holds(json!([[["type", "=", "user"]], [["sender", "!=", "U1"]]])));
    let created = json!({"offset": 4, "type": "channel", "event": "created", "id": "C4"});
    assert!(passes(&json!([[["channel", "=", "C4"]]]), &created));
}
