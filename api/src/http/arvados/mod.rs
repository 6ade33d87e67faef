//! What Arvados' clients call: the upgrade to their event socket, their log by pages, and what they look up first.
//!
//! The paths are Arvados'. What is said on the socket and what the rows are is in [`crate::streams::arvados`].

mod discovery;
mod logs;

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use warp::reply::Response;

use super::call::{Call, Server};
use super::health;
use super::identity::Caller;
use super::in_flight::Holder;
use super::problem::{Code, Problem};
use super::reply;
use super::streams::Opener;
use super::websocket;
use crate::streams::Reader;
use crate::streams::arvados::Socket;
use crate::streams::http::refuse_at_any_end;

pub(super) use discovery::document;
pub(super) use logs::{list, list_by_post};

/// What stands in `auth` of a client that says in its first message who it is.
const FIRST_MESSAGE: &str = "message";

/// `GET /websocket`: the upgrade. The token stands in `api_token`, or where our own calls have it, or comes in the first
/// message if `auth=message` announces that.
pub(super) async fn open(mut call: Call) -> Result<Response, Problem> {
    let token = call.query.take("api_token")?;
    let auth = call.query.take("auth")?;
    std::mem::take(&mut call.query).finish()?;
    let upgrade = websocket::Upgrade::check(&call.headers)?;
    let server = Arc::clone(&call.server);
    // Its clients come back at once when they were let in, and wait when they were not.
    refuse_at_any_end(&server.streams)?;
    let caller = match (token, auth.as_deref()) {
        (Some(token), None) => Some(server.authenticate_token(Some(&token))?),
        (None, Some(FIRST_MESSAGE)) => None,
        (None, None) => Some(server.authenticate(&call.headers)?),
        _ => {
            let detail = "give `api_token`, or `auth=message` and the token in the first message";
            return Err(Problem::new(Code::BadQuery, detail));
        }
    };
    let holds = websocket::holds(&server, Holder::of(caller.as_ref(), call.address));
    let streams = Arc::clone(&server.streams);
    let reader = caller.map(|caller| reader(&server, &caller));
    let door = move |token: &str| {
        server.authenticate_token(Some(token)).ok().map(|caller| self::reader(&server, &caller))
    };
    let socket = Socket::new(streams, reader, Box::new(door), holds);
    upgrade.answer(move |opened| Box::pin(socket.run(opened.socket, opened.head, opened.early)))
}

/// Whoever this is, as somebody who reads.
fn reader(server: &Server, caller: &Caller) -> Arc<dyn Reader> {
    Arc::new(Opener::by(&caller.session, server))
}

/// `GET /_health/ping`.
pub(super) async fn ping(_: Call) -> Result<Response, Problem> {
    Ok(reply::ok(&json!({"health": "OK"})))
}

/// `GET /_health/db`: whether the log is there to be read and written.
pub(super) async fn health(call: Call) -> Result<Response, Problem> {
    let ready = call.server.blocking(|server| Ok(health::look(server))).await?;
    if ready.is_ready() {
        return Ok(reply::ok(&json!({"health": "OK"})));
    }
    let error = ready.reasons().join(", ");
    Ok(reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"health": "ERROR", "error": error})))
}
