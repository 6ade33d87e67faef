//! Calls by which events come.

use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};

use super::{
    Described, Effect, JSON, Parameter, call, list, named, patterned, resume_token, text, whole_number, words,
};
use crate::http::problem::Code;
use crate::http::shapes::Time;
use crate::streams::start::LAST_MAX;

const LAST: Parameter = (
    "last",
    || ParameterIn::Query,
    "Begin so that this many of the newest events that match come; not beside another start.",
    || whole_number(1, Some(LAST_MAX)),
);

const SINCE: Parameter = (
    "since",
    || ParameterIn::Query,
    "Begin with what was recorded at this time or later; not beside another start.",
    named::<Time>,
);

const FILTERS: [Parameter; 5] = [
    (
        "filter",
        || ParameterIn::Query,
        "A JSON list of conditions `[attribute, operator, operand]` that must all hold; repeatable, and one of them must hold.",
        || list(text()),
    ),
    (
        "channel",
        || ParameterIn::Query,
        "Only events of this channel, by its id; repeatable.",
        || list(text()),
    ),
    (
        "type",
        || ParameterIn::Query,
        "Only events of this type; repeatable.",
        || list(words(&["user", "channel", "message", "member"])),
    ),
    (
        "event",
        || ParameterIn::Query,
        "Only these events; repeatable.",
        || list(words(&["created", "changed", "sent", "deleted", "added", "removed"])),
    ),
    (
        "sender",
        || ParameterIn::Query,
        "Only events of this sender, by their id; repeatable.",
        || list(text()),
    ),
];

pub(super) static CALLS: &[Described] = &[
    Described {
        parameters: &[
            (
                "resume_point",
                || ParameterIn::Query,
                "An offset, a resume token, or `now`; the beginning if not given.",
                resume_point,
            ),
            (
                "Last-Event-ID",
                || ParameterIn::Header,
                "An offset or a resume token; wins over `resume_point`, `last` and `since`.",
                resume_token,
            ),
            LAST,
            SINCE,
            FILTERS[0],
            FILTERS[1],
            FILTERS[2],
            FILTERS[3],
            FILTERS[4],
        ],
        answers: (200, "text/event-stream", Some(text)),
        effect: Effect::Reads,
        problems: &[Code::BadResumePoint, Code::Busy, Code::Draining],
        ..call(
            "chat",
            "events",
            "GET",
            "/api/events",
            "The events after a place in the log, and all that follow.",
        )
    },
    Described {
        parameters: &[
            (
                "after",
                || ParameterIn::Query,
                "An offset, a resume token, or `now`; the beginning if not given.",
                resume_point,
            ),
            LAST,
            SINCE,
            (
                "wait",
                || ParameterIn::Query,
                "The most seconds to wait for an event; 0 if not given.",
                || whole_number(0, Some(60)),
            ),
            (
                "limit",
                || ParameterIn::Query,
                "The most events; 100 if not given.",
                || whole_number(1, Some(500)),
            ),
            FILTERS[0],
            FILTERS[1],
            FILTERS[2],
            FILTERS[3],
            FILTERS[4],
        ],
        answers: (200, JSON, Some(|| RefOr::Ref(Ref::from_schema_name("Poll")))),
        effect: Effect::Reads,
        problems: &[Code::BadResumePoint, Code::Busy, Code::Draining],
        ..call("chat", "poll", "GET", "/api/events/poll", "The events after a place in the log, once.")
    },
    Described {
        answers: (101, "", None),
        effect: Effect::Reads,
        problems: &[Code::UpgradeRequired, Code::BadRequest, Code::ForeignOrigin, Code::Draining],
        ..call("chat", "ws", "GET", "/api/ws", "Sessions over WebSocket: docs/api.md has the messages.")
    },
];

fn resume_point() -> RefOr<Schema> {
    patterned("^(now|(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?)$")
}
