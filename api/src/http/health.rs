//! How the server is: for whoever restarts it, for whoever sends it work, for whoever watches it.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::Problem;
use super::{figures, reply};

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `alive`.
    status: &'static str,
    /// The version of the server.
    version: &'static str,
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`, or what is in the way: `stopping` or `storage_failed`.
    status: &'static str,
    /// Whether there is an owner yet.
    set_up: bool,
    /// Whether there is room for writes; reads go on without.
    writable: bool,
    /// The offset of the newest durable record.
    head: u64,
    /// How many deleted texts wait to be erased from the disk.
    texts_to_erase: u64,
}

/// `GET /livez`.
pub(super) async fn alive(_: Call) -> Result<Response, Problem> {
    Ok(reply::ok(&Alive { status: "alive", version: env!("CARGO_PKG_VERSION") }))
}

/// `GET /readyz`: 200, or 503 when the server should get no more work.
pub(super) async fn ready(call: Call) -> Result<Response, Problem> {
    let ready = call.server.blocking(|server| Ok(look(server))).await?;
    let status = if ready.status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(reply::json(status, &ready))
}

fn look(server: &Server) -> Ready {
    let node = &server.node;
    let status = if *node.writer.failed().borrow() || node.vault.has_failed() {
        "storage_failed"
    } else if *server.stopping.borrow() {
        "stopping"
    } else {
        "ready"
    };
    Ready {
        status,
        set_up: server.is_set_up(),
        writable: status != "storage_failed" && node.space.for_writes(),
        head: node.log.head().offset.0,
        texts_to_erase: node.log.with_masks(|masks| masks.texts_waiting()),
    }
}

/// `GET /metrics`.
pub(super) async fn figures(call: Call) -> Result<Response, Problem> {
    let text = call.server.blocking(|server| Ok(figures::render(server))).await?;
    Ok(reply::typed(StatusCode::OK, figures::MEDIA_TYPE, text))
}
