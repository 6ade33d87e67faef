//! The two calls that give events, behind their caller's identity.

use std::sync::Arc;

use scrollback_log::Offset;
use scrollback_log::clock::Clock;
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::Problem;
use crate::streams::{Reader, http};
use crate::vault::Session;

/// Who has opened a stream.
pub(super) struct Opener {
    session: Arc<Session>,
    clock: Arc<dyn Clock>,
}

impl Opener {
    /// Whoever sends this call.
    pub(super) fn of(call: &Call) -> Result<Opener, Problem> {
        Ok(Opener::by(&call.caller()?.session, &call.server))
    }

    /// Whoever has this session.
    pub(super) fn by(session: &Arc<Session>, server: &Server) -> Opener {
        Opener { session: Arc::clone(session), clock: Arc::clone(&server.node.clock) }
    }
}

impl Reader for Opener {
    fn is_live(&self) -> bool {
        self.session.is_live()
    }

    fn touch(&self) {
        self.session.touch(self.clock.now());
    }

    fn user(&self) -> Offset {
        self.session.user
    }
}

/// `GET /api/events`.
pub(super) async fn events(call: Call) -> Result<Response, Problem> {
    let reader = Arc::new(Opener::of(&call)?);
    http::events(Arc::clone(&call.server.streams), reader, call.query, &call.headers).await
}

/// `GET /api/events/poll`.
pub(super) async fn poll(call: Call) -> Result<Response, Problem> {
    let reader = Arc::new(Opener::of(&call)?);
    let (server, holder) = (Arc::clone(&call.server), call.holder());
    let page = http::poll(Arc::clone(&server.streams), reader, call.query).await?;
    server.large_answer(holder, page)
}
