//! The plainest ways to say what a stream shows, sharing nothing with the streams but the facts.

use scrollback_log::{Deletion, Offset, Record, Text, Timestamp};
use scrollback_projections::Origins;
use scrollback_projections::facts::{self, Body, Fact, Imported, Name, Reason, Role};
use serde_json::{Value, json};

use crate::ids::{self, IdKind};
use crate::timestamps;

/// The event that a record is; none for an internal one.
pub(in crate::streams) fn event(record: &Record<'_>, origins: &Origins) -> Option<Value> {
    let id = |kind, offset: Option<Offset>| json!(offset.map(|offset| ids::show(kind, offset, origins)));
    let user = |offset| id(IdKind::User, offset);
    let reason = |reason| if reason == Reason::Deleted { "deleted" } else { "expired" };
    let name = || facts::text::<Name<'_>>(record).unwrap().map_or("", |name| name.shown);
    let role = |role| match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Owner => "owner",
    };
    let mut at = record.time;
    let fields = match Fact::decode(record).unwrap() {
        Fact::OriginStarted(_) | Fact::InvitationIssued(_) | Fact::ImportAdvanced(_) | Fact::Audited(_) => {
            return None;
        }
        Fact::UserCreated(fact) => {
            json!({"type": "user", "event": "created", "id": user(Some(record.offset)),
            "name": name(), "role": role(fact.role), "active": true})
        }
        Fact::UserChanged(fact) => json!({"type": "user", "event": "changed", "id": user(Some(fact.user)),
            "name": name(), "role": role(fact.role), "active": fact.active}),
        Fact::ChannelCreated(fact) => {
            json!({"type": "channel", "event": "created", "id": id(IdKind::Channel, Some(record.offset)),
            "name": name(), "private": fact.private, "creator": user(fact.creator)})
        }
        Fact::ChannelDeleted(fact) => {
            json!({"type": "channel", "event": "deleted", "id": id(IdKind::Channel, Some(fact.channel)),
            "by": user(fact.by), "reason": reason(fact.reason)})
        }
        Fact::MessageSent(fact) => {
            json!({"type": "message", "event": "sent", "id": id(IdKind::Message, Some(record.offset)),
            "channel": id(IdKind::Channel, Some(fact.channel)), "sender": user(Some(fact.sender)),
            "body": facts::text::<Body<'_>>(record).unwrap().map_or("", |text| text.body)})
        }
        Fact::MessageImported(fact) => {
            at = fact.at;
            let text = facts::text::<Imported<'_>>(record).unwrap();
            json!({"type": "message", "event": "sent", "id": id(IdKind::Message, Some(record.offset)),
            "channel": id(IdKind::Channel, Some(fact.channel)), "sender": null,
            "sender_name": text.map_or("", |text| text.sender_name), "body": text.map_or("", |text| text.body),
            "recorded_at": shown(record.time)})
        }
        Fact::MessageDeleted(fact) => {
            json!({"type": "message", "event": "deleted", "id": id(IdKind::Message, Some(fact.message)),
            "channel": id(IdKind::Channel, Some(fact.channel)), "sender": user(fact.sender),
            "by": user(fact.by), "reason": reason(fact.reason)})
        }
        Fact::MembershipChanged(fact) => {
            let mut event = json!({"type": "member", "event": "removed", "user": user(Some(fact.user)),
                "channel": id(IdKind::Channel, Some(fact.channel)), "by": user(fact.by)});
            if fact.member {
                event["event"] = json!("added");
                event["history_after"] = json!(fact.channel.0 - 1);
            }
            event
        }
    };
    let mut event = json!({"offset": record.offset.0, "at": shown(at)});
    let object = event.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    if let Text::Gone(Deletion { time, .. }) = record.text {
        object.insert("deleted_at".into(), json!(shown(time)));
    }
    Some(event)
}

fn shown(time: Timestamp) -> String {
    timestamps::show(time).to_string()
}

/// A filter, as a query says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) types: Vec<&'static str>,
    pub(super) events: Vec<&'static str>,
    pub(super) channels: Vec<String>,
    pub(super) senders: Vec<String>,
}

impl Wanted {
    pub(super) fn query(&self) -> String {
        let pairs = |name: &str, values: &[String]| {
            values.iter().map(|value| format!("{name}={value}&")).collect::<String>()
        };
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        pairs("type", &owned(&self.types))
            + &pairs("event", &owned(&self.events))
            + &pairs("channel", &self.channels)
            + &pairs("sender", &self.senders)
    }

    /// Decides by what the event's JSON says.
    pub(super) fn matches(&self, event: &Value) -> bool {
        let field = |name: &str| event[name].as_str().unwrap_or_default();
        let one_of =
            |values: &[String], value: &str| values.is_empty() || values.iter().any(|wanted| wanted == value);
        let channel = if field("type") == "channel" { field("id") } else { field("channel") };
        let channel_is_gone = field("type") == "channel" && field("event") == "deleted";
        let of_type = self.types.is_empty()
            || self.types.contains(&field("type"))
            || (channel_is_gone && self.types.contains(&"message"));
        of_type
            && (self.events.is_empty() || self.events.contains(&field("event")))
            && one_of(&self.channels, channel)
            && (channel_is_gone || one_of(&self.senders, field("sender")))
    }
}
