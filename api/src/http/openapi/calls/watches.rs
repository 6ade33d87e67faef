//! Calls about watches.

use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::Schema;

use super::{Described, Effect, JSON, call, named, patterned, text, whole_number};
use crate::http::problem::Code;
use crate::http::shapes::{Nothing, SetWatch, WatchChanges, Watched};

const WATCH: &str = "A watch's name: 1 to 64 of `A-Za-z0-9_-`.";

pub(super) static CALLS: &[Described] = &[
    Described {
        variables: &[WATCH],
        body: Some(named::<SetWatch>),
        answers: (200, JSON, Some(named::<Watched<'_>>)),
        problems: &[Code::BadWatch, Code::TooManyWatches],
        ..call(
            "chat",
            "set_watch",
            "PUT",
            "/api/watch/{name}",
            "Set a watch of channels, in place of the one before.",
        )
    },
    Described {
        variables: &[WATCH],
        answers: (200, JSON, Some(named::<Watched<'_>>)),
        problems: &[Code::BadWatch, Code::UnknownWatch],
        ..call("chat", "show_watch", "GET", "/api/watch/{name}", "A watch and how its channels stand.")
    },
    Described {
        variables: &[WATCH],
        body: Some(named::<Nothing>),
        answers: (200, JSON, Some(named::<Watched<'_>>)),
        problems: &[Code::BadWatch, Code::UnknownWatch],
        ..call(
            "chat",
            "renew_watch",
            "POST",
            "/api/watch/{name}/renew",
            "Keep a watch for its lease from now on.",
        )
    },
    Described {
        variables: &[WATCH],
        answers: (204, JSON, None),
        problems: &[Code::BadWatch],
        ..call("chat", "end_watch", "DELETE", "/api/watch/{name}", "End a watch.")
    },
    Described {
        variables: &[WATCH],
        parameters: &[
            (
                "resume_point",
                || ParameterIn::Query,
                "Up to where all was told: as the watch gave it, or an offset or a resume token; what the watch was set with if not given.",
                watched_up_to,
            ),
            (
                "Last-Event-ID",
                || ParameterIn::Header,
                "The same, and stronger than `resume_point`.",
                watched_up_to,
            ),
        ],
        answers: (200, "text/event-stream", Some(text)),
        effect: Effect::Reads,
        problems: &[Code::BadWatch, Code::BadResumePoint, Code::UnknownWatch, Code::Draining],
        ..call("chat", "watch_events", "GET", "/api/watch/{name}/events", "Notices of a watch as they come.")
    },
    Described {
        variables: &[WATCH],
        parameters: &[
            (
                "after",
                || ParameterIn::Query,
                "Up to where all was told: as the watch gave it, or an offset or a resume token; what the watch was set with if not given.",
                watched_up_to,
            ),
            (
                "wait",
                || ParameterIn::Query,
                "The most seconds to wait for a change; 0 if not given.",
                || whole_number(0, Some(60)),
            ),
        ],
        answers: (200, JSON, Some(named::<WatchChanges>)),
        effect: Effect::Reads,
        problems: &[
            Code::BadWatch,
            Code::BadResumePoint,
            Code::UnknownWatch,
            Code::WatchReplaced,
            Code::Busy,
            Code::Draining,
        ],
        ..call("chat", "watch_changes", "GET", "/api/watch/{name}/changes", "What has changed of a watch.")
    },
];

fn watched_up_to() -> RefOr<Schema> {
    patterned("^([0-9]{1,16}[.])?(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?$")
}
