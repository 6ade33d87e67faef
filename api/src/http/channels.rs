//! Channels: creating, listing, deleting.

use scrollback_log::{Offset, Text};
use scrollback_projections::{Channel as View, Origins, Views};
use warp::reply::Response;

use super::accounts::new_name;
use super::call::{Call, Server};
use super::idempotency::{self, Asked, Before};
use super::past::State;
use super::problem::{Code, Problem};
use super::shapes::{Channel, Channels, CreateChannel, Deleted, Time};
use super::{body, reply};
use crate::commands::{Answer, Command};
use crate::ids::{self, IdKind};
use crate::rights::may_see;

/// What a channel takes in an answer, roughly.
const CHANNEL_BYTES: usize = 512;

/// `POST /api/channels`.
pub(super) async fn create(call: Call) -> Result<Response, Problem> {
    let CreateChannel { name, private } = body::parse(&call.body)?;
    let (server, creator) = (&call.server, call.caller()?.user);
    let name = new_name(&name)?;
    let key = idempotency::digest(&call)?;
    let command = Command::CreateChannel { creator, name: name.clone(), private, key };
    let (offset, time, gone) = match server.submit(command).await? {
        Answer::Done { offset, time, .. } => (offset, time, None),
        Answer::Before(offset) => {
            let name = name.clone();
            let read = move |server: &Server| {
                idempotency::before(server, offset, &Asked::Channel { name: name.shown(), private })
            };
            let Before { time, gone } = server.blocking(read).await?;
            (offset, time, gone)
        }
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    let views = server.views();
    Ok(reply::created(&Channel {
        id: ids::show(IdKind::Channel, offset, views.origins()),
        name: if gone.is_some() { String::new() } else { name.shown().to_owned() },
        at: Time(time),
        private,
        creator: Some(ids::show(IdKind::User, creator, views.origins())),
        last_offset: offset.0,
        offset: offset.0,
        deleted_at: gone.map(|deletion| Time(deletion.time)),
    }))
}

/// `GET /api/channels`: those that the caller may see.
pub(super) async fn list(mut call: Call) -> Result<Response, Problem> {
    let reader = call.caller()?.user;
    let at = State::take(&mut call.query)?;
    std::mem::take(&mut call.query).finish()?;
    let State::Past(past) = State::asked(&call.server, at).await? else {
        return Ok(reply::ok(&Channels { channels: seen(&call.server.views(), reader) }));
    };
    let bytes = past.channels().len() * CHANNEL_BYTES;
    let read = move |server: &Server| seen_past(server, &past, reader);
    let channels = call.server.heavy_read(call.holder(), bytes, read).await?;
    Ok(reply::ok(&Channels { channels }))
}

/// The channels that `reader` may see, as clients see them.
pub(super) fn seen(views: &Views, reader: Offset) -> Vec<Channel> {
    let seen = views.channels().iter().filter(|(offset, _)| may_see(views, reader, *offset));
    seen.map(|(offset, channel)| shown(offset, channel, views.origins())).collect()
}

/// The channels of a past state that `reader` may see by the rights of now. A name is shown if the channel is still there,
/// and else not even looked at.
fn seen_past(server: &Server, past: &Views, reader: Offset) -> Result<Vec<Channel>, Problem> {
    let mut channels: Vec<(Offset, Channel)> = Vec::new();
    {
        let views = server.views();
        for (offset, channel) in
            past.channels().iter().filter(|(offset, _)| may_see(&*views, reader, *offset))
        {
            let name = views.channels().get(offset).map_or(String::new(), |present| present.name.clone());
            channels.push((offset, Channel { name, ..shown(offset, channel, views.origins()) }));
        }
    }
    for (offset, channel) in channels.iter_mut().filter(|(_, channel)| channel.name.is_empty()) {
        // The views are without it, so its text is masked already.
        let gone = server.node.log.read(*offset, |record| match record.text {
            Text::Gone(deletion) => Some(Time(deletion.time)),
            _ => None,
        })?;
        channel.deleted_at = gone.flatten();
    }
    Ok(channels.into_iter().map(|(_, channel)| channel).collect())
}

/// `DELETE /api/channels/ID`.
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let by = call.caller()?.user;
    let channel = ids::parse(IdKind::Channel, call.variable(), call.server.views().origins())
        .ok_or_else(|| Problem::plain(Code::NotFound))?;
    let Answer::Done { offset, .. } = call.server.submit(Command::DeleteChannel { channel, by }).await?
    else {
        return Err(Problem::plain(Code::Internal));
    };
    Ok(reply::ok(&Deleted { id: call.variable(), offset: offset.0 }))
}

/// A live channel as clients see it.
fn shown(offset: Offset, channel: &View, origins: &Origins) -> Channel {
    Channel {
        id: ids::show(IdKind::Channel, offset, origins),
        name: channel.name.clone(),
        at: Time(channel.at),
        private: channel.private,
        creator: channel.creator.map(|creator| ids::show(IdKind::User, creator, origins)),
        last_offset: channel.last_offset.0,
        offset: offset.0,
        deleted_at: None,
    }
}
