//! Filters as JSON again, for whoever checks that nothing is lost when they are read.

use scrollback_log::Offset;
use scrollback_projections::Origins;
use serde_json::{Value, json};

use super::Filters;
use super::condition::{Among, Condition, Filter, Test};
use super::words::{Word, Words};
use crate::ids::{self, IdKind};
use crate::streams::frame::{Happening, Type};
use crate::timestamps;

/// The list that [`Filters::from_json`] reads as these filters. What the simple parameters say is not in it.
pub(crate) fn json(filters: &Filters, origins: &Origins) -> Value {
    if filters.0.any.is_empty() {
        return json!([[]]);
    }
    filters.0.any.iter().map(|filter| conditions(filter, origins)).collect()
}

fn conditions(filter: &Filter, origins: &Origins) -> Value {
    // Only what says something: so there are never more conditions than were read.
    let words = [words::<Type>("type", filter.types), words::<Happening>("event", filter.happenings)];
    let mut all: Vec<Value> = words.into_iter().flatten().collect();
    let things = |attribute: &str, kind, among: &Among<Option<Offset>>| {
        let shown = |place: &Option<Offset>| json!(place.map(|place| ids::show(kind, place, origins)));
        listed(attribute, among, &shown)
    };
    all.extend(filter.conditions.iter().map(|condition| match condition {
        Condition::Channel(among) => things("channel", IdKind::Channel, among),
        Condition::Sender(among) => things("sender", IdKind::User, among),
        Condition::At(test) => tested("at", test, &|time| json!(timestamps::show(*time).to_string())),
        Condition::Offset(test) => tested("offset", test, &|offset| json!(offset.0)),
        // Nothing that is read here asks for these.
        Condition::RecordedAt(_) | Condition::Object(_) | Condition::Owner(_) => Value::Null,
    }));
    Value::Array(all)
}

fn words<W: Word>(attribute: &str, words: Words) -> Option<Value> {
    let here = W::ALL.iter().filter(|word| words.contains(**word));
    let names: Vec<_> = here.map(|word| word.name()).collect();
    (words != Words::all::<W>()).then(|| json!([attribute, "in", names]))
}

fn listed<T: Ord>(attribute: &str, among: &Among<T>, shown: &dyn Fn(&T) -> Value) -> Value {
    let (values, wanted) = among.parts();
    let values: Vec<_> = values.iter().map(shown).collect();
    json!([attribute, if wanted { "in" } else { "not in" }, values])
}

fn tested<T: Ord>(attribute: &str, test: &Test<T>, shown: &dyn Fn(&T) -> Value) -> Value {
    match test {
        Test::Among(among) => listed(attribute, among, shown),
        Test::Side(side, bound) => json!([attribute, side.name(), shown(bound)]),
    }
}
