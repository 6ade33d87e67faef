//! Arvados' filters, as those of the subscription machine.
//!
//! A filter is a list of conditions `[attribute, operator, operand]` that must all hold. The original ignores what it does
//! not know, which then matches everything; here it is refused, with its place.

use scrollback_log::origin::Birthplace;
use scrollback_log::{Offset, Timestamp};
use scrollback_projections::Origins;
use serde_json::Value;

use super::row::{EventType, ObjectKind};
use crate::ids::IdKind;
use crate::streams::filter::condition::{Among, Condition, Filter, Object};
use crate::streams::filter::parse::{Operator, shown, test, values, wrong};
use crate::streams::filter::words::{Word, Words};
use crate::streams::filter::{CONDITIONS_MAX, ConditionError};
use crate::streams::frame::{Happening, Type};
use crate::timestamps;

/// What is appended to a day to have a time of it, and to a time without a zone.
const MIDNIGHT: &str = "T00:00:00Z";
const UTC: &str = "Z";
/// No event is here: what stands for the id of another log.
const NOWHERE: Offset = Offset(u64::MAX);

/// What is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongFilter {
    /// Not a list.
    #[error("filters must be a list of conditions, each [attribute, operator, operand]")]
    NotAList,
    /// More than [`CONDITIONS_MAX`].
    #[error("there are {count} conditions, and {CONDITIONS_MAX} at most are taken")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// No such attribute.
    #[error(
        "condition {condition}: there is no attribute {attribute}; it must be one of event_type, object_uuid, \
         object_kind, object_owner_uuid, id, uuid, created_at, event_at"
    )]
    Attribute {
        /// Which condition, counted from 1.
        condition: usize,
        /// The attribute, shortened.
        attribute: String,
    },
    /// An operator of order, and an attribute that has none.
    #[error("condition {condition}: order can only be asked of id, uuid, created_at and event_at")]
    NoOrder {
        /// Which condition, counted from 1.
        condition: usize,
    },
    /// Something else is wrong with a condition.
    #[error("condition {condition}: {error}")]
    Condition {
        /// Which condition, counted from 1.
        condition: usize,
        /// What is wrong with it.
        error: ConditionError,
    },
}

/// Reads a filter; null is one without conditions.
pub(super) fn read(json: &Value, origins: &Origins) -> Result<Filter, WrongFilter> {
    let mut filter = Filter::everything();
    if json.is_null() {
        return Ok(filter);
    }
    let conditions = json.as_array().ok_or(WrongFilter::NotAList)?;
    if conditions.len() > CONDITIONS_MAX {
        return Err(WrongFilter::TooMany { count: conditions.len() });
    }
    for (condition, json) in (1..).zip(conditions) {
        take(json, condition, origins, &mut filter)?;
    }
    filter.settle();
    Ok(filter)
}

fn take(json: &Value, condition: usize, origins: &Origins, filter: &mut Filter) -> Result<(), WrongFilter> {
    let wrong = |error| match error {
        ConditionError::NoOrder { .. } => WrongFilter::NoOrder { condition },
        error => WrongFilter::Condition { condition, error },
    };
    let triple = json.as_array().map(Vec::as_slice);
    let Some([Value::String(attribute), Value::String(operator), operand]) = triple else {
        return Err(wrong(ConditionError::NotATriple));
    };
    let operator = Operator::parse(operator).map_err(wrong);
    match attribute.as_str() {
        "event_type" => {
            let words = words("event_type", operator?, operand, &event_types).map_err(wrong)?;
            filter.happenings = filter.happenings.and(words);
        }
        "object_kind" => {
            let words = words("object_kind", operator?, operand, &kinds).map_err(wrong)?;
            filter.types = filter.types.and(words);
        }
        "object_uuid" => {
            let (objects, wanted) =
                values("object_uuid", operator?, operand, &|id| object(id, origins)).map_err(wrong)?;
            let among = Among::new(objects.into_iter().flatten().collect(), wanted);
            filter.conditions.push(Condition::Object(among));
        }
        "object_owner_uuid" => {
            let (owners, wanted) =
                values("object_owner_uuid", operator?, operand, &|id| owner(id, origins)).map_err(wrong)?;
            let among = Among::new(owners.into_iter().flatten().collect(), wanted);
            filter.conditions.push(Condition::Owner(among));
        }
        "uuid" => {
            let test = test("uuid", operator?, operand, &|id| uuid(id, origins)).map_err(wrong)?;
            filter.conditions.push(Condition::Offset(test));
        }
        "id" => {
            let test = test("id", operator?, operand, &number).map_err(wrong)?;
            filter.conditions.push(Condition::Offset(test));
        }
        "created_at" => {
            let test = test("created_at", operator?, operand, &|at| time("created_at", at)).map_err(wrong)?;
            filter.conditions.push(Condition::RecordedAt(test));
        }
        "event_at" => {
            let test = test("event_at", operator?, operand, &|at| time("event_at", at)).map_err(wrong)?;
            filter.conditions.push(Condition::At(test));
        }
        other => return Err(WrongFilter::Attribute { condition, attribute: shown(&Value::from(other)) }),
    }
    Ok(())
}

/// The words of ours that what is asked of one of Arvados' comes to.
fn words<W: Word>(
    attribute: &'static str,
    operator: Operator,
    operand: &Value,
    of: &dyn Fn(&str) -> Option<Vec<W>>,
) -> Result<Words, ConditionError> {
    let read = |value: &Value| {
        let words = value.as_str().map(|name| of(name).unwrap_or_default());
        words.ok_or_else(|| wrong(value, attribute, "text".into()))
    };
    let (words, wanted) = values(attribute, operator, operand, &read)?;
    let words = Words::of(words.into_iter().flatten());
    Ok(if wanted { words } else { Words::all::<W>().without(words) })
}

/// None for types that no event here has: they are free text, so a client may well ask for more than there are.
fn event_types(name: &str) -> Option<Vec<Happening>> {
    let event_type = EventType::ALL.into_iter().find(|known| known.name() == name)?;
    Some(Happening::ALL.into_iter().filter(|happening| EventType::of(*happening) == event_type).collect())
}

fn kinds(name: &str) -> Option<Vec<Type>> {
    let kind = ObjectKind::ALL.into_iter().find(|known| known.name() == name)?;
    Some(Type::ALL.into_iter().filter(|sort| ObjectKind::of(*sort) == kind).collect())
}

/// None for what cannot be here.
fn object(value: &Value, origins: &Origins) -> Result<Option<Object>, ConditionError> {
    let Some(id) = value.as_str() else {
        return Err(wrong(value, "object_uuid", "an id".into()));
    };
    let sorts =
        [(IdKind::Message, Type::Message), (IdKind::Channel, Type::Channel), (IdKind::User, Type::User)];
    Ok(sorts.into_iter().find_map(|(letter, kind)| {
        let born = origins.local(Birthplace::parse(letter.letter(), id)?)?;
        Some(Object { kind, born })
    }))
}

/// None for what cannot be here; inside, none for null.
fn owner(value: &Value, origins: &Origins) -> Result<Option<Option<Offset>>, ConditionError> {
    match value {
        Value::Null => Ok(Some(None)),
        Value::String(id) => {
            let place = Birthplace::parse(IdKind::Channel.letter(), id);
            Ok(place.and_then(|place| origins.local(place)).map(Some))
        }
        other => Err(wrong(other, "object_owner_uuid", "an id, or null".into())),
    }
}

/// The ids of events have the order of the events.
fn uuid(value: &Value, origins: &Origins) -> Result<Offset, ConditionError> {
    let place = value.as_str().and_then(|id| Birthplace::parse(IdKind::Event.letter(), id));
    let place = place.ok_or_else(|| wrong(value, "uuid", "an event's id, which begins with E".into()))?;
    Ok(origins.local(place).unwrap_or(NOWHERE))
}

/// The client's own fall-back writes numbers as text.
fn number(value: &Value) -> Result<Offset, ConditionError> {
    let text = value.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = value.as_u64().or_else(|| text?.parse().ok());
    number.map(Offset).ok_or_else(|| wrong(value, "id", "a whole number from 0 up".into()))
}

/// A time, or a day, which is its midnight; without a zone in UTC, as `arv-ws --start-time` has it.
fn time(attribute: &'static str, value: &Value) -> Result<Timestamp, ConditionError> {
    let read = |text: &str| {
        timestamps::parse(text)
            .or_else(|| timestamps::parse(&format!("{text}{UTC}")))
            .or_else(|| timestamps::parse(&format!("{text}{MIDNIGHT}")))
    };
    value
        .as_str()
        .and_then(read)
        .ok_or_else(|| wrong(value, attribute, "a time like \"2004-11-15T01:00:00Z\"".into()))
}
