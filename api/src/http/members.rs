//! Who is in a private channel, and who comes and goes.

use scrollback_log::Offset;
use warp::reply::Response;

use super::call::Call;
use super::problem::{Code, Problem};
use super::reply;
use super::shapes::{AddedMember, Member, Members, RemovedMember};
use crate::commands::{Answer, Command};
use crate::ids::{self, IdKind};
use crate::rights::may_see;

/// `GET /api/channels/ID/members`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let reader = call.caller()?.user;
    let views = call.server.views();
    let unknown = || Problem::plain(Code::NotFound);
    let channel = ids::parse(IdKind::Channel, call.variable(), views.origins())
        .filter(|channel| may_see(&*views, reader, *channel) && views.channels().get(*channel).is_some())
        .ok_or_else(unknown)?;
    let members = views.memberships().members(channel).ok_or_else(|| Problem::plain(Code::NotPrivate))?;
    let mut members: Vec<(Offset, Offset)> = members.iter().map(|(user, since)| (*since, *user)).collect();
    members.sort_unstable();
    let shown = members.into_iter().map(|(since, user)| Member {
        id: ids::show(IdKind::User, user, views.origins()),
        name: views.people().get(user).map_or_else(String::new, |person| person.name.clone()),
        since: since.0,
    });
    Ok(reply::ok(&Members { members: shown.collect() }))
}

/// `PUT /api/channels/ID/members/USER`.
pub(super) async fn add(call: Call) -> Result<Response, Problem> {
    let (channel, user) = named(&call)?;
    let by = call.caller()?.user;
    let offset = match call.server.submit(Command::AddMember { channel, user, by }).await? {
        Answer::Done { offset, .. } | Answer::Before(offset) => offset,
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    Ok(reply::ok(&AddedMember {
        channel: call.variable(),
        user: call.second_variable(),
        offset: offset.0,
        history_after: channel.0.saturating_sub(1),
    }))
}

/// `DELETE /api/channels/ID/members/USER`.
pub(super) async fn remove(call: Call) -> Result<Response, Problem> {
    let (channel, user) = named(&call)?;
    let by = call.caller()?.user;
    let Answer::Done { offset, .. } = call.server.submit(Command::RemoveMember { channel, user, by }).await?
    else {
        return Err(Problem::plain(Code::Internal));
    };
    Ok(reply::ok(&RemovedMember { channel: call.variable(), user: call.second_variable(), offset: offset.0 }))
}

/// The channel and the user that the path names. Whether they are there is decided by the writer, for all of them alike.
fn named(call: &Call) -> Result<(Offset, Offset), Problem> {
    let views = call.server.views();
    let named =
        |kind, id| ids::parse(kind, id, views.origins()).ok_or_else(|| Problem::plain(Code::NotFound));
    Ok((named(IdKind::Channel, call.variable())?, named(IdKind::User, call.second_variable())?))
}
