//! The HTTP interface.
//!
//! A connection is taken by [`accept`], which hands each request to one warp filter made by `routes`. That finds the call
//! in a table, checks what all calls want (set-up, origin, identity, query, body) and runs the call's handler: one file
//! per kind of thing. A handler reads the views, or hands a command to the log's writer, and answers; everything that
//! goes wrong is a [`problem::Problem`].

pub mod accept;
mod accounts;
mod addresses;
mod admin;
mod arvados;
mod audit;
mod backup;
mod body;
mod boot;
mod call;
mod channels;
mod connection;
mod cursor;
mod figures;
mod forwarded;
pub mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod handoff;
mod head_guard;
mod health;
mod history;
mod idempotency;
mod identity;
mod in_flight;
mod invitations;
mod limits;
mod members;
mod messages;
mod openapi;
mod past;
mod path;
pub mod problem;
pub mod query;
mod reply;
pub(crate) mod requests;
mod root;
mod routes;
mod setup_token;
pub(crate) mod shapes;
mod streams;
mod tally;
mod texts;
mod tls;
mod tokens;
mod users;
mod watch;
mod websocket;
mod wire;

use std::sync::Arc;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

pub use accept::Drained;
pub use call::Server;
pub use front::Front;
pub use identity::Caller;
pub use routes::{Serves, filter};
pub use tls::{Tls, TlsError};

/// Serves all calls on `listener`, inside TLS if there is `tls`, and the figures on `figures` if they have a listener of
/// their own, in plain HTTP always, until the server is told to stop and has drained. As long as there is no server behind
/// `front`, that is what is told.
pub async fn serve(
    front: Arc<Front>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    figures: Option<TcpListener>,
) -> Drained {
    let on = |listener: TcpListener, tls: Option<Arc<Tls>>, serves: Serves| {
        let front = Arc::clone(&front);
        async move {
            let service = TowerToHyperService::new(warp::service(filter(Arc::clone(&front), serves)));
            let stopping = front.stopping.clone();
            let settings = &front.settings;
            accept::serve(listener, service, settings, tls, stopping, &front.streams_runtime).await
        }
    };
    let figures = async {
        match figures {
            Some(listener) => on(listener, None, Serves::Figures).await,
            None => Drained { cut: 0 },
        }
    };
    let (calls, figures) = tokio::join!(on(listener, tls, Serves::Calls), figures);
    Drained { cut: calls.cut + figures.cut }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tls_tests;
