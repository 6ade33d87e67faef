//! Calls of Arvados' clients.

use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use super::{Described, Effect, JSON, Parameter, any_object, call, text, whole_number, words};
use crate::http::problem::Code;

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

pub(super) static CALLS: &[Described] = &[
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
        ..call(
            "arvados",
            "arvados_socket",
            "GET",
            "/websocket",
            "Events as Arvados' event protocol, version 0.",
        )
    },
    Described {
        parameters: &LOGS,
        answers: (200, JSON, Some(any_object)),
        effect: Effect::Reads,
        problems: &[Code::BadFilters, Code::Busy, Code::Draining],
        ..call("arvados", "arvados_logs", "GET", "/arvados/v1/logs", "Events as rows of Arvados' log.")
    },
    Described {
        body: Some(logs_form),
        answers: (200, JSON, Some(any_object)),
        effect: Effect::Reads,
        problems: &[Code::BadFilters, Code::Busy, Code::Draining],
        ..call(
            "arvados",
            "arvados_logs_by_post",
            "POST",
            "/arvados/v1/logs",
            "The same, the parameters in a form.",
        )
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..call(
            "arvados",
            "arvados_discovery",
            "GET",
            "/discovery/v1/apis/arvados/v1/rest",
            "What Arvados' clients build themselves from.",
        )
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..call(
            "arvados",
            "arvados_ping",
            "GET",
            "/_health/ping",
            "Whether the process runs, as Arvados has it.",
        )
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..call(
            "arvados",
            "arvados_health",
            "GET",
            "/_health/db",
            "Whether the log can be read and written, as Arvados has it.",
        )
    },
];

/// The parameters of the logs, as a form has them.
fn logs_form() -> RefOr<Schema> {
    let form =
        LOGS.iter().fold(ObjectBuilder::new(), |form, (name, _, _, schema)| form.property(*name, schema()));
    RefOr::T(Schema::Object(form.build()))
}
