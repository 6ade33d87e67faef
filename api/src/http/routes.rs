//! Which call a request is, and the checks that all calls share.
//!
//! One table says for every method and path what the call wants before its handler runs; the same table gives the 405s
//! their `Allow` and is what the OpenAPI document is tested against. All of it is one warp filter: a chain of one filter
//! per call could not tell 404 from 405 for paths with a variable part, knows no `Allow`, and tries (and boxes) every
//! call before the right one.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use bytes::{Buf, Bytes};
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method};
use scrollback_log::Offset;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::accept::Peer;
use super::body::{self, Pieces};
use super::call::{Call, Server};
use super::front::Front;
use super::in_flight::Holder;
use super::path::{Path, Variables, exact, with};
use super::problem::{Code, Problem};
use super::query::Query;
use super::requests::Requested;
use super::{
    accounts, admin, arvados, audit, backup, boot, channels, health, history, invitations, members, messages,
    openapi, reply, root, streams, tokens, users, watch, websocket,
};

/// What a handler's call comes to.
type Answering = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// One call.
pub(super) struct Route {
    /// The method's name: unlike [`Method`] it can be in a constant.
    pub(super) method: &'static str,
    pub(super) path: Path,
    /// Whether it wants to know who calls.
    pub(super) wants_caller: bool,
    /// Whether it can be called before the server is set up.
    pub(super) before_setup: bool,
    /// Whether it shows state, and thus takes `at_least`.
    pub(super) of_state: bool,
    /// Whether it takes a JSON body.
    pub(super) takes_body: bool,
    /// Whether that is a form instead: what could stand in a query.
    pub(super) takes_form: bool,
    /// Whether its handler reads query parameters.
    pub(super) takes_query: bool,
    /// Whether it begins something that a page of another origin must not, though it is a `GET`.
    upgrades: bool,
    /// Whether a `HEAD` can be answered like a `GET`: not where a stream would begin.
    heads: bool,
    handler: fn(Call) -> Answering,
}

impl Route {
    const fn new(method: &'static str, path: Path, handler: fn(Call) -> Answering) -> Route {
        Route {
            method,
            path,
            wants_caller: true,
            before_setup: false,
            of_state: false,
            takes_body: false,
            takes_form: false,
            takes_query: false,
            upgrades: false,
            heads: true,
            handler,
        }
    }

    /// Shows state to somebody known.
    const fn get(path: Path, handler: fn(Call) -> Answering) -> Route {
        Route { of_state: true, ..Route::new("GET", path, handler) }
    }

    const fn post(path: Path, handler: fn(Call) -> Answering) -> Route {
        Route { takes_body: true, ..Route::new("POST", path, handler) }
    }

    const fn delete(path: Path, handler: fn(Call) -> Answering) -> Route {
        Route::new("DELETE", path, handler)
    }

    const fn for_anybody(self) -> Route {
        Route { wants_caller: false, ..self }
    }

    const fn before_setup(self) -> Route {
        Route { wants_caller: false, before_setup: true, ..self }
    }

    const fn with_query(self) -> Route {
        Route { takes_query: true, ..self }
    }
}

macro_rules! handler {
    ($function:path) => {
        |call| Box::pin($function(call))
    };
}

/// Every call, the most frequent first.
pub(super) static ROUTES: &[Route] = &[
    Route::post(with("/api/channels/", "id", ""), handler!(messages::send)),
    Route::get(with("/api/channels/", "id", "/messages"), handler!(history::page)).with_query(),
    Route::get(exact("/api/boot"), handler!(boot::boot)).with_query(),
    Route {
        of_state: false,
        heads: false,
        ..Route::get(exact("/api/events"), handler!(streams::events)).with_query()
    },
    Route { heads: false, ..Route::get(exact("/api/events/poll"), handler!(streams::poll)).with_query() },
    Route {
        of_state: false,
        heads: false,
        upgrades: true,
        ..Route::get(exact("/api/ws"), handler!(websocket::open))
    },
    Route::delete(with("/api/messages/", "id", ""), handler!(messages::delete)),
    Route::get(exact("/api/channels"), handler!(channels::list)).with_query(),
    Route::post(exact("/api/channels"), handler!(channels::create)),
    Route::delete(with("/api/channels/", "id", ""), handler!(channels::delete)),
    Route::get(with("/api/channels/", "id", "/members"), handler!(members::list)),
    Route::new("PUT", with("/api/channels/", "id", "/members/").and("user"), handler!(members::add)),
    Route::delete(with("/api/channels/", "id", "/members/").and("user"), handler!(members::remove)),
    Route {
        of_state: false,
        heads: false,
        ..Route::get(with("/api/watch/", "name", "/events"), handler!(watch::events)).with_query()
    },
    Route {
        of_state: false,
        heads: false,
        ..Route::get(with("/api/watch/", "name", "/changes"), handler!(watch::changes)).with_query()
    },
    Route { of_state: false, ..Route::get(with("/api/watch/", "name", ""), handler!(watch::show)) },
    Route { takes_body: true, ..Route::new("PUT", with("/api/watch/", "name", ""), handler!(watch::set)) },
    Route::post(with("/api/watch/", "name", "/renew"), handler!(watch::renew)),
    Route::delete(with("/api/watch/", "name", ""), handler!(watch::end)),
    Route::get(exact("/api/auth/me"), handler!(accounts::me)),
    Route::post(exact("/api/auth/login"), handler!(accounts::log_in)).for_anybody(),
    Route::post(exact("/api/auth/logout"), handler!(accounts::log_out)),
    Route::post(exact("/api/password"), handler!(accounts::change_password)),
    Route {
        of_state: false,
        heads: false,
        ..Route::get(exact("/api/admin/backup"), handler!(backup::backup)).with_query()
    },
    Route::get(exact("/api/admin/audit"), handler!(audit::list)).with_query(),
    Route::get(exact("/api/users"), handler!(users::list)),
    Route { takes_body: true, ..Route::new("PUT", with("/api/users/", "id", ""), handler!(users::change)) },
    Route::get(exact("/api/tokens"), handler!(tokens::list)),
    Route::post(exact("/api/tokens"), handler!(tokens::create)),
    Route::delete(with("/api/tokens/", "id", ""), handler!(tokens::revoke)),
    Route::post(exact("/api/invite"), handler!(invitations::issue)),
    Route::get(with("/api/invite/", "token", ""), handler!(invitations::show)).for_anybody(),
    Route::post(with("/api/invite/", "token", ""), handler!(invitations::accept)).for_anybody(),
    Route::post(exact("/api/setup"), handler!(accounts::set_up)).before_setup(),
    Route::post(exact("/api/admin/verify"), handler!(admin::start_check)),
    Route { of_state: false, ..Route::get(exact("/api/admin/verify"), handler!(admin::check)) },
    Route::new("GET", exact("/api/openapi.json"), handler!(openapi::document)).before_setup(),
    Route {
        of_state: false,
        heads: false,
        upgrades: true,
        ..Route::get(exact("/websocket"), handler!(arvados::open)).with_query().for_anybody()
    },
    Route { of_state: false, ..Route::get(exact("/arvados/v1/logs"), handler!(arvados::list)).with_query() },
    Route {
        takes_body: true,
        takes_form: true,
        ..Route::new("POST", exact("/arvados/v1/logs"), handler!(arvados::list_by_post))
    },
    Route::new("GET", exact("/discovery/v1/apis/arvados/v1/rest"), handler!(arvados::document))
        .before_setup(),
    Route::new("GET", exact("/_health/ping"), handler!(arvados::ping)).before_setup(),
    Route::new("GET", exact("/_health/db"), handler!(arvados::health)).before_setup(),
    Route::new("GET", exact("/livez"), handler!(health::alive)).before_setup(),
    Route::new("GET", exact("/readyz"), handler!(health::ready)).before_setup(),
    Route::new("GET", exact(METRICS), handler!(health::figures)).before_setup(),
    Route::new("GET", exact("/"), handler!(root::page)).before_setup(),
];

/// What the figures' own listener serves and, when there is one, the other does not.
const METRICS: &str = "/metrics";
/// What is wrong below this is told as Arvados' clients read it.
const ARVADOS: &str = "/arvados/";
/// Everything below this waits for the set-up.
const API: &str = "/api/";

/// What a path that no call has is called in log lines.
const NO_PATTERN: &str = "(no such path)";

/// The pattern that a path fits, for log lines: of the path itself a part may be a secret.
pub(super) fn pattern_of(path: &str) -> &'static str {
    static PATTERNS: LazyLock<Vec<String>> =
        LazyLock::new(|| ROUTES.iter().map(|route| route.path.template()).collect());
    let place = ROUTES.iter().position(|route| route.path.find(path).is_some());
    place.and_then(|place| PATTERNS.get(place)).map_or(NO_PATTERN, String::as_str)
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// All calls; the figures only if they have no listener of their own.
    Calls,
    /// The figures.
    Figures,
}

/// All calls as one warp filter that answers everything itself.
#[must_use]
pub fn filter(front: Arc<Front>, serves: Serves) -> BoxedFilter<(Response,)> {
    warp::any()
        .map(move || (Arc::clone(&front), serves))
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::body::stream())
        .then(respond)
        .boxed()
}

/// A request but for its body.
struct Head {
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    peer: IpAddr,
}

async fn respond<B: Buf>(
    (front, serves): (Arc<Front>, Serves),
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    peer: Option<Peer>,
    mut pieces: impl Pieces<B>,
) -> Response {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
    let from = front.edges.address(peer, &headers);
    let requested = Requested::begin(&method, path.as_str(), &headers, front.edges.trusts(peer), from);
    let body_comes = body::comes(&headers);
    let is_arvados = path.as_str().starts_with(ARVADOS);
    let refuse = |problem: Problem| if is_arvados { problem.listed() } else { problem }.into_response();
    let head = Head { method, path, query, headers, peer };
    requested
        .answer(async {
            let admitted = match front.server() {
                Some(server) => admit(server, serves, head, &mut pieces).await,
                None => front.starting(serves, &head.method, head.path.as_str()).map(Admitted::Answered),
            };
            match admitted {
                Ok(Admitted::Call(answering)) => answering.await.unwrap_or_else(refuse),
                Ok(Admitted::Answered(response)) => response,
                Err(problem) => {
                    if body_comes && !problem.closes() {
                        body::drain(&mut pieces).await;
                    }
                    refuse(problem)
                }
            }
        })
        .await
}

/// What the shared checks come to.
enum Admitted {
    /// The handler is to run.
    Call(Answering),
    /// There is nothing left to do.
    Answered(Response),
}

/// Runs the shared checks, each only when those before it are passed, so that nobody learns by a later one what an
/// earlier one keeps from them, and no body is read for nothing.
async fn admit<B: Buf>(
    server: &Arc<Server>,
    serves: Serves,
    head: Head,
    pieces: &mut impl Pieces<B>,
) -> Result<Admitted, Problem> {
    let Head { method, path, query, headers, peer } = head;
    let (route, variables) = match find(server, serves, &method, path.as_str())? {
        Found::Route(route, variables) => (route, variables),
        Found::Options(allow) => return Ok(Admitted::Answered(options(allow))),
    };
    if !route.before_setup {
        require_setup(server)?;
    }
    let unsafe_method = if route.upgrades { &Method::POST } else { &method };
    server.edges.check_origin(unsafe_method, &headers, peer)?;
    let caller = if route.wants_caller { Some(server.authenticate(&headers)?) } else { None };
    let query = read_query(server, route, &query).await?;
    let address = server.edges.address(peer, &headers);
    let mut held = server.in_flight.hold(Holder::of(caller.as_ref(), address));
    let body = if route.takes_body {
        let media = if route.takes_form { body::Media::Form } else { body::Media::Json };
        body::read(&headers, media, pieces, &server.node.settings.connections, &mut held).await?
    } else {
        Bytes::new()
    };
    let server = Arc::clone(server);
    let call =
        Call { server, method, path, variables, query, headers, address, peer, caller, body, _held: held };
    Ok(Admitted::Call((route.handler)(call)))
}

/// What a path and method name.
enum Found {
    Route(&'static Route, Variables),
    /// Somebody asks what the path allows.
    Options(String),
}

fn find(server: &Server, serves: Serves, method: &Method, path: &str) -> Result<Found, Problem> {
    let served = |route: &Route| match serves {
        Serves::Figures => route.path.before == METRICS,
        Serves::Calls => route.path.before != METRICS || server.node.settings.metrics_listen.is_none(),
    };
    let answers =
        |route: &Route| route.method == method.as_str() || (*method == Method::HEAD && route.answers_head());
    let mut known = false;
    for route in ROUTES {
        if let Some(variables) = route.path.find(path).filter(|_| served(route)) {
            if answers(route) {
                return Ok(Found::Route(route, variables));
            }
            known = true;
        }
    }
    if path.starts_with(API) && !known {
        require_setup(server)?;
    }
    if !known {
        return Err(Problem::new(Code::NotFound, "there is no such path"));
    }
    let allow = allow(path);
    if *method == Method::OPTIONS {
        return Ok(Found::Options(allow));
    }
    if path.starts_with(API) {
        require_setup(server)?;
    }
    Err(Problem::plain(Code::MethodNotAllowed).allow(allow))
}

impl Route {
    fn answers_head(&self) -> bool {
        self.method == "GET" && self.heads
    }
}

/// The methods that a known path has, as the header has them.
fn allow(path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path.find(path).is_some()) {
        methods.push(route.method);
        if route.answers_head() {
            methods.push(Method::HEAD.as_str());
        }
    }
    methods.push(Method::OPTIONS.as_str());
    methods.join(", ")
}

fn options(allow: String) -> Response {
    let mut response = reply::no_content();
    if let Ok(allow) = HeaderValue::try_from(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn require_setup(server: &Server) -> Result<(), Problem> {
    if server.is_set_up() {
        return Ok(());
    }
    Err(Problem::new(Code::SetupRequired, "create the first user with `POST /api/setup`"))
}

/// Reads the query and, for a call that shows state, waits for the state that it asks for.
async fn read_query(server: &Server, route: &Route, text: &str) -> Result<Query, Problem> {
    let mut query = Query::parse(text)?;
    if route.of_state
        && let Some(offset) = query.take_number("at_least", 0, u64::MAX)?
    {
        server.reach(Offset(offset)).await?;
    }
    if route.takes_query {
        return Ok(query);
    }
    query.finish()?;
    Ok(Query::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_all_its_methods() {
        assert_eq!(allow("/api/channels/C1"), "POST, DELETE, OPTIONS");
        assert_eq!(allow("/api/channels/C1/members"), "GET, HEAD, OPTIONS");
        assert_eq!(allow("/api/channels/C1/members/U1"), "PUT, DELETE, OPTIONS");
        assert_eq!(allow("/api/channels"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow("/api/events"), "GET, OPTIONS");
    }

    #[test]
    fn log_lines_name_the_pattern_of_a_path_and_never_what_stands_in_it() {
        assert_eq!(pattern_of("/api/invite/SECRET"), "/api/invite/{token}");
        assert_eq!(pattern_of("/api/channels/C1/messages"), "/api/channels/{id}/messages");
        assert_eq!(pattern_of("/livez"), "/livez");
        for odd in ["/api/invite/SECRET/", "/api/invite//SECRET", "/SECRET", "", "*"] {
            assert_eq!(pattern_of(odd), NO_PATTERN);
        }
    }

    #[test]
    fn no_call_is_in_the_table_twice() {
        for (index, route) in ROUTES.iter().enumerate() {
            let same = |other: &Route| {
                other.method == route.method && other.path.template() == route.path.template()
            };
            assert!(!ROUTES[..index].iter().any(same), "{} {}", route.method, route.path.template());
        }
    }
}
