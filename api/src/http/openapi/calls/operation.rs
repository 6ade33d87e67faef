//! Calls for whoever runs the server.

use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::{Described, Effect, JSON, any_object, call, named, resume_token, text, whole_number};
use crate::http::health::{Alive, Ready};
use crate::http::problem::Code;
use crate::http::shapes::{AuditPage, Nothing, ViewsCheck};

pub(super) static CALLS: &[Described] = &[
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
        ..call(
            "operation",
            "audit",
            "GET",
            "/api/admin/audit",
            "What concerned rights, the newest first, for owners.",
        )
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
        ..call(
            "operation",
            "backup",
            "GET",
            "/api/admin/backup",
            "The whole log, exact at one offset, for an owner.",
        )
    },
    Described {
        body: Some(named::<Nothing>),
        answers: (202, JSON, Some(named::<ViewsCheck>)),
        problems: &[Code::Forbidden],
        ..call(
            "operation",
            "start_check",
            "POST",
            "/api/admin/verify",
            "Start comparing the running views with what the log adds up to, as an owner, unless that is under way.",
        )
    },
    Described {
        answers: (200, JSON, Some(named::<ViewsCheck>)),
        problems: &[Code::Forbidden],
        ..call(
            "operation",
            "check",
            "GET",
            "/api/admin/verify",
            "How the newest comparison stands, for owners.",
        )
    },
    Described {
        answers: (200, JSON, Some(any_object)),
        ..call("operation", "openapi", "GET", "/api/openapi.json", "This document.")
    },
    Described {
        answers: (200, JSON, Some(named::<Alive>)),
        ..call("operation", "alive", "GET", "/livez", "Whether the process runs.")
    },
    Described {
        answers: (200, JSON, Some(named::<Ready>)),
        ..call("operation", "ready", "GET", "/readyz", "Whether the server can do its work.")
    },
    Described {
        answers: (200, "text/plain; version=0.0.4; charset=utf-8", Some(text)),
        ..call("operation", "metrics", "GET", "/metrics", "Figures for Prometheus.")
    },
    Described {
        answers: (200, "text/plain; charset=utf-8", Some(text)),
        ..call("operation", "about", "GET", "/", "What this is and where the API is.")
    },
];

fn bytes() -> RefOr<Schema> {
    let bytes = ObjectBuilder::new().schema_type(Type::String);
    RefOr::T(Schema::Object(bytes.content_media_type("application/octet-stream").build()))
}
