//! `GET /api/openapi.json`: the contract for programs.
//!
//! What the [route table](super::routes) knows of a call (who may call it, whether it takes a body, shows state, has a
//! query) becomes the parameters and problems that such calls share; [`calls`] adds what is particular. So a call
//! cannot be served and not be described: a test compares the two tables.

mod calls;
mod events;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::StatusCode;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathsBuilder, Ref, RefOr, Required, Response as Answer, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use warp::reply::Response;

use super::call::Call;
use super::problem::{Code, MEDIA_TYPE, Problem, ProblemBody};
use super::routes::{ROUTES, Route};
use super::{health, reply, shapes};
use calls::{Described, Effect};

/// The name of the scheme for the cookie.
const COOKIE: &str = "cookie";
/// The name of the scheme for API tokens.
const BEARER: &str = "bearer";

/// The document, made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| build().to_pretty_json().unwrap_or_default() + "\n");

/// `GET /api/openapi.json`.
pub(super) async fn document(_: Call) -> Result<Response, Problem> {
    if DOCUMENT.is_empty() {
        return Err(Problem::plain(Code::Internal));
    }
    Ok(reply::json_bytes(StatusCode::OK, DOCUMENT.as_bytes()))
}

fn build() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut items: BTreeMap<String, Vec<(HttpMethod, Operation)>> = BTreeMap::new();
    for route in ROUTES {
        if let Some(described) = calls::all().find(|call| describes(call, route)) {
            items
                .entry(route.path.template())
                .or_default()
                .push((method(route.method), operation(route, described)));
        }
    }
    for (template, operations) in items {
        let mut item = PathItem::default();
        for (method, operation) in operations {
            item.merge_operations(PathItem::new(method, operation));
        }
        paths = paths.path(template, item);
    }
    let info = InfoBuilder::new()
        .title("Scrollback")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A chat server whose memory is one log. The whole contract, with examples, is in docs/api.md.",
        ))
        .license(Some(
            LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build(),
        ));
    OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components())).build()
}

fn describes(call: &Described, route: &Route) -> bool {
    call.method == route.method && call.path == route.path.template()
}

fn components() -> Components {
    let mut components = Components::new();
    macro_rules! add {
        ($($shape:ty),* $(,)?) => {
            $(components.schemas.insert(<$shape>::name().into_owned(), <$shape>::schema());)*
        };
    }
    add!(
        ProblemBody<'_>,
        shapes::Time,
        shapes::Role,
        shapes::Nothing,
        shapes::SetUp,
        shapes::Credentials,
        shapes::ChangePassword,
        shapes::CreateToken,
        shapes::ChangeUser,
        shapes::CreateChannel,
        shapes::SendMessage,
        shapes::User,
        shapes::NewUser,
        shapes::ListedUser,
        shapes::ChangedUser,
        shapes::Users,
        shapes::AuditEntry,
        shapes::AuditPage,
        shapes::Token,
        shapes::Tokens,
        shapes::NewToken,
        shapes::NewInvitation,
        shapes::Invitation,
        shapes::Issuer,
        shapes::Channel,
        shapes::Channels,
        shapes::Member,
        shapes::Members,
        shapes::AddedMember<'_>,
        shapes::RemovedMember<'_>,
        shapes::SetWatch,
        shapes::WatchedChannel,
        shapes::Watched<'_>,
        shapes::WatchedNow,
        shapes::WatchChanges,
        shapes::WatchChange,
        shapes::Message<'_>,
        shapes::Messages<'_>,
        shapes::Boot<'_>,
        shapes::Deleted<'_>,
        shapes::ViewsCheck,
        health::Alive,
        health::Ready,
        health::Replay,
    );
    for (name, schema) in events::schemas() {
        components.schemas.insert(name.to_owned(), schema);
    }
    for route in ROUTES {
        for codes in calls::all()
            .filter(|call| describes(call, route))
            .flat_map(|call| problems(route, call).into_values())
        {
            components.responses.insert(refusal_name(&codes), RefOr::T(refusal(&codes)));
        }
    }
    let cookie = ApiKeyValue::with_description(
        "identity",
        "Set by set-up, log-in, sign-up and password change. Its name is `__Host-identity` when the public URL is https.",
    );
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API token from `POST /api/tokens`; it wins over a cookie."));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    components
}

fn method(name: &str) -> HttpMethod {
    match name {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route, described: &Described) -> Operation {
    let mut operation = OperationBuilder::new()
        .tag(described.tag)
        .operation_id(Some(described.id))
        .summary(Some(described.summary));
    for (name, about) in route.path.names().zip(described.variables) {
        operation = operation.parameter(parameter(ParameterIn::Path, name, about, text()));
    }
    for (name, place, description, schema) in described.parameters {
        operation = operation.parameter(parameter(place(), name, description, schema()));
    }
    if route.of_state {
        let about = "Answer from a state that includes this offset; wait at most 5 s for it.";
        operation = operation.parameter(parameter(ParameterIn::Query, "at_least", about, offset(0)));
    }
    if let Some(body) = described.body {
        let content = Content::new(Some(body()));
        let media = if route.takes_form { "application/x-www-form-urlencoded" } else { "application/json" };
        let body = RequestBodyBuilder::new().required(Some(Required::True)).content(media, content);
        operation = operation.request_body(Some(body.build()));
    }
    // An empty list says that no identity is needed, even where others are.
    let schemes = if route.wants_caller { &[COOKIE, BEARER][..] } else { &[] };
    operation = operation.securities(Some(
        schemes.iter().map(|scheme| SecurityRequirement::new(*scheme, Vec::<String>::new())),
    ));
    operation = operation.response(described.answers.0.to_string(), success(described));
    if described.id == "ready" {
        let answer = ResponseBuilder::new().description("The server should get no more work.");
        let answer = answer.content("application/json", Content::new(Some(named::<health::Ready>())));
        operation = operation.response("503", answer.build());
    }
    if described.id == "arvados_health" {
        let answer = ResponseBuilder::new().description("It cannot.");
        let answer = answer.content("application/json", Content::new(described.answers.2.map(|made| made())));
        operation = operation.response("503", answer.build());
    }
    for (status, codes) in problems(route, described) {
        let refusal: RefOr<Answer> = RefOr::Ref(Ref::from_response_name(refusal_name(&codes)));
        operation = operation.response(status.to_string(), refusal);
    }
    operation.build()
}

fn success(described: &Described) -> Answer {
    let (_, media_type, schema) = described.answers;
    let mut answer = ResponseBuilder::new().description(described.summary);
    if let Some(schema) = schema {
        answer = answer.content(media_type, ContentBuilder::new().schema(Some(schema())).build());
    }
    if described.sets_cookie {
        let header = HeaderBuilder::new().schema(Some(text())).description(Some("The identity."));
        answer = answer.header("Set-Cookie", header.build());
    }
    answer.build()
}

/// The problems of a call, by status.
fn problems(route: &Route, described: &Described) -> BTreeMap<u16, Vec<Code>> {
    let mut codes = vec![
        Code::BadRequest,
        Code::BadQuery,
        Code::RateLimited,
        Code::HeadTimeout,
        Code::HeadTooLarge,
        Code::Internal,
    ];
    let mut when = |condition: bool, more: &[Code]| {
        if condition {
            codes.extend_from_slice(more);
        }
    };
    when(!route.before_setup, &[Code::SetupRequired]);
    // These two answer before there is a server.
    when(!["alive", "ready"].contains(&described.id), &[Code::Starting]);
    when(route.wants_caller, &[Code::Unauthenticated]);
    when(route.method != "GET", &[Code::ForeignOrigin]);
    when(route.of_state, &[Code::Behind]);
    when(
        route.takes_body,
        &[
            Code::BodyTimeout,
            // There is no memory for it.
            Code::Busy,
            Code::LengthRequired,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ],
    );
    when(route.takes_body && !route.takes_form, &[Code::NotJson, Code::BadSchema]);
    when(
        described.effect == Effect::Writes,
        &[Code::Busy, Code::Draining, Code::DiskFull, Code::OutcomeUnknown],
    );
    when(described.effect == Effect::WritesSecrets, &[Code::DiskFull, Code::OutcomeUnknown]);
    when(described.effect == Effect::Reads, &[Code::LogDamaged]);
    when(true, described.problems);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status
}

/// The name under which many calls share an answer.
fn refusal_name(codes: &[Code]) -> String {
    codes.iter().map(|code| code.name()).collect::<Vec<_>>().join("-or-")
}

/// A problem of one of these kinds.
fn refusal(codes: &[Code]) -> Answer {
    let names: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.clone()));
    let particular = ObjectBuilder::new().property("code", code.build());
    let schema = AllOfBuilder::new().item(named::<ProblemBody<'_>>()).item(particular.build());
    let mut answer = ResponseBuilder::new()
        .description(names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        .content(MEDIA_TYPE, Content::new(Some(RefOr::T(Schema::AllOf(schema.build())))));
    let waits = [Code::RateLimited, Code::Busy, Code::Behind, Code::DiskFull, Code::Starting];
    if codes.iter().any(|code| waits.contains(code)) {
        let about = "The seconds after which to try again.";
        answer = answer.header(
            "Retry-After",
            HeaderBuilder::new().schema(Some(offset(1))).description(Some(about)).build(),
        );
    }
    answer.build()
}

fn parameter(place: ParameterIn, name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A reference to a shape.
fn named<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

fn text() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()))
}

fn offset(from: u64) -> RefOr<Schema> {
    whole_number(from, None)
}

fn whole_number(from: u64, to: Option<u64>) -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(from)).maximum(to);
    RefOr::T(Schema::Object(number.build()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Set it to write the golden copy anew.
    const UPDATE: &str = "SCROLLBACK_UPDATE_GOLDEN";

    #[test]
    fn every_call_is_described_and_every_described_call_is_served() {
        let served: BTreeSet<_> = ROUTES.iter().map(|route| (route.path.template(), route.method)).collect();
        let described: BTreeSet<_> = calls::all().map(|call| (call.path.to_owned(), call.method)).collect();
        assert_eq!(served, described);
        for route in ROUTES {
            let template = route.path.template();
            let call = calls::all().find(|call| describes(call, route)).unwrap();
            assert_eq!(call.body.is_some(), route.takes_body, "{template}");
            let queries = call.parameters.iter().any(|(_, place, ..)| place() == ParameterIn::Query);
            assert_eq!(queries, route.takes_query, "{template}");
            assert_eq!(call.variables.len(), route.path.names().count(), "{template}");
        }
        let ids: BTreeSet<_> = calls::all().map(|call| call.id).collect();
        assert_eq!(ids.len(), calls::all().count(), "each has an id of its own");
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&DOCUMENT).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 100);
        for reference in references {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str().filter(|_| name == "$ref") {
                        Some(reference) => references.push(reference.to_owned()),
                        None => collect(value, references),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }

    #[test]
    fn every_code_is_in_the_document() {
        // The first is told by calls to a path with another method, which no document describes, the others inside a
        // WebSocket.
        let unsaid = [
            Code::MethodNotAllowed,
            Code::BadFilters,
            Code::BadAck,
            Code::UnknownSession,
            Code::SessionOpen,
            Code::TooManySessions,
        ];
        for code in Code::ALL.iter().filter(|code| !unsaid.contains(code)) {
            assert!(DOCUMENT.contains(&format!("\"{}\"", code.name())), "{code:?}");
        }
    }

    #[test]
    fn the_golden_copy_is_what_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, DOCUMENT.as_bytes()).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == *DOCUMENT,
            "docs/openapi.json is not what is served: set {UPDATE}=1, run this again, look at the difference"
        );
    }

    #[test]
    fn docs_api_md_names_every_call_and_every_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
        let text = std::fs::read_to_string(path).unwrap();
        for code in Code::ALL {
            let row = format!("| {} | `{}` |", code.status(), code.name());
            assert!(text.contains(&row), "the table of problems lacks {row}");
        }
        for call in calls::all() {
            let path = [("{id}", "ID"), ("{token}", "TOKEN"), ("{user}", "USER"), ("{name}", "NAME")];
            let path =
                path.iter().fold(call.path.to_owned(), |path, (name, shown)| path.replace(name, shown));
            let named = format!("{} {path}", call.method);
            assert!(text.contains(&named), "docs/api.md lacks {named}");
        }
    }
}
