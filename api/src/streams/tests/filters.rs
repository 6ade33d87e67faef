use std::ops::ControlFlow;

use proptest::prelude::*;
use roaring::RoaringTreemap;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use scrollback_projections::testing::{Dice, History};
use serde_json::{Value, json};

use super::naive::{self, Wanted};
use super::ring::happened;
use super::{World, literal};
use crate::http::query::Query;
use crate::ids::{self, IdKind};
use crate::streams::filter::{Filters, show};
use crate::streams::frame::{Encoder, Facets, Happening, Type};
use crate::timestamps;

/// Throws that decide what a random filter is, one after the other. When none are left the plainest is chosen.
struct Throws<'t>(std::slice::Iter<'t, u32>);

impl Throws<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |throw| *throw as usize % count)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn of<'a, T>(&mut self, choice: &'a [T]) -> &'a T {
        &choice[self.below(choice.len())]
    }

    fn filters(&mut self, events: &[Value]) -> Value {
        match self.below(60) {
            58 => self.nonsense(),
            59 => json!(vec![json!([]); 30 + self.below(5)]),
            _ => (0..self.below(4)).map(|_| self.filter(events)).collect(),
        }
    }

    fn filter(&mut self, events: &[Value]) -> Value {
        match self.below(60) {
            58 => self.nonsense(),
            59 => json!(vec![self.condition(events); 14 + self.below(5)]),
            _ => (0..self.below(4)).map(|_| self.condition(events)).collect(),
        }
    }

    fn condition(&mut self, events: &[Value]) -> Value {
        let attribute = *self.of(&["type", "event", "channel", "sender", "at", "offset"]);
        const OPERATORS: [&str; 8] = ["=", "!=", "in", "not in", "<", "<=", ">", ">="];
        let ordered = matches!(attribute, "at" | "offset") || self.one_in(80);
        let operator = *self.of(if ordered { &OPERATORS } else { &OPERATORS[..4] });
        let operand = if operator.ends_with("in") != self.one_in(80) {
            let values: Value = (0..self.below(4)).map(|_| self.value(attribute, events)).collect();
            if self.one_in(80) {
                json!(vec![self.value(attribute, events); 98 + self.below(5)])
            } else {
                values
            }
        } else {
            self.value(attribute, events)
        };
        match self.below(200) {
            199 => json!([attribute, operator]),
            198 => json!([attribute, operator, operand, operand]),
            197 => json!([self.nonsense(), operator, operand]),
            196 => json!([attribute, self.nonsense(), operand]),
            195 => json!([attribute, "==", operand]),
            194 => json!([attribute, "NOT IN", operand]),
            193 => self.nonsense(),
            _ => json!([attribute, operator, operand]),
        }
    }

    /// A value of this attribute, mostly one that an event has.
    fn value(&mut self, attribute: &str, events: &[Value]) -> Value {
        let found = if events.is_empty() { Value::Null } else { literal::value(attribute, self.of(events)) };
        match (self.below(80), attribute) {
            (79, _) => self.nonsense(),
            (_, "type") => json!(self.of(&Type::ALL).name()),
            (_, "event") => json!(self.of(&Happening::ALL).name()),
            (0..8, "channel") => {
                json!(*self.of(&["C000000000711", "CZ000000007", "C7ZZZZZZZZZ1", "c000000000711"]))
            }
            (0..8, "sender") => {
                json!(*self.of(&["U000000000711", "U0000000007", "U7ZZZZZZZZZFZZZZZZZZZZZZ", "U"]))
            }
            (_, "channel" | "sender") => found,
            (_, "offset") => {
                json!(found.as_u64().unwrap_or(5).saturating_add_signed(self.below(3) as i64 - 1))
            }
            (spelling, _) => {
                let at = found.as_str().and_then(timestamps::parse).unwrap_or(Timestamp(1)).0
                    + self.below(3) as i64
                    - 1;
                let shown = |at| timestamps::show(Timestamp(at)).to_string();
                match spelling {
                    0..20 => json!(shown(at + 3_600_000_000).replace('Z', "+01:00").to_lowercase()),
                    _ => json!(shown(at)),
                }
            }
        }
    }

    fn nonsense(&mut self) -> Value {
        let choice = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.0),
            json!(1e30),
            json!(7),
            json!(u64::MAX),
            json!(""),
            json!("x"),
            json!("Message"),
            json!("message"),
            json!("2004-11-15"),
            json!("2004-11-15T01:00:00Z"),
            json!([]),
            json!([[]]),
            json!({}),
            json!({"type": "message"}),
            json!("type"),
            json!("="),
            json!("U000000000711"),
            json!("M000000000711"),
            json!("C000000000701"),
            json!("C8000000007"),
            json!("\u{0}\u{1F600}"),
        ];
        self.of(&choice).clone()
    }
}

/// Every event of the world with what filters see of it.
pub(in crate::streams) fn faceted(world: &World, origins: &Origins) -> Vec<(Facets, Value)> {
    let private = RoaringTreemap::new();
    let (mut encoder, mut events, mut bytes) = (Encoder::new(origins, &private), Vec::new(), Vec::new());
    world
        .log
        .scan(Offset::FIRST, world.head(), &mut |record| {
            let frame = encoder.encode(&record, &mut bytes).unwrap();
            events.extend(frame.map(|frame| (frame.facets, naive::event(&record, origins).unwrap())));
            ControlFlow::Continue(())
        })
        .unwrap();
    events
}

/// The same said backwards.
fn reversed(json: &Value) -> Value {
    let backwards = |values: &Value| Value::Array(values.as_array().unwrap().iter().rev().cloned().collect());
    let condition = |condition: &Value| match condition[2] {
        Value::Array(_) => json!([condition[0], condition[1], backwards(&condition[2])]),
        _ => condition.clone(),
    };
    let filter = |filter: &Value| backwards(&filter.as_array().unwrap().iter().map(condition).collect());
    backwards(&json.as_array().unwrap().iter().map(filter).collect())
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn filters_choose_what_their_triples_say_of_the_events_json(
        dice in proptest::collection::vec(any::<Dice>(), 0..60),
        throws in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 0..60), 8),
    ) {
        let world = happened(&History::new(&dice), 1 << 20, 5);
        let origins = world.views.read().unwrap().origins().clone();
        let events = faceted(&world, &origins);
        let shown: Vec<Value> = events.iter().map(|(_, event)| event.clone()).collect();
        for throws in throws {
            let json = Throws(throws.iter()).filters(&shown);
            let read = Filters::from_json(&json, &origins);
            prop_assert_eq!(read.is_err(), literal::is_refused(&json), "{}: {:?}", json, read);
            let Ok(filters) = read else { continue };
            for (facets, event) in &events {
                prop_assert_eq!(filters.matches(facets), literal::hold(&json, event), "{} of {}", json, event);
            }
            prop_assert_eq!(&Filters::from_json(&reversed(&json), &origins).unwrap(), &filters);
            prop_assert_eq!(&Filters::from_json(&show::json(&filters, &origins), &origins).unwrap(), &filters);
        }
    }

    #[test]
    fn a_query_chooses_what_one_of_its_filters_and_all_of_its_parameters_say(
        dice in proptest::collection::vec(any::<Dice>(), 0..60),
        throws in proptest::collection::vec(any::<u32>(), 0..60),
        types in proptest::sample::subsequence(Type::ALL.map(Type::name).to_vec(), 0..=Type::ALL.len()),
        happenings in proptest::sample::subsequence(Happening::ALL.map(Happening::name).to_vec(), 0..=Happening::ALL.len()),
        channel in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let history = History::new(&dice);
        let world = happened(&history, 1 << 20, 5);
        let origins = world.views.read().unwrap().origins().clone();
        let events = faceted(&world, &origins);
        let shown: Vec<Value> = events.iter().map(|(_, event)| event.clone()).collect();
        let json = Throws(throws.iter()).filters(&shown);
        prop_assume!(json.is_array());
        let mut wanted = Wanted { types, events: happenings, ..Wanted::default() };
        if let Some(channel) = channel.filter(|_| !history.channels.is_empty()) {
            wanted.channels.push(ids::show(IdKind::Channel, channel.get(&history.channels).offset, &origins));
        }
        let filters = json.as_array().unwrap();
        let pairs: String = filters.iter().map(|filter| format!("filter={}&", escaped(&filter.to_string()))).collect();
        let mut query = Query::parse(&format!("{pairs}{}", wanted.query())).unwrap();
        let taken = Filters::take(&mut query, &origins);
        prop_assert_eq!(taken.is_err(), !filters.is_empty() && literal::is_refused(&json), "{}: {:?}", json, taken);
        let Ok(taken) = taken else { return Ok(()) };
        query.finish().unwrap();
        for (facets, event) in &events {
            let literally = filters.is_empty() || literal::hold(&json, event);
            prop_assert_eq!(taken.matches(facets), literally && wanted.matches(event), "{} of {}", json, event);
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_read_or_refused(text in "\\PC{0,60}|[\\[\\]\",=a-z ]{0,60}") {
        let _ = Filters::take(&mut Query::parse(&format!("filter={}", escaped(&text))).unwrap(), &Origins::default());
    }
}
