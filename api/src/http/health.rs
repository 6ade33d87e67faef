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

/// Whether the server would carry out a write and a read now.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// What is in the way, all of it: `starting`, `draining`, `disk_full`, `write_failed`, `log_damaged`. Empty when ready.
    #[schema(value_type = Vec<String>)]
    reasons: Vec<&'static str>,
    /// How far the log is read, while the server is starting; all other fields are missing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replay: Option<Replay>,
    /// Whether there is an owner yet. Without one the server is ready all the same: for the set-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    set_up: Option<bool>,
    /// Whether writes are carried out; reads may go on without.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    writable: Option<bool>,
    /// The offset of the newest durable record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    head: Option<u64>,
    /// How many deleted texts wait to be erased from the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    texts_to_erase: Option<u64>,
    /// Where the first damage was met since the start, if any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    damaged_at: Option<u64>,
}

/// How far a start has read the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Replay {
    /// The newest record that is read.
    pub(super) at: u64,
    /// The last one that will be; 0 until that is known.
    pub(super) head: u64,
}

impl Ready {
    /// What is told while the log is still being read.
    pub(super) fn starting(replay: Replay) -> Ready {
        Ready { replay: Some(replay), ..Ready::of(vec!["starting"]) }
    }

    fn of(reasons: Vec<&'static str>) -> Ready {
        let status = if reasons.is_empty() { "ready" } else { "not_ready" };
        Ready { status, reasons, ..Ready::default() }
    }

    /// What is in the way.
    pub(super) fn reasons(&self) -> &[&'static str] {
        &self.reasons
    }

    pub(super) fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    pub(super) fn answer(&self) -> Response {
        let status = if self.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        reply::json(status, self)
    }
}

/// What is told as long as the process runs.
pub(super) fn alive_answer() -> Response {
    reply::ok(&Alive { status: "alive", version: env!("CARGO_PKG_VERSION") })
}

/// `GET /livez`.
pub(super) async fn alive(_: Call) -> Result<Response, Problem> {
    Ok(alive_answer())
}

/// `GET /readyz`: 200, or 503 when the server should get no more work.
pub(super) async fn ready(call: Call) -> Result<Response, Problem> {
    Ok(call.server.blocking(|server| Ok(look(server))).await?.answer())
}

/// Whether a write would be carried out and a read served now. Asks the file system: for threads that may block.
pub(super) fn look(server: &Server) -> Ready {
    let node = &server.node;
    let write_failed = *node.writer.failed().borrow() || node.vault.has_failed();
    let draining = *server.stopping.borrow();
    let disk_full = !node.space.for_writes();
    let damage = node.log.damage().first;
    let reasons = [
        (draining, "draining"),
        (disk_full, "disk_full"),
        (write_failed, "write_failed"),
        (damage.is_some(), "log_damaged"),
    ];
    Ready {
        set_up: Some(server.is_set_up()),
        writable: Some(!(write_failed || draining || disk_full)),
        head: Some(node.log.head().offset.0),
        texts_to_erase: Some(node.log.with_masks(|masks| masks.texts_waiting())),
        damaged_at: damage.map(|offset| offset.0),
        ..Ready::of(reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect())
    }
}

/// `GET /metrics`.
pub(super) async fn figures(call: Call) -> Result<Response, Problem> {
    let text = call.server.blocking(|server| Ok(figures::render(server))).await?;
    Ok(reply::typed(StatusCode::OK, figures::MEDIA_TYPE, text))
}
