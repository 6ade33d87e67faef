//! From the JSON of a filter to its conditions.

use scrollback_log::origin::Birthplace;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use serde_json::Value;

use super::condition::{Among, Condition, Filter, Side, Test};
use super::words::{self, Word, Words};
use super::{CONDITIONS_MAX, ConditionError, FILTERS_MAX, FilterError, VALUES_MAX};
use crate::ids::IdKind;
use crate::streams::frame::{Happening, Type};
use crate::timestamps;

/// How many characters of a wrong value are shown to whoever gave it.
const SHOWN_CHARS_MAX: usize = 40;

/// What a condition asks of a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::streams) enum Operator {
    Equal,
    NotEqual,
    Side(Side),
    In,
    NotIn,
}

impl Operator {
    const ALL: [Operator; 8] = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Side(Side::Below),
        Operator::Side(Side::UpTo),
        Operator::Side(Side::Above),
        Operator::Side(Side::From),
        Operator::In,
        Operator::NotIn,
    ];

    fn name(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Side(side) => side.name(),
            Operator::In => "in",
            Operator::NotIn => "not in",
        }
    }

    /// The operator of this name.
    pub(in crate::streams) fn parse(text: &str) -> Result<Operator, ConditionError> {
        let known = Operator::ALL.into_iter().find(|operator| operator.name() == text);
        known.ok_or_else(|| ConditionError::Operator(shown(&Value::from(text))))
    }
}

impl Side {
    pub(in crate::streams) fn name(self) -> &'static str {
        match self {
            Side::Below => "<",
            Side::UpTo => "<=",
            Side::Above => ">",
            Side::From => ">=",
        }
    }
}

pub(in crate::streams) fn check_count(filters: usize) -> Result<(), FilterError> {
    if filters > FILTERS_MAX { Err(FilterError::TooMany { count: filters }) } else { Ok(()) }
}

/// Reads the filter at `place`, counted from 1.
pub(in crate::streams) fn filter(
    json: &Value,
    place: usize,
    origins: &Origins,
) -> Result<Filter, FilterError> {
    let conditions = json.as_array().ok_or(FilterError::FilterNotAList { filter: place })?;
    if conditions.len() > CONDITIONS_MAX {
        return Err(FilterError::TooManyConditions { filter: place, count: conditions.len() });
    }
    let mut filter = Filter::everything();
    for (condition, json) in (1..).zip(conditions) {
        take_condition(json, origins, &mut filter).map_err(|error| FilterError::Condition {
            condition,
            filter: place,
            error,
        })?;
    }
    filter.settle();
    Ok(filter)
}

fn take_condition(json: &Value, origins: &Origins, filter: &mut Filter) -> Result<(), ConditionError> {
    let [attribute, operator, operand] =
        json.as_array().map(Vec::as_slice).ok_or(ConditionError::NotATriple)?
    else {
        return Err(ConditionError::NotATriple);
    };
    let (Some(attribute), Some(name)) = (attribute.as_str(), operator.as_str()) else {
        return Err(ConditionError::NotATriple);
    };
    let operator = Operator::parse(name);
    match attribute {
        "type" => filter.types = filter.types.and(among_words::<Type>("type", operator?, operand)?),
        "event" => {
            filter.happenings = filter.happenings.and(among_words::<Happening>("event", operator?, operand)?);
        }
        "channel" => {
            let among = among_things("channel", IdKind::Channel, operator?, operand, origins)?;
            filter.conditions.push(Condition::Channel(among));
        }
        "sender" => {
            let among = among_things("sender", IdKind::User, operator?, operand, origins)?;
            filter.conditions.push(Condition::Sender(among));
        }
        "at" => filter.conditions.push(Condition::At(test("at", operator?, operand, &time)?)),
        "offset" => filter.conditions.push(Condition::Offset(test("offset", operator?, operand, &offset)?)),
        other => return Err(ConditionError::Attribute(shown(&Value::from(other)))),
    }
    Ok(())
}

fn among_words<W: Word>(
    attribute: &'static str,
    operator: Operator,
    operand: &Value,
) -> Result<Words, ConditionError> {
    let word = |value: &Value| {
        value
            .as_str()
            .and_then(words::named::<W>)
            .ok_or_else(|| wrong(value, attribute, format!("one of {}", words::names::<W>())))
    };
    let (words, wanted) = values(attribute, operator, operand, &word)?;
    let words = Words::of(words);
    Ok(if wanted { words } else { Words::all::<W>().without(words) })
}

/// Ids of nothing here are left out: nothing is equal to them.
fn among_things(
    attribute: &'static str,
    kind: IdKind,
    operator: Operator,
    operand: &Value,
    origins: &Origins,
) -> Result<Among<Option<Offset>>, ConditionError> {
    let place = |value: &Value| match value {
        Value::Null => Ok(Some(None)),
        _ => {
            let place = value.as_str().and_then(|id| Birthplace::parse(kind.letter(), id));
            let place = place.ok_or_else(|| {
                wrong(value, attribute, format!("an id that begins with {}, or null", kind.letter()))
            })?;
            Ok(origins.local(place).map(Some))
        }
    };
    let (places, wanted) = values(attribute, operator, operand, &place)?;
    Ok(Among::new(places.into_iter().flatten().collect(), wanted))
}

/// What a condition asks of a value that has an order.
pub(in crate::streams) fn test<T: Ord>(
    attribute: &'static str,
    operator: Operator,
    operand: &Value,
    read: &dyn Fn(&Value) -> Result<T, ConditionError>,
) -> Result<Test<T>, ConditionError> {
    if let Operator::Side(side) = operator {
        return Ok(Test::Side(side, read(operand)?));
    }
    let (values, wanted) = values(attribute, operator, operand, read)?;
    Ok(Test::Among(Among::new(values, wanted)))
}

/// The values of an operator that asks for no order, and whether they are wanted.
pub(in crate::streams) fn values<T>(
    attribute: &'static str,
    operator: Operator,
    operand: &Value,
    read: &dyn Fn(&Value) -> Result<T, ConditionError>,
) -> Result<(Vec<T>, bool), ConditionError> {
    let list = || {
        let list = operand.as_array().ok_or(ConditionError::NoList { operator: operator.name() })?;
        if list.len() > VALUES_MAX {
            return Err(ConditionError::TooManyValues { count: list.len() });
        }
        list.iter().map(read).collect()
    };
    match operator {
        Operator::Equal => Ok((vec![read(operand)?], true)),
        Operator::NotEqual => Ok((vec![read(operand)?], false)),
        Operator::In => Ok((list()?, true)),
        Operator::NotIn => Ok((list()?, false)),
        Operator::Side(side) => Err(ConditionError::NoOrder { attribute, operator: side.name() }),
    }
}

fn time(value: &Value) -> Result<Timestamp, ConditionError> {
    let time = value.as_str().and_then(timestamps::parse);
    time.ok_or_else(|| wrong(value, "at", "a time like \"2004-11-15T01:00:00Z\"".into()))
}

fn offset(value: &Value) -> Result<Offset, ConditionError> {
    value.as_u64().map(Offset).ok_or_else(|| wrong(value, "offset", "a whole number from 0 up".into()))
}

/// The attribute cannot have this value.
pub(in crate::streams) fn wrong(value: &Value, attribute: &'static str, wanted: String) -> ConditionError {
    ConditionError::Value { value: shown(value), attribute, wanted }
}

/// A value as its giver wrote it, shortened.
pub(in crate::streams) fn shown(value: &Value) -> String {
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_CHARS_MAX) {
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
}
