use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::Index;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use scrollback_projections::testing::{Dice, History};
use serde_json::{Value, json};

use super::ask::Which;
use super::bounds::Bounds;
use super::filters;
use super::row;
use super::subscriptions::{NotSubscribed, SUBSCRIPTIONS_MAX, Subscriptions};
use crate::streams::filter::Filters;
use crate::streams::filter::condition::Filter;
use crate::streams::frame::{Facets, Happening, Type};
use crate::streams::tests::{faceted, happened};
use crate::timestamps;

const ATTRIBUTES: [&str; 8] =
    ["event_type", "object_kind", "object_uuid", "object_owner_uuid", "id", "uuid", "created_at", "event_at"];

/// An event as a client gets it.
fn shown(event: &Value, origins: &Origins) -> Value {
    let events = row::events(event.to_string().as_bytes()).unwrap();
    serde_json::to_value(events[0].row(origins).unwrap()).unwrap()
}

/// Whether a condition holds of one of the rows, said in the plainest way.
fn holds(condition: &Value, row: &Value, rows: &[Value]) -> bool {
    let attribute = condition[0].as_str().unwrap();
    let value = &row[attribute];
    // Times of one length, in UTC, have the order of their texts. The events' own ids have the events', whatever their texts.
    let rank = |value: &Value| match attribute {
        "id" => value.as_u64().or_else(|| value.as_str()?.parse().ok()).map(|number| format!("{number:020}")),
        "created_at" | "event_at" => value.as_str().map(|text| {
            let whole = match text.len() {
                10 => format!("{text}T00:00:00Z"),
                19 => format!("{text}Z"),
                _ => text.to_owned(),
            };
            timestamps::show(timestamps::parse(&whole).unwrap()).to_string()
        }),
        "uuid" => rows
            .iter()
            .find(|row| row["uuid"] == *value)
            .map(|row| format!("{:020}", row["id"].as_u64().unwrap())),
        _ => value.as_str().map(str::to_owned),
    };
    let (value, operand) = (rank(value), &condition[2]);
    let listed = || operand.as_array().unwrap().iter().any(|one| rank(one) == value);
    match condition[1].as_str().unwrap() {
        "=" => value == rank(operand),
        "!=" => value != rank(operand),
        "in" => listed(),
        "not in" => !listed(),
        "<" => value < rank(operand),
        "<=" => value <= rank(operand),
        ">" => value > rank(operand),
        ">=" => value >= rank(operand),
        other => panic!("{other}"),
    }
}

/// A random condition, mostly of what some row says.
fn condition(rows: &[Value], throw: &[Index; 4]) -> Value {
    let attribute = ATTRIBUTES[throw[0].index(ATTRIBUTES.len())];
    let has_order = matches!(attribute, "id" | "uuid" | "created_at" | "event_at");
    let operators = ["=", "!=", "in", "not in", "<", "<=", ">", ">="];
    let operator = operators[throw[1].index(if has_order { 8 } else { 4 })];
    let value = |throw: &Index| {
        let found = throw.get(rows)[attribute].clone();
        match (attribute, found.as_u64()) {
            ("id", Some(id)) if id % 3 == 0 => json!(id.to_string()),
            ("event_type", _) if throw.index(9) == 0 => json!("stdout"),
            ("object_uuid", _) if throw.index(9) == 0 => json!("zzzzz-4zz18-000000000000000"),
            // A user has nothing above it, and who asks for it by null gets it.
            ("object_uuid", _) if found.is_null() => json!("nothing"),
            ("created_at" | "event_at", _) => match (throw.index(5), found.as_str()) {
                (0, Some(time)) => json!(time[..10]),
                (1, Some(time)) => json!(time[..19].replace('T', " ")),
                _ => found,
            },
            _ => found,
        }
    };
    let operand =
        if operator.ends_with("in") { json!([value(&throw[2]), value(&throw[3])]) } else { value(&throw[2]) };
    json!([attribute, operator, operand])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn filters_choose_what_their_conditions_say_of_the_rows(
        dice in proptest::collection::vec(any::<Dice>(), 1..60),
        throws in proptest::collection::vec(proptest::collection::vec(any::<[Index; 4]>(), 0..4), 12),
    ) {
        let world = happened(&History::new(&dice), 1 << 20, 5);
        let origins = world.views.read().unwrap().origins().clone();
        let events: Vec<(Facets, Value)> = faceted(&world, &origins);
        prop_assume!(!events.is_empty());
        let rows: Vec<Value> = events.iter().map(|(_, event)| shown(event, &origins)).collect();
        for throws in &throws {
            let json = Value::Array(throws.iter().map(|throw| condition(&rows, throw)).collect());
            let filter = filters::read(&json, &origins).unwrap();
            let bounds = Bounds::of(&filter);
            let filters = Filters::any_of(vec![filter]).unwrap();
            for ((facets, _), row) in events.iter().zip(&rows) {
                let wanted = json.as_array().unwrap().iter().all(|condition| holds(condition, row, &rows));
                prop_assert_eq!(filters.matches(facets), wanted, "{} of {}", json, row);
                let within = facets.offset > bounds.after
                    && facets.offset <= bounds.to
                    && bounds.since.is_none_or(|since| facets.recorded_at >= since);
                prop_assert!(within || !wanted, "{} of {}", json, row);
            }
        }
    }
}

#[test]
fn a_day_is_its_midnight_and_a_time_without_a_zone_is_in_utc() {
    let read = |time: &str| filters::read(&json!([["created_at", "<", time]]), &Origins::default()).unwrap();
    for (short, whole) in [
        ("2026-11-29", "2026-11-29T00:00:00Z"),
        ("2026-11-29 01:02:03", "2026-11-29T01:02:03Z"),
        ("2026-11-29T01:02:03.5", "2026-11-29T01:02:03.500000Z"),
        ("2026-11-29T01:02:03+02:00", "2026-11-28T23:02:03Z"),
    ] {
        assert_eq!(read(short), read(whole), "{short}");
    }
    assert_ne!(read("2026-11-29"), read("2026-11-30"));
}

#[test]
fn of_a_filter_that_can_match_nothing_nothing_is_looked_at() {
    let bounds = |json: &Value| Bounds::of(&filters::read(json, &Origins::default()).unwrap());
    for nothing in [
        json!([["id", "in", []]]),
        json!([["id", ">", 5], ["uuid", "in", []]]),
        json!([["created_at", "in", []]]),
        json!([["event_at", "in", []]]),
        json!([["object_uuid", "in", []]]),
        json!([["object_uuid", "=", "zzzzz-4zz18-000000000000000"]]),
        json!([["object_owner_uuid", "in", []]]),
        json!([["event_type", "=", "stdout"]]),
        json!([["object_kind", "=", "scrollback#user"], ["object_kind", "=", "scrollback#message"]]),
    ] {
        let Bounds { after, to, .. } = bounds(&nothing);
        assert!(after >= to, "{nothing}");
    }
    for something in [
        json!([]),
        json!([["id", "not in", []]]),
        json!([["id", "in", [5]]]),
        json!([["event_type", "not in", []]]),
        json!([["object_owner_uuid", "=", null]]),
    ] {
        let Bounds { after, to, .. } = bounds(&something);
        assert!(after < to, "{something}");
    }
}

#[test]
fn what_the_original_ignores_or_takes_for_everything_is_refused_with_its_place() {
    let good = json!(["event_type", "=", "create"]);
    for (wrong, told) in [
        (json!("x"), "filters must be a list of conditions, each [attribute, operator, operand]"),
        (json!({}), "filters must be a list of conditions, each [attribute, operator, operand]"),
        (json!([good, ["colour", "=", "red"]]), "condition 2: there is no attribute \"colour\""),
        (json!([["event_type", "like", "c%"]]), "condition 1: there is no operator \"like\""),
        (json!([["event_type", "=", 5]]), "condition 1: 5 is not a value of event_type"),
        (json!([["event_type", "in", "create"]]), "condition 1: the operand of `in` must be a list"),
        (
            json!([["object_uuid", "<", "M1"]]),
            "condition 1: order can only be asked of id, uuid, created_at and event_at",
        ),
        (json!([["id", ">", "-5"]]), "condition 1: \"-5\" is not a value of id"),
        (json!([["id", ">", null]]), "condition 1: null is not a value of id"),
        (
            json!([["created_at", ">=", "yesterday"]]),
            "condition 1: \"yesterday\" is not a value of created_at",
        ),
        (json!([["event_type", "="]]), "condition 1: it must be a list of three"),
        (json!([[["event_type", "=", "create"]]]), "condition 1: it must be a list of three"),
        (json!(vec![good; 17]), "there are 17 conditions"),
    ] {
        let error = filters::read(&wrong, &Origins::default()).unwrap_err().to_string();
        assert!(error.starts_with(told), "{wrong}: {error}");
    }
    for right in [
        json!(null),
        json!([]),
        json!([["created_at", ">=", "2026-11-29"]]),
        json!([["created_at", "<", "2026-11-29 01:02:03"]]),
    ] {
        assert!(filters::read(&right, &Origins::default()).is_ok(), "{right}");
    }
}

/// An event of a sort that is a number.
fn event(offset: u64, sort: usize) -> Facets {
    let at = Timestamp(1);
    Facets {
        kind: Type::Message,
        happening: Happening::ALL[sort],
        channel: None,
        sender: None,
        at,
        offset: Offset(offset),
        recorded_at: at,
        object: Offset(offset),
    }
}

/// What wants these sorts.
fn of_sorts(sorts: &HashSet<usize>) -> Filter {
    let mut filter = Filter::everything();
    let words = sorts.iter().map(|sort| Happening::ALL[*sort]);
    filter.happenings = crate::streams::filter::words::Words::of(words);
    filter
}

/// What happens on a socket.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// Of these sorts, from so far back, or from now.
    Subscribe(HashSet<usize>, Option<Index>),
    Unsubscribe(Index),
    /// Tells so many records' worth.
    Tell(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..4).prop_map(Step::Write),
        2 => (proptest::collection::hash_set(0_usize..4, 0..3), proptest::option::of(any::<Index>()))
            .prop_map(|(sorts, after)| Step::Subscribe(sorts, after)),
        1 => any::<Index>().prop_map(Step::Unsubscribe),
        3 => (1_usize..12).prop_map(Step::Tell),
    ]
}

/// A socket, and all that is known of it.
#[derive(Default)]
struct Told {
    log: Vec<usize>,
    subscriptions: Subscriptions,
    way: Option<(Offset, Filters)>,
    told: Vec<u64>,
    /// Where in what was told the way went back.
    turns: Vec<usize>,
}

impl Told {
    fn go_on(&mut self, after: Option<Offset>) {
        let stands = self.way.as_ref().map(|(stands, _)| *stands);
        let from = Subscriptions::earlier(stands, after);
        if from.is_some_and(|from| self.told.last().is_some_and(|last| from.0 < *last)) {
            self.turns.push(self.told.len());
        }
        self.way = from.and_then(|from| Some((from, self.subscriptions.filters(from).unwrap()?)));
    }

    fn tell(&mut self, records: usize) {
        let Some((stands, filters)) = &mut self.way else { return };
        for _ in 0..records {
            let Some(sort) = self.log.get(stands.0 as usize) else { return };
            *stands = stands.next();
            if filters.matches(&event(stands.0, *sort)) && !self.subscriptions.was_told(*stands) {
                self.subscriptions.tell(*stands);
                self.told.push(stands.0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_event_is_told_once_when_any_subscription_wants_it_and_in_order_unless_one_looks_back(
        steps in proptest::collection::vec(step(), 0..160),
    ) {
        let mut socket = Told::default();
        // Number, sorts, where it begins.
        let mut live: Vec<(u64, HashSet<usize>, u64)> = Vec::new();
        let mut checked = 0;
        for step in steps {
            match step {
                Step::Write(sort) => socket.log.push(sort),
                Step::Subscribe(sorts, after) => {
                    let head = socket.log.len() as u64;
                    let after = after.map_or(head, |after| after.index(socket.log.len() + 1) as u64);
                    let added = socket.subscriptions.add(&json!([]), of_sorts(&sorts), Offset(after), false);
                    if live.len() == SUBSCRIPTIONS_MAX {
                        prop_assert_eq!(added, Err(NotSubscribed::Full));
                        continue;
                    }
                    if added == Err(NotSubscribed::Forgotten) {
                        let newest = socket.told.iter().max().copied().unwrap_or(0);
                        prop_assert!(newest > after + 16, "{newest} after {after}");
                        continue;
                    }
                    live.push((added.unwrap(), sorts, after));
                    socket.go_on(Some(Offset(after)));
                }
                Step::Unsubscribe(which) if !live.is_empty() => {
                    let (number, ..) = live.remove(which.index(live.len()));
                    prop_assert!(socket.subscriptions.remove(&Which::Number(number)));
                    socket.go_on(None);
                }
                Step::Unsubscribe(_) => prop_assert!(!socket.subscriptions.remove(&Which::Number(1))),
                Step::Tell(records) => socket.tell(records),
            }
            // Whatever was told just now was wanted just now.
            for id in &socket.told[checked..] {
                let sort = socket.log[*id as usize - 1];
                prop_assert!(live.iter().any(|(_, sorts, after)| id > after && sorts.contains(&sort)), "{}", id);
            }
            checked = socket.told.len();
        }
        socket.tell(usize::MAX);
        let told: HashSet<u64> = socket.told.iter().copied().collect();
        prop_assert_eq!(told.len(), socket.told.len(), "nothing is told twice");
        for (_, sorts, after) in &live {
            for (place, sort) in socket.log.iter().enumerate() {
                let id = place as u64 + 1;
                prop_assert!(id <= *after || !sorts.contains(sort) || told.contains(&id), "{} is missed", id);
            }
        }
        for (place, pair) in socket.told.windows(2).enumerate() {
            prop_assert!(pair[0] < pair[1] || socket.turns.contains(&(place + 1)), "{:?}", pair);
        }
    }
}

#[test]
fn what_was_told_is_remembered_over_a_bounded_way_and_further_back_is_refused() {
    let mut subscriptions = Subscriptions::default();
    let everything = || of_sorts(&(0..4).collect());
    subscriptions.add(&json!([]), everything(), Offset(0), false).unwrap();
    for id in 1..=1_000 {
        subscriptions.tell(Offset(id));
    }
    assert!(subscriptions.was_told(Offset(1_000)) && subscriptions.was_told(Offset(990)));
    assert!(!subscriptions.was_told(Offset(1)), "the memory of it is bounded");
    let looks_back = |subscriptions: &mut Subscriptions, after| {
        subscriptions.add(&json!([]), everything(), Offset(after), false)
    };
    assert_eq!(looks_back(&mut subscriptions, 0), Err(NotSubscribed::Forgotten));
    assert_eq!(looks_back(&mut subscriptions, 900), Err(NotSubscribed::Forgotten));
    assert_eq!(looks_back(&mut subscriptions, 990), Ok(2));
}

#[test]
fn what_the_way_has_still_to_pass_is_not_forgotten() {
    let mut subscriptions = Subscriptions::default();
    for id in [990, 1_000, 1, 2, 3, 500] {
        subscriptions.tell(Offset(id));
        assert!(subscriptions.was_told(Offset(id)));
    }
    assert!(subscriptions.was_told(Offset(990)) && subscriptions.was_told(Offset(1_000)));
}

#[test]
fn the_values_of_all_subscriptions_count_whatever_hides_them() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.add(&json!([]), Filter::everything(), Offset(0), false).unwrap();
    let conditions: Vec<Value> =
        (0..9).map(|n| json!(["id", "in", (n..n + 100).collect::<Vec<u64>>()])).collect();
    let large = filters::read(&Value::Array(conditions), &Origins::default()).unwrap();
    subscriptions.add(&json!([1]), large.clone(), Offset(0), false).unwrap();
    let refused = subscriptions.add(&json!([2]), large, Offset(0), false);
    assert_eq!(refused, Err(NotSubscribed::Values { count: 1 + 901 + 901 }));
    assert!(subscriptions.remove(&Which::Number(1)));
    assert!(subscriptions.filters(Offset(0)).unwrap().is_some());
}

#[test]
fn a_subscription_is_taken_back_by_its_number_or_by_just_its_filters() {
    let mut subscriptions = Subscriptions::default();
    let filters = json!([["event_type", "=", "create"]]);
    let mut add = |asked: &Value| subscriptions.add(asked, Filter::everything(), Offset(0), false).unwrap();
    let numbers = [add(&filters), add(&json!([])), add(&filters)];
    assert_eq!(numbers, [1, 2, 3]);
    assert!(!subscriptions.remove(&Which::Filters(json!([["event_type", "=", "delete"]]))));
    assert!(subscriptions.remove(&Which::Filters(filters.clone())));
    assert!(!subscriptions.remove(&Which::Number(1)), "the oldest with those filters is gone");
    assert!(subscriptions.remove(&Which::Number(3)));
    assert!(!subscriptions.remove(&Which::Filters(filters)));
    assert!(subscriptions.filters(Offset(0)).unwrap().is_some());
    assert!(subscriptions.remove(&Which::Filters(json!([]))));
    assert_eq!(subscriptions.filters(Offset(0)).unwrap(), None);
}
