//! What filters mean, said in the plainest way: the triples as they stand, on an event as clients see it.

use serde_json::Value;

use crate::streams::frame::{Happening, Type};
use crate::timestamps;

/// Whether these are no filters.
pub(super) fn is_refused(filters: &Value) -> bool {
    let Some(filters) = filters.as_array() else { return true };
    filters.is_empty() || filters.len() > 32 || filters.iter().any(is_no_filter)
}

/// Whether this is no filter.
pub(super) fn is_no_filter(filter: &Value) -> bool {
    let Some(conditions) = filter.as_array() else { return true };
    conditions.len() > 16 || conditions.iter().any(is_no_condition)
}

fn is_no_condition(condition: &Value) -> bool {
    let Some(parts) = condition.as_array() else { return true };
    if parts.len() != 3 {
        return true;
    }
    let (Some(attribute), Some(operator)) = (parts[0].as_str(), parts[1].as_str()) else { return true };
    if !["type", "event", "channel", "sender", "at", "offset"].contains(&attribute) {
        return true;
    }
    match operator {
        "=" | "!=" => !is_value(attribute, &parts[2]),
        "<" | "<=" | ">" | ">=" => !["at", "offset"].contains(&attribute) || !is_value(attribute, &parts[2]),
        "in" | "not in" => parts[2].as_array().is_none_or(|values| {
            values.len() > 100 || values.iter().any(|value| !is_value(attribute, value))
        }),
        _ => true,
    }
}

fn is_value(attribute: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match attribute {
        "type" => Type::ALL.iter().any(|word| word.name() == text),
        "event" => Happening::ALL.iter().any(|word| word.name() == text),
        "channel" => value.is_null() || is_id('C', text),
        "sender" => value.is_null() || is_id('U', text),
        "at" => timestamps::parse(text).is_some(),
        "offset" => value.is_u64(),
        _ => panic!("{attribute}"),
    }
}

/// A letter, ten digits of 48 bits, and up to thirteen of 64 bits that do not begin with zero.
fn is_id(letter: char, text: &str) -> bool {
    let digit = |digit: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(digit);
    let Some(digits) = text.strip_prefix(letter) else { return false };
    digits.chars().all(digit)
        && (11..=23).contains(&digits.len())
        && digits[..1] < *"8"
        && digits[10..11] != *"0"
        && (digits.len() < 23 || digits[10..11] < *"G")
}

/// Whether one of these filters, which are some, holds for this event.
pub(super) fn hold(filters: &Value, event: &Value) -> bool {
    list(filters).iter().any(|filter| list(filter).iter().all(|condition| holds(condition, event)))
}

fn holds(condition: &Value, event: &Value) -> bool {
    let parts = list(condition);
    let (attribute, operand) = (parts[0].as_str().unwrap(), &parts[2]);
    let value = value(attribute, event);
    let equals = |operand: &Value| same(attribute, &value, operand);
    let order = || order(attribute, &value).cmp(&order(attribute, operand));
    match parts[1].as_str().unwrap() {
        "=" => equals(operand),
        "!=" => !equals(operand),
        "in" => list(operand).iter().any(equals),
        "not in" => !list(operand).iter().any(equals),
        "<" => order().is_lt(),
        "<=" => order().is_le(),
        ">" => order().is_gt(),
        ">=" => order().is_ge(),
        other => panic!("{other}"),
    }
}

/// What an event has of an attribute; null if it has none.
pub(super) fn value(attribute: &str, event: &Value) -> Value {
    let field = if attribute == "channel" && event["type"] == "channel" { "id" } else { attribute };
    event[field].clone()
}

fn same(attribute: &str, value: &Value, operand: &Value) -> bool {
    match attribute {
        "at" | "offset" => order(attribute, value) == order(attribute, operand),
        _ => value == operand,
    }
}

fn order(attribute: &str, value: &Value) -> i128 {
    match attribute {
        "at" => timestamps::parse(value.as_str().unwrap()).unwrap().0.into(),
        _ => value.as_u64().unwrap().into(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}
