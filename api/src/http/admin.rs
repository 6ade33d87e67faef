//! What the owner asks of the running server itself.

use http::StatusCode;
use scrollback_projections::facts::Role;
use warp::reply::Response;

use super::call::Call;
use super::problem::{Code, Problem};
use super::shapes::{Nothing, Time, ViewsCheck};
use super::{body, reply};
use crate::node::check::{CheckReport, CheckState, Verdict};

/// Lets owners through.
fn owners_only(call: &Call) -> Result<(), Problem> {
    if call.caller()?.role == Role::Owner {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "only an owner may do that"))
}

/// `POST /api/admin/verify`: starts a check of the running views, unless one is under way.
pub(super) async fn start_check(call: Call) -> Result<Response, Problem> {
    owners_only(&call)?;
    let Nothing {} = body::parse(&call.body)?;
    let started = call.server.node.start_check().map_err(|error| {
        tracing::error!(%error, "a check could not be started");
        Problem::plain(Code::Internal)
    })?;
    Ok(reply::json(StatusCode::ACCEPTED, &shown(&started)))
}

/// `GET /api/admin/verify`: how the newest check stands.
pub(super) async fn check(call: Call) -> Result<Response, Problem> {
    owners_only(&call)?;
    Ok(reply::ok(&shown(&call.server.node.check())))
}

fn shown(state: &CheckState) -> ViewsCheck {
    match state {
        CheckState::None => ViewsCheck { state: "none", ..ViewsCheck::default() },
        CheckState::Running { at, head, since } => ViewsCheck {
            state: "running",
            at: Some(at.0),
            head: Some(head.0),
            started_at: Some(Time(*since)),
            ..ViewsCheck::default()
        },
        CheckState::Ended(CheckReport { verdict, at, since, until }) => {
            let ended = ViewsCheck {
                at: Some(at.0),
                started_at: Some(Time(*since)),
                ended_at: Some(Time(*until)),
                ..ViewsCheck::default()
            };
            match verdict {
                Verdict::Equal { digest } => {
                    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    ViewsCheck { state: "equal", digest: Some(digest), ..ended }
                }
                Verdict::Different { parts } => {
                    let differs = parts.iter().map(|part| part.name()).collect();
                    ViewsCheck { state: "different", differs: Some(differs), ..ended }
                }
                Verdict::Damaged(what) => ViewsCheck { state: "damaged", what: Some(what.clone()), ..ended },
                Verdict::Failed(why) => ViewsCheck { state: "failed", what: Some(why.clone()), ..ended },
            }
        }
    }
}
