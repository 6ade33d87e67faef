//! `GET /`: what this is and where the API is.

use http::StatusCode;
use warp::reply::Response;

use super::call::Call;
use super::problem::Problem;
use super::reply;

const PAGE: &str = concat!(
    "This is Scrollback ",
    env!("CARGO_PKG_VERSION"),
    ", a chat server whose memory is one log.\n\n",
    "The API is below /api/; its description is at /api/openapi.json.\n",
    "/livez and /readyz say how the server is, /metrics gives figures.\n",
);

/// The page.
pub(super) async fn page(_: Call) -> Result<Response, Problem> {
    Ok(reply::typed(StatusCode::OK, "text/plain; charset=utf-8", PAGE))
}
