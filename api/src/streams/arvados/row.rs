//! An event as a row of Arvados' log.
//!
//! | Arvados | here |
//! | --- | --- |
//! | `id` | the event's offset |
//! | `uuid` | an id of the event, of this log alone |
//! | `event_type` | `create`: created, sent; `update`: changed, member added or removed; `delete`: deleted |
//! | `object_uuid` | the message, channel or user that it is about; of a membership the channel |
//! | `object_kind` | `scrollback#message`, `scrollback#channel`, `scrollback#user` |
//! | `object_owner_uuid` | of a message its channel, else null |
//! | `event_at` | the event's `at` |
//! | `created_at` | when it was recorded: not `at` if a message was imported |
//! | `properties.new_attributes` | all other fields of the event |

use scrollback_log::Offset;
use scrollback_projections::Origins;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{self, IdKind};
use crate::names::BODY_BYTES_MAX;
use crate::streams::frame::{Happening, Type};

/// The client ends a connection on which a larger frame comes, and asks for the same again.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// The most bytes that a byte of a text becomes in JSON.
const ESCAPED_BYTES_MAX: usize = 6;
/// More than all of a row but for the text takes.
const ROW_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(BODY_BYTES_MAX * ESCAPED_BYTES_MAX + ROW_BYTES_MAX < FRAME_BYTES_MAX);

/// What an event is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventType {
    Create,
    Update,
    Delete,
}

impl EventType {
    /// All of them.
    pub(super) const ALL: [EventType; 3] = [EventType::Create, EventType::Update, EventType::Delete];

    pub(super) fn of(happening: Happening) -> EventType {
        match happening {
            Happening::Created | Happening::Sent => EventType::Create,
            Happening::Changed | Happening::Added | Happening::Removed => EventType::Update,
            Happening::Deleted => EventType::Delete,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            EventType::Create => "create",
            EventType::Update => "update",
            EventType::Delete => "delete",
        }
    }
}

/// What sort of thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Message,
    Channel,
    User,
}

impl ObjectKind {
    /// All of them.
    pub(super) const ALL: [ObjectKind; 3] = [ObjectKind::Message, ObjectKind::Channel, ObjectKind::User];

    pub(super) fn of(kind: Type) -> ObjectKind {
        match kind {
            Type::Message => ObjectKind::Message,
            Type::Channel | Type::Member => ObjectKind::Channel,
            Type::User => ObjectKind::User,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            ObjectKind::Message => "scrollback#message",
            ObjectKind::Channel => "scrollback#channel",
            ObjectKind::User => "scrollback#user",
        }
    }
}

/// An event of ours.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) offset: u64,
    at: String,
    #[serde(rename = "type")]
    kind: String,
    event: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A row of Arvados' log.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    /// Counts what a connection is told, from 1; not in lists.
    #[serde(rename = "msgID", skip_serializing_if = "Option::is_none")]
    pub(super) message_number: Option<u64>,
    /// `arvados#log`; only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    pub(super) id: u64,
    uuid: String,
    object_uuid: Option<&'a str>,
    object_owner_uuid: Option<&'a str>,
    object_kind: &'static str,
    event_type: &'static str,
    event_at: &'a str,
    created_at: &'a str,
    properties: Properties<'a>,
}

#[derive(Debug, Serialize)]
struct Properties<'a> {
    /// The log keeps no state, so there is none of before.
    old_attributes: Map<String, Value>,
    new_attributes: &'a Map<String, Value>,
}

/// What is not an event, which the subscription machine does not give.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnEvent {
    /// Not JSON of that shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A word that none has.
    #[error("an event is of an unknown type or event")]
    Word,
}

/// Reads events that stand one after the other with a comma between two.
pub(super) fn events(json: &[u8]) -> Result<Vec<Event>, NotAnEvent> {
    let list = [b"[", json, b"]"].concat();
    Ok(serde_json::from_slice(&list)?)
}

impl Event {
    /// The event as a row.
    pub(super) fn row(&self, origins: &Origins) -> Result<Row<'_>, NotAnEvent> {
        let kind = Type::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let happening = Happening::ALL.into_iter().find(|happening| happening.name() == self.event);
        let (kind, happening) = kind.zip(happening).ok_or(NotAnEvent::Word)?;
        let text = |field: &str| self.rest.get(field).and_then(Value::as_str);
        Ok(Row {
            message_number: None,
            kind: None,
            id: self.offset,
            uuid: ids::show(IdKind::Event, Offset(self.offset), origins),
            object_uuid: text(if kind == Type::Member { "channel" } else { "id" }),
            object_owner_uuid: if kind == Type::Message { text("channel") } else { None },
            object_kind: ObjectKind::of(kind).name(),
            event_type: EventType::of(happening).name(),
            event_at: &self.at,
            created_at: text("recorded_at").unwrap_or(&self.at),
            properties: Properties { old_attributes: Map::new(), new_attributes: &self.rest },
        })
    }
}
