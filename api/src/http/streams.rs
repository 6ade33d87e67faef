//! The two calls that give events, behind their caller's identity.

use std::sync::Arc;

use warp::reply::Response;

use super::call::Call;
use super::identity::Caller;
use super::problem::Problem;
use super::reply;
use crate::streams::{Reader, http};

impl Reader for Caller {
    fn is_live(&self) -> bool {
        self.session.is_live()
    }
}

/// `GET /api/events`.
pub(super) async fn events(call: Call) -> Result<Response, Problem> {
    let reader = Arc::new(call.caller()?.clone());
    http::events(Arc::clone(&call.server.streams), reader, call.query, &call.headers).await
}

/// `GET /api/events/poll`.
pub(super) async fn poll(call: Call) -> Result<Response, Problem> {
    let reader = Arc::new(call.caller()?.clone());
    let page = http::poll(Arc::clone(&call.server.streams), reader, call.query).await?;
    Ok(reply::json_bytes(::http::StatusCode::OK, page))
}
