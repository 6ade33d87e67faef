//! What the document says of each call beyond what its route does.

use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

use super::{named, text, whole_number};
use crate::http::health::{Alive, Ready};
use crate::http::problem::Code;
use crate::http::shapes::{
    AddedMember, AuditPage, Boot, ChangePassword, ChangeUser, ChangedUser, Channel, Channels, CreateChannel,
    CreateToken, Credentials, Deleted, Invitation, Members, Message, Messages, NewInvitation, NewToken,
    NewUser, Nothing, RemovedMember, SendMessage, SetUp, SetWatch, Time, Tokens, User, Users, ViewsCheck,
    WatchChanges, Watched,
};
use crate::streams::start::LAST_MAX;

/// A schema, made when it is asked for.
type Made = fn() -> RefOr<Schema>;
/// A parameter beside the path's variable parts and `at_least`: name, place, description, schema.
type Parameter = (&'static str, fn() -> ParameterIn, &'static str, Made);

/// What a call does to the server, which says what can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It looks at the views.
    Looks,
    /// It reads records.
    Reads,
    /// It writes to the log.
    Writes,
    /// It writes to the vault alone.
    WritesSecrets,
}

/// One call.
pub(super) struct Described {
    pub(super) id: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    /// What the path's variable parts are.
    pub(super) variables: &'static [&'static str],
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Made>,
    /// Status, media type, schema.
    pub(super) answers: (u16, &'static str, Option<Made>),
    pub(super) sets_cookie: bool,
    pub(super) effect: Effect,
    /// The problems that calls of its sort do not share.
    pub(super) problems: &'static [Code],
}

const JSON: &str = "application/json";
const CHANNEL: &str = "A channel's id.";
const USER: &str = "A user's id.";
const INVITATION: &str = "An invitation's token.";
const WATCH: &str = "A watch's name: 1 to 64 of `A-Za-z0-9_-`.";

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

const LOGS: [Parameter; 6] = [
    ("filters", || ParameterIn::Query, "A JSON list of conditions that must all hold.", text),
    (
        "order",
        || ParameterIn::Query,
        "By `id` or `created_at`, `asc` or `desc`; `id desc` if not given.",
        text,
    ),
    ("limit", || ParameterIn::Query, "The most rows; 100 if not given.", || whole_number(1, Some(1_000))),
    ("offset", || ParameterIn::Query, "How many rows are left out before.", || whole_number(0, Some(10_000))),
    ("count", || ParameterIn::Query, "Whether `items_available` is told.", || words(&["exact", "none"])),
    ("alt", || ParameterIn::Query, "The form of the answer.", || words(&["json"])),
];

const BASE: Described = Described {
    id: "",
    method: "GET",
    path: "",
    tag: "",
    summary: "",
    variables: &[],
    parameters: &[],
    body: None,
    answers: (200, JSON, None),
    sets_cookie: false,
    effect: Effect::Looks,
    problems: &[],
};

const fn accounts(
    id: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
) -> Described {
    Described { id, method, path, summary, tag: "accounts", ..BASE }
}

const fn chat(
    id: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
) -> Described {
    Described { id, method, path, summary, tag: "chat", ..BASE }
}

const fn operation(id: &'static str, path: &'static str, summary: &'static str) -> Described {
    Described { id, path, summary, tag: "operation", ..BASE }
}

const fn arvados(
    id: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
) -> Described {
    Described { id, method, path, summary, tag: "arvados", ..BASE }
}

/// Every call.
pub(super) static CALLS: &[Described] = &[
    Described {
        body: Some(named::<SetUp>),
        answers: (201, JSON, Some(named::<NewUser>)),
        sets_cookie: true,
        effect: Effect::Writes,
        problems: &[
            Code::BadName,
            Code::BadPassword,
            Code::WrongSetupToken,
            Code::AlreadySetUp,
            Code::NameTaken,
        ],
        ..accounts("set_up", "POST", "/api/setup", "Make the first user, an owner, and log them in.")
    },
    Described {
        body: Some(named::<Credentials>),
        answers: (200, JSON, Some(named::<User>)),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        problems: &[Code::BadCredentials],
        ..accounts("log_in", "POST", "/api/auth/login", "Log in.")
    },
    Described {
        body: Some(named::<Nothing>),
        answers: (204, JSON, None),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        ..accounts(
            "log_out",
            "POST",
            "/api/auth/logout",
            "End the session or API token of this request and its streams.",
        )
    },
    Described {
        answers: (200, JSON, Some(named::<User>)),
        ..accounts("me", "GET", "/api/auth/me", "Who calls.")
    },
    Described {
        body: Some(named::<ChangePassword>),
        answers: (204, JSON, None),
        sets_cookie: true,
        effect: Effect::WritesSecrets,
        problems: &[Code::WrongPassword, Code::BadPassword],
        ..accounts(
            "change_password",
            "POST",
            "/api/password",
            "Change the password; every other session of the user ends.",
        )
    },
    Described {
        body: Some(named::<CreateToken>),
        answers: (201, JSON, Some(named::<NewToken>)),
        effect: Effect::WritesSecrets,
        problems: &[Code::BadLabel, Code::TooManyTokens],
        ..accounts("create_token", "POST", "/api/tokens", "Make an API token; it is shown this once.")
    },
    Described {
        answers: (200, JSON, Some(named::<Tokens>)),
        ..accounts("list_tokens", "GET", "/api/tokens", "The caller's API tokens.")
    },
    Described {
        variables: &["An API token's id."],
        answers: (204, JSON, None),
        effect: Effect::WritesSecrets,
        problems: &[Code::NotFound],
        ..accounts(
            "revoke_token",
            "DELETE",
            "/api/tokens/{id}",
            "End one of the caller's API tokens and its streams.",
        )
    },
    Described {
        body: Some(named::<Nothing>),
        answers: (201, JSON, Some(named::<NewInvitation>)),
        effect: Effect::Writes,
        ..accounts("invite", "POST", "/api/invite", "Make an invitation for one person.")
    },
    Described {
        variables: &[INVITATION],
        answers: (200, JSON, Some(named::<Invitation>)),
        problems: &[Code::NotFound],
        ..accounts("show_invitation", "GET", "/api/invite/{token}", "An open invitation.")
    },
    Described {
        variables: &[INVITATION],
        body: Some(named::<Credentials>),
        answers: (201, JSON, Some(named::<NewUser>)),
        sets_cookie: true,
        effect: Effect::Writes,
        problems: &[Code::BadName, Code::BadPassword, Code::NotFound, Code::NameTaken],
        ..accounts("accept_invitation", "POST", "/api/invite/{token}", "Become a user, and log in.")
    },
    Described {
        answers: (200, JSON, Some(named::<Users>)),
        ..accounts("list_users", "GET", "/api/users", "All users.")
    },
    Described {
        variables: &[USER],
        body: Some(named::<ChangeUser>),
        answers: (200, JSON, Some(named::<ChangedUser>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound, Code::LastOwner],
        ..accounts("change_user", "PUT", "/api/users/{id}", "Change a user's role or activity, as an owner.")
    },
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
        ..chat(
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
        ..chat("create_channel", "POST", "/api/channels", "Create a channel.")
    },
    Described {
        parameters: &[AT],
        answers: (200, JSON, Some(named::<Channels>)),
        effect: Effect::Reads,
        problems: &[Code::Busy],
        ..chat("list_channels", "GET", "/api/channels", "All channels that the caller may see.")
    },
    Described {
        variables: &[CHANNEL],
        answers: (200, JSON, Some(named::<Deleted<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound],
        ..chat("delete_channel", "DELETE", "/api/channels/{id}", "Delete a channel with all its messages.")
    },
    Described {
        variables: &[CHANNEL],
        answers: (200, JSON, Some(named::<Members>)),
        problems: &[Code::NotFound, Code::NotPrivate],
        ..chat("list_members", "GET", "/api/channels/{id}/members", "The members of a private channel.")
    },
    Described {
        variables: &[CHANNEL, USER],
        answers: (200, JSON, Some(named::<AddedMember<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::NotFound, Code::NotPrivate],
        ..chat(
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
        ..chat(
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
        ..chat("send_message", "POST", "/api/channels/{id}", "Send a message.")
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
        ..chat("history", "GET", "/api/channels/{id}/messages", "A page of a channel's history.")
    },
    Described {
        variables: &["A message's id."],
        answers: (200, JSON, Some(named::<Deleted<'_>>)),
        effect: Effect::Writes,
        problems: &[Code::Forbidden, Code::NotFound, Code::LogDamaged],
        ..chat("delete_message", "DELETE", "/api/messages/{id}", "Delete a message.")
    },
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
        ..chat("events", "GET", "/api/events", "The events after a place in the log, and all that follow.")
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
        ..chat("poll", "GET", "/api/events/poll", "The events after a place in the log, once.")
    },
    Described {
        answers: (101, "", None),
        effect: Effect::Reads,
        problems: &[Code::UpgradeRequired, Code::BadRequest, Code::ForeignOrigin, Code::Draining],
        ..chat("ws", "GET", "/api/ws", "Sessions over WebSocket: docs/api.md has the messages.")
    },
    Described {
        variables: &[WATCH],
        body: Some(named::<SetWatch>),
        answers: (200, JSON, Some(named::<Watched<'_>>)),
        problems: &[Code::BadWatch, Code::TooManyWatches],
        ..chat(
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
        ..chat("show_watch", "GET", "/api/watch/{name}", "A watch and how its channels stand.")
    },
    Described {
        variables: &[WATCH],
        body: Some(named::<Nothing>),
        answers: (200, JSON, Some(named::<Watched<'_>>)),
        problems: &[Code::BadWatch, Code::UnknownWatch],
        ..chat("renew_watch", "POST", "/api/watch/{name}/renew", "Keep a watch for its lease from now on.")
    },
    Described {
        variables: &[WATCH],
        answers: (204, JSON, None),
        problems: &[Code::BadWatch],
        ..chat("end_watch", "DELETE", "/api/watch/{name}", "End a watch.")
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
        ..chat("watch_events", "GET", "/api/watch/{name}/events", "Notices of a watch as they come.")
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
        ..chat("watch_changes", "GET", "/api/watch/{name}/changes", "What has changed of a watch.")
    },
    Described {
        parameters: &[
            (
                "before",
                || ParameterIn::Query,
                "Only what was recorded before this offset; the newest if not given.",
                || whole_number(1, None),
            ),
            (
                "limit",
                || ParameterIn::Query,
                "The most entries; 50 if not given.",
                || whole_number(1, Some(500)),
            ),
        ],
        answers: (200, JSON, Some(named::<AuditPage>)),
        effect: Effect::Reads,
        problems: &[Code::Forbidden],
        ..operation("audit", "/api/admin/audit", "What concerned rights, the newest first, for owners.")
    },
    Described {
        parameters: &[(
            "after",
            || ParameterIn::Query,
            "Where a backup was cut that is to be gone on with: an offset or a resume token.",
            resume_token,
        )],
        answers: (200, "application/octet-stream", Some(bytes)),
        effect: Effect::Reads,
        problems: &[Code::BadResumePoint, Code::Forbidden, Code::Ahead, Code::OtherHistory, Code::Busy],
        ..operation("backup", "/api/admin/backup", "The whole log, exact at one offset, for an owner.")
    },
    Described {
        method: "POST",
        body: Some(named::<Nothing>),
        answers: (202, JSON, Some(named::<ViewsCheck>)),
        problems: &[Code::Forbidden],
        ..operation(
            "start_check",
            "/api/admin/verify",
            "Start comparing the running views with what the log adds up to, as an owner, unless that is under way.",
        )
    },
    Described {
        answers: (200, JSON, Some(named::<ViewsCheck>)),
        problems: &[Code::Forbidden],
        ..operation("check", "/api/admin/verify", "How the newest comparison stands, for owners.")
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..operation("openapi", "/api/openapi.json", "This document.")
    },
    Described {
        parameters: &[
            ("api_token", || ParameterIn::Query, "The token, as Arvados' clients send it.", text),
            (
                "auth",
                || ParameterIn::Query,
                "`message`: the token comes in the first message.",
                || words(&["message"]),
            ),
        ],
        answers: (101, "", None),
        problems: &[
            Code::Unauthenticated,
            Code::UpgradeRequired,
            Code::BadRequest,
            Code::ForeignOrigin,
            Code::Draining,
        ],
        ..arvados("arvados_socket", "GET", "/websocket", "Events as Arvados' event protocol, version 0.")
    },
    Described {
        parameters: &LOGS,
        answers: (200, JSON, Some(any_object)),
        effect: Effect::Reads,
        problems: &[Code::BadFilters, Code::Busy, Code::Draining],
        ..arvados("arvados_logs", "GET", "/arvados/v1/logs", "Events as rows of Arvados' log.")
    },
    Described {
        body: Some(logs_form),
        answers: (200, JSON, Some(any_object)),
        effect: Effect::Reads,
        problems: &[Code::BadFilters, Code::Busy, Code::Draining],
        ..arvados("arvados_logs_by_post", "POST", "/arvados/v1/logs", "The same, the parameters in a form.")
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..arvados(
            "arvados_discovery",
            "GET",
            "/discovery/v1/apis/arvados/v1/rest",
            "What Arvados' clients build themselves from.",
        )
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..arvados("arvados_ping", "GET", "/_health/ping", "Whether the process runs, as Arvados has it.")
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..arvados(
            "arvados_health",
            "GET",
            "/_health/db",
            "Whether the log can be read and written, as Arvados has it.",
        )
    },
    Described {
        answers: (200, JSON, Some(named::<Alive>)),
        ..operation("alive", "/livez", "Whether the process runs.")
    },
    Described {
        answers: (200, JSON, Some(named::<Ready>)),
        ..operation("ready", "/readyz", "Whether the server can do its work.")
    },
    Described {
        answers: (200, "text/plain; version=0.0.4; charset=utf-8", Some(text)),
        ..operation("metrics", "/metrics", "Figures for Prometheus.")
    },
    Described {
        answers: (200, "text/plain; charset=utf-8", Some(text)),
        ..operation("about", "/", "What this is and where the API is.")
    },
];

fn bytes() -> RefOr<Schema> {
    let bytes = ObjectBuilder::new().schema_type(Type::String);
    RefOr::T(Schema::Object(bytes.content_media_type("application/octet-stream").build()))
}

/// The parameters of the logs, as a form has them.
fn logs_form() -> RefOr<Schema> {
    let form =
        LOGS.iter().fold(ObjectBuilder::new(), |form, (name, _, _, schema)| form.property(*name, schema()));
    RefOr::T(Schema::Object(form.build()))
}

fn any_object() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Object).build()))
}

fn patterned(pattern: &str) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()))
}

fn cursor() -> RefOr<Schema> {
    patterned("^[0-9a-f]{40}$")
}

fn cursor_or_oldest() -> RefOr<Schema> {
    patterned("^(oldest|[0-9a-f]{40})$")
}

fn resume_token() -> RefOr<Schema> {
    patterned("^(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?$")
}

fn watched_up_to() -> RefOr<Schema> {
    patterned("^([0-9]{1,16}[.])?(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?$")
}

fn resume_point() -> RefOr<Schema> {
    patterned("^(now|(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?)$")
}

fn printable(length_max: usize) -> RefOr<Schema> {
    let text =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(length_max));
    RefOr::T(Schema::Object(text.pattern(Some("^[!-~]([ -~]*[!-~])?$")).build()))
}

fn words(words: &[&str]) -> RefOr<Schema> {
    let words = words.iter().copied();
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()))
}

fn list(items: RefOr<Schema>) -> RefOr<Schema> {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(items).build()))
}
