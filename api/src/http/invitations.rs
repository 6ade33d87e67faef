//! Invitations: a token that makes one more user.

use scrollback_log::Offset;
use scrollback_projections::facts::Role;
use scrollback_projections::{Invitation as View, Views};
use warp::reply::Response;

use super::accounts::{become_user, new_name};
use super::call::{Call, Server};
use super::problem::{Code, Problem};
use super::shapes::{Credentials, Invitation, Issuer, NewInvitation, Nothing, Time};
use super::{body, reply};
use crate::commands::{Answer, Command};
use crate::ids::{self, IdKind};

/// `POST /api/invite`.
pub(super) async fn issue(call: Call) -> Result<Response, Problem> {
    let Nothing {} = body::parse(&call.body)?;
    let server = &call.server;
    let issuer = call.caller()?.user;
    let lifetime = server.node.settings.lifetimes.invitations;
    let (token, secret) = server.blocking(|server| Ok(server.node.vault.add_invitation()?)).await?;
    let (offset, time) = match server.submit(Command::IssueInvitation { issuer, secret, lifetime }).await {
        Ok(Answer::Done { offset, time, .. }) => (offset, time),
        Ok(_) => return Err(Problem::plain(Code::Internal)),
        Err(problem) => {
            if problem.code() != Code::OutcomeUnknown {
                server.blocking(move |server| Ok(server.node.vault.forget(secret)?)).await?;
            }
            return Err(problem);
        }
    };
    let views = server.views();
    Ok(reply::created(&NewInvitation {
        id: ids::show(IdKind::Invitation, offset, views.origins()),
        token,
        issuer: ids::show(IdKind::User, issuer, views.origins()),
        issued_at: Time(time),
        expires_at: Time(time.after(lifetime)),
        offset: offset.0,
    }))
}

/// `GET /api/invite/TOKEN`.
pub(super) async fn show(call: Call) -> Result<Response, Problem> {
    let server = &call.server;
    let views = server.views();
    let (offset, invitation) = open(server, &views, call.variable()).ok_or_else(gone)?;
    let issuer = views.people().get(invitation.issuer).ok_or_else(|| Problem::plain(Code::Internal))?;
    Ok(reply::ok(&Invitation {
        id: ids::show(IdKind::Invitation, offset, views.origins()),
        issuer: Issuer {
            id: ids::show(IdKind::User, invitation.issuer, views.origins()),
            name: issuer.name.clone(),
        },
        issued_at: Time(invitation.issued),
        expires_at: Time(invitation.expires),
    }))
}

/// `POST /api/invite/TOKEN`. A try that fails does not use the invitation up; of two at once one succeeds.
pub(super) async fn accept(call: Call) -> Result<Response, Problem> {
    let Credentials { name, password } = body::parse(&call.body)?;
    let server = &call.server;
    server.sign_ins.try_once(call.address, None)?;
    // Asked before the costly hash, and again by the decision.
    let (invitation, secret) = {
        let (offset, view) = open(server, &server.views(), call.variable()).ok_or_else(gone)?;
        (offset, view.secret)
    };
    let name = new_name(&name)?;
    let command = |name, credential| Command::AcceptInvitation { invitation, name, credential };
    let answer = become_user(server, name, &password, Role::Member, command).await?;
    // Used, it opens nothing any more; should this fail, the next start sweeps it.
    if let Err(problem) = server.blocking(move |server| Ok(server.node.vault.forget(secret)?)).await {
        tracing::warn!(code = problem.code().name(), "a used invitation's secret could not be removed");
    }
    Ok(answer)
}

/// The open invitation with this token.
fn open(server: &Server, views: &Views, token: &str) -> Option<(Offset, View)> {
    // Only a token that was really issued gets as far as the walk through the open ones.
    let secret = server.node.vault.invitation(token)?;
    let (offset, invitation) =
        views.invitations().iter().find(|(_, invitation)| invitation.secret == secret)?;
    invitation.is_open_at(server.now()).then_some((offset, *invitation))
}

fn gone() -> Problem {
    Problem::new(Code::NotFound, "there is no such invitation, or it was used, or it is over")
}
