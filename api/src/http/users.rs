//! Who there is, and what owners change about them.

use scrollback_projections::facts::Role as RoleFact;
use warp::reply::Response;

use super::call::Call;
use super::problem::{Code, Problem};
use super::shapes::{ChangeUser, ChangedUser, ListedUser, Users};
use super::{body, reply};
use crate::commands::{Answer, Command};
use crate::ids::{self, IdKind};

/// `GET /api/users`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let views = call.server.views();
    let users = views.people().iter().map(|(user, person)| ListedUser {
        id: ids::show(IdKind::User, user, views.origins()),
        name: person.name.clone(),
        role: person.role.into(),
        active: person.active,
    });
    Ok(reply::ok(&Users { users: users.collect() }))
}

/// `PUT /api/users/ID`. Somebody who may no longer log in loses all sessions and API tokens.
pub(super) async fn change(call: Call) -> Result<Response, Problem> {
    let ChangeUser { role, active } = body::parse(&call.body)?;
    if role.is_none() && active.is_none() {
        return Err(Problem::new(Code::BadSchema, "give `role` or `active`, or both"));
    }
    let server = &call.server;
    let caller = call.caller()?;
    if caller.role != RoleFact::Owner {
        return Err(Problem::new(Code::Forbidden, "only an owner changes users"));
    }
    let user = ids::parse(IdKind::User, call.variable(), server.views().origins())
        .ok_or_else(|| Problem::plain(Code::NotFound))?;
    let command = Command::ChangeUser { user, role: role.map(RoleFact::from), active, by: Some(caller.user) };
    let Answer::Done { offset, .. } = server.submit(command).await? else {
        return Err(Problem::plain(Code::Internal));
    };
    if active == Some(false) {
        server.blocking(move |server| Ok(server.node.vault.revoke_all(user)?)).await?;
    }
    // What was asked for, over what nobody asked to change: another change may have followed already.
    let views = server.views();
    let person = views.people().get(user).ok_or_else(|| Problem::plain(Code::NotFound))?;
    Ok(reply::ok(&ChangedUser {
        id: call.variable().to_owned(),
        name: person.name.clone(),
        role: role.unwrap_or(person.role.into()),
        active: active.unwrap_or(person.active),
        offset: offset.0,
    }))
}
