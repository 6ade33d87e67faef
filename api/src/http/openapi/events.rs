//! The shapes of events, which are written by hand where they are encoded.

use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

use super::{named, offset, text};
use crate::http::shapes::{Role, Time};

/// Fields that may be left out.
const SOMETIMES: &[&str] = &["sender_name", "recorded_at", "deleted_at"];

/// Every shape, under its name.
pub(super) fn schemas() -> Vec<(&'static str, RefOr<Schema>)> {
    let deleted = ("reason", one_of(&["deleted", "expired"]));
    let shapes = vec![
        (
            "UserEvent",
            event(
                "user",
                &["created", "changed"],
                vec![id("U"), name(), ("role", named::<Role>()), ("active", boolean())],
            ),
        ),
        (
            "ChannelCreated",
            event(
                "channel",
                &["created"],
                vec![id("C"), name(), ("private", boolean()), ("creator", id_or_null("U")), deleted_at()],
            ),
        ),
        (
            "ChannelDeleted",
            event("channel", &["deleted"], vec![id("C"), ("by", id_or_null("U")), deleted.clone()]),
        ),
        (
            "MemberAdded",
            event("member", &["added"], [membership(), vec![("history_after", offset(0))]].concat()),
        ),
        ("MemberRemoved", event("member", &["removed"], membership())),
        (
            "MessageSent",
            event(
                "message",
                &["sent"],
                vec![
                    id("M"),
                    ("channel", id("C").1),
                    ("sender", id_or_null("U")),
                    ("sender_name", text()),
                    ("body", text()),
                    ("recorded_at", named::<Time>()),
                    deleted_at(),
                ],
            ),
        ),
        (
            "MessageDeleted",
            event(
                "message",
                &["deleted"],
                vec![
                    id("M"),
                    ("channel", id("C").1),
                    ("sender", id_or_null("U")),
                    ("by", id_or_null("U")),
                    deleted,
                ],
            ),
        ),
    ];
    let mut any = OneOfBuilder::new().description(Some("One event: the same bytes on every transport."));
    for (name, _) in &shapes {
        any = any.item(RefOr::<Schema>::Ref(Ref::from_schema_name(*name)));
    }
    let mut all: Vec<_> =
        shapes.into_iter().map(|(name, schema)| (name, RefOr::T(Schema::Object(schema)))).collect();
    all.push(("Event", RefOr::T(Schema::OneOf(any.build()))));
    all.push(("Poll", RefOr::T(Schema::Object(poll()))));
    all
}

/// What a poll answers.
fn poll() -> Object {
    let events = ArrayBuilder::new().items(RefOr::<Schema>::Ref(Ref::from_schema_name("Event")));
    let token = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .pattern(Some("^[0-9]{1,20}-[0-9a-f]{8}$"))
        .description(Some("The resume token to poll after next; null when the log could not go on."));
    let resume =
        object_of(one_of(&["ok", "ahead", "other_history"]), "Whether the log could go on from there.");
    ObjectBuilder::new()
        .description(Some("The events after a place in the log."))
        .property("resume", resume)
        .property("events", RefOr::T(Schema::Array(events.build())))
        .property("next", token.build())
        .property("head", offset(0))
        .required("resume")
        .required("events")
        .required("next")
        .required("head")
        .build()
}

fn event(kind: &str, names: &[&str], fields: Vec<(&'static str, RefOr<Schema>)>) -> Object {
    let mut object = ObjectBuilder::new()
        .property("offset", offset(1))
        .property("at", named::<Time>())
        .property("type", one_of(&[kind]))
        .property("event", one_of(names))
        .required("offset")
        .required("at")
        .required("type")
        .required("event");
    for (name, schema) in fields {
        object = object.property(name, schema);
        if !SOMETIMES.contains(&name) {
            object = object.required(name);
        }
    }
    object.build()
}

fn one_of(values: &[&str]) -> RefOr<Schema> {
    let values = values.iter().copied();
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).build()))
}

fn object_of(schema: RefOr<Schema>, description: &str) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            object.description = Some(description.to_owned());
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

/// Who is concerned by a change of members, and where.
fn membership() -> Vec<(&'static str, RefOr<Schema>)> {
    vec![("channel", id("C").1), ("user", id("U").1), ("by", id_or_null("U"))]
}

fn boolean() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Boolean).build()))
}

fn name() -> (&'static str, RefOr<Schema>) {
    ("name", text())
}

fn deleted_at() -> (&'static str, RefOr<Schema>) {
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("When the text was deleted; the text fields are `\"\"` then."));
    ("deleted_at", RefOr::T(Schema::Object(time.build())))
}

fn id_schema(letter: &str) -> Schema {
    let id =
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^{letter}[0-9A-Z]{{11,23}}$")));
    Schema::Object(id.build())
}

fn id(letter: &str) -> (&'static str, RefOr<Schema>) {
    ("id", RefOr::T(id_schema(letter)))
}

fn id_or_null(letter: &str) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    let either = AnyOfBuilder::new().item(RefOr::T(id_schema(letter))).item(null.build());
    RefOr::T(Schema::AnyOf(either.build()))
}
