//! Calls about channels and messages.

use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::{Described, Effect, JSON, Parameter, USER, call, named, patterned, whole_number};
use crate::http::problem::Code;
use crate::http::shapes::{
    AddedMember, Boot, Channel, Channels, CreateChannel, Deleted, Members, Message, Messages, RemovedMember,
    SendMessage,
};

const CHANNEL: &str = "A channel's id.";

const KEY: Parameter = (
    "Idempotency-Key",
    || ParameterIn::Header,
    "The same user, method, path, key and body give the first answer again.",
    || printable(128),
);

const AT: Parameter = (
    "at",
    || ParameterIn::Query,
    "The state as it was at this offset, less what was erased since.",
    || whole_number(0, None),
);

pub(super) static CALLS: &[Described] = &[
    Described {
        parameters: &[(
            "messages",
            || ParameterIn::Query,
            "How many of the newest messages of each channel; 50 if not given.",
            || whole_number(0, Some(500)),
        )],
        answers: (200, JSON, Some(named::<Boot<'_>>)),
        effect: Effect::Reads,
        problems: &[Code::Busy],
        ..call(
            "chat",
            "boot",
            "GET",
            "/api/boot",
            "One state of everything that the caller may see, exact at its resume point.",
        )
    },
    Described {
        parameters: &[KEY],
        body: Some(named::<CreateChannel>),
        answers: (201, JSON, Some(named::<Channel>)),
        effect: Effect::Writes,
        problems: &[Code::BadName, Code::BadKey, Code::NameTaken, Code::KeyReused, Code::LogDamaged],
        ..call("chat", "create_channel", "POST", "/api/channels", "Create a channel.")
    },
    Described {
        parameters: &[AT],
        answers: (200, JSON, Some(named::<Channels>)),
        effect: Effect::Reads,
        problems: &[Code::Busy],
        ..call("chat", "list_channels", "GET", "/api/channels", "All channels that the caller may see.")
    },
    Described {
        variables: &[CHANNEL],
        answers: (200, JSON, Some(named::<Deleted<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound],
        ..call(
            "chat",
            "delete_channel",
            "DELETE",
            "/api/channels/{id}",
            "Delete a channel with all its messages.",
        )
    },
    Described {
        variables: &[CHANNEL],
        answers: (200, JSON, Some(named::<Members>)),
        problems: &[Code::NotFound, Code::NotPrivate],
        ..call(
            "chat",
            "list_members",
            "GET",
            "/api/channels/{id}/members",
            "The members of a private channel.",
        )
    },
    Described {
        variables: &[CHANNEL, USER],
        answers: (200, JSON, Some(named::<AddedMember<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::NotFound, Code::NotPrivate],
        ..call(
            "chat",
            "add_member",
            "PUT",
            "/api/channels/{id}/members/{user}",
            "Make somebody a member of a private channel.",
        )
    },
    Described {
        variables: &[CHANNEL, USER],
        answers: (200, JSON, Some(named::<RemovedMember<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound, Code::NotPrivate],
        ..call(
            "chat",
            "remove_member",
            "DELETE",
            "/api/channels/{id}/members/{user}",
            "Remove a member of a private channel, or leave it.",
        )
    },
    Described {
        variables: &[CHANNEL],
        parameters: &[KEY],
        body: Some(named::<SendMessage>),
        answers: (201, JSON, Some(named::<Message<'_>>)),
        effect: Effect::Writes,
        problems: &[
            Code::BadBody,
            Code::BadKey,
            Code::NotFound,
            Code::KeyReused,
            Code::MessageTooLarge,
            Code::LogDamaged,
        ],
        ..call("chat", "send_message", "POST", "/api/channels/{id}", "Send a message.")
    },
    Described {
        variables: &[CHANNEL],
        parameters: &[
            ("before", || ParameterIn::Query, "The newest messages before this cursor.", cursor),
            (
                "after",
                || ParameterIn::Query,
                "The oldest messages after this cursor, or `oldest`.",
                cursor_or_oldest,
            ),
            (
                "limit",
                || ParameterIn::Query,
                "The most messages; 50 if not given.",
                || whole_number(1, Some(500)),
            ),
            AT,
        ],
        answers: (200, JSON, Some(named::<Messages<'_>>)),
        effect: Effect::Reads,
        problems: &[Code::BadCursor, Code::NotFound, Code::Busy],
        ..call("chat", "history", "GET", "/api/channels/{id}/messages", "A page of a channel's history.")
    },
    Described {
        variables: &["A message's id."],
        answers: (200, JSON, Some(named::<Deleted<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound, Code::LogDamaged],
        ..call("chat", "delete_message", "DELETE", "/api/messages/{id}", "Delete a message.")
    },
];

fn printable(length_max: usize) -> RefOr<Schema> {
    let text =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(length_max));
    RefOr::T(Schema::Object(text.pattern(Some("^[!-~]([ -~]*[!-~])?$")).build()))
}

fn cursor() -> RefOr<Schema> {
    patterned("^[0-9a-f]{40}$")
}

fn cursor_or_oldest() -> RefOr<Schema> {
    patterned("^(oldest|[0-9a-f]{40})$")
}
