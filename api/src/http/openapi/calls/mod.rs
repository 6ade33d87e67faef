//! What the document says of each call beyond what its route does.

mod accounts;
mod arvados;
mod chat;
mod operation;
mod streams;
mod watches;

use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

use super::{named, text, whole_number};
use crate::http::problem::Code;

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

/// A variable part of the path.
const USER: &str = "A user's id.";

const fn call(
    tag: &'static str,
    id: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
) -> Described {
    Described { id, method, path, summary, tag, ..BASE }
}

/// Every call.
pub(super) fn all() -> impl Iterator<Item = &'static Described> {
    [accounts::CALLS, chat::CALLS, streams::CALLS, watches::CALLS, operation::CALLS, arvados::CALLS]
        .into_iter()
        .flatten()
}

fn any_object() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Object).build()))
}

fn patterned(pattern: &str) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()))
}

fn resume_token() -> RefOr<Schema> {
    patterned("^(0|[1-9][0-9]{0,18})(-[0-9a-f]{8})?$")
}

fn words(words: &[&str]) -> RefOr<Schema> {
    let words = words.iter().copied();
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()))
}

fn list(items: RefOr<Schema>) -> RefOr<Schema> {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(items).build()))
}
