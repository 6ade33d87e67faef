//! What Arvados' clients are to be told of an event, written down apart from the server's own way to say it.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::client::{number, text};
use super::history::{is_masked, is_same};

/// An event as a row of Arvados' log, but for the row's own id.
pub(crate) fn row_of(event: &Value) -> Value {
    let mut attributes = event.as_object().expect("an event").clone();
    let mut take = |name: &str| attributes.remove(name).unwrap_or_default();
    let (id, at, kind, happening) = (take("offset"), take("at"), take("type"), take("event"));
    let object = if kind == "member" { &event["channel"] } else { &event["id"] };
    let owner = if kind == "message" { &event["channel"] } else { &Value::Null };
    let kind = if kind == "member" { "channel" } else { kind.as_str().expect("a type") };
    let happening = match happening.as_str() {
        Some("created" | "sent") => "create",
        Some("deleted") => "delete",
        _ => "update",
    };
    json!({
        "id": id,
        "object_uuid": object,
        "object_owner_uuid": owner,
        "object_kind": format!("scrollback#{kind}"),
        "event_type": happening,
        "event_at": at,
        "created_at": event.get("recorded_at").unwrap_or(&at),
        "properties": {"old_attributes": {}, "new_attributes": attributes}
    })
}

/// These are the rows, in this order, but for texts that are gone by now.
#[track_caller]
pub(crate) fn must_be(told: &[&Value], rows: &[Value]) {
    let ids = |rows: &mut dyn Iterator<Item = &Value>| rows.map(|row| number(row, "id")).collect::<Vec<_>>();
    let (came, expected) = (ids(&mut told.iter().copied()), ids(&mut rows.iter()));
    let without = |all: &[u64], some: &[u64]| {
        let some: HashSet<_> = some.iter().collect();
        all.iter().copied().filter(|id| !some.contains(id)).take(20).collect::<Vec<_>>()
    };
    let fallen = came.windows(2).find(|pair| pair[0] == pair[1] || (pair[0] < pair[1]) != rises(&expected));
    assert!(
        came == expected,
        "{} rows for {}; missing {:?}, not wanted {:?}, doubled or out of order {fallen:?}",
        came.len(),
        expected.len(),
        without(&expected, &came),
        without(&came, &expected)
    );
    let mut uuids = HashSet::new();
    for (told, row) in told.iter().zip(rows) {
        assert!(uuids.insert(text(told, "uuid")), "doubled: {told}");
        assert!(is_same_row(told, row), "{told} should be {row}");
    }
}

fn rises(ids: &[u64]) -> bool {
    ids.first() <= ids.last()
}

fn is_same_row(told: &Value, row: &Value) -> bool {
    let mut told = told.clone();
    let fields = told.as_object_mut().expect("a row");
    // Only on sockets, only in lists, and in both.
    fields.retain(|name, _| !["msgID", "kind", "uuid"].contains(&name.as_str()));
    let (mut told, mut row) = (told, row.clone());
    let [one, other] =
        [&mut told, &mut row].map(|row| row.pointer_mut("/properties/new_attributes").map(Value::take));
    one.zip(other).is_some_and(|(one, other)| is_same(&one, &other)) && told == row
}

/// The message whose text stands in a row.
pub(crate) fn shown_text(row: &Value) -> Option<&str> {
    let attributes = &row["properties"]["new_attributes"];
    let shows = attributes["body"].as_str().is_some_and(|body| !body.is_empty());
    if shows { row["object_uuid"].as_str() } else { None }
}

/// Whether a row is of a message whose text is gone.
pub(crate) fn is_without_text(row: &Value) -> bool {
    is_masked(&row["properties"]["new_attributes"])
}
