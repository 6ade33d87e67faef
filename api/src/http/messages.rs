//! Saying something, and taking it back.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use scrollback_log::origin::Birthplace;
use scrollback_log::{Offset, Origin, Record, Text};
use scrollback_projections::Origins;
use scrollback_projections::facts::{self, Fact, KeyDigest};
use warp::reply::Response;

use super::call::{Call, Server};
use super::idempotency::{self, Asked, Before};
use super::problem::{Code, Problem};
use super::shapes::{Deleted, Message, SendMessage, Time};
use super::{body, reply};
use crate::commands::{Answer, Command, MessageRef};
use crate::ids::{self, IdKind};
use crate::names::{self, BodyError};
use crate::rights::channel_of;

/// What an answer to a sent message has beside the text, and some more for what has to be escaped.
const ANSWER_BYTES: usize = 320;

/// `POST /api/channels/ID`.
pub(super) async fn send(call: Call) -> Result<Response, Problem> {
    let SendMessage { body } = body::parse(&call.body)?;
    let (key, sender) = (idempotency::digest(&call)?, call.caller()?.user);
    let message = post(&call.server, sender, call.variable(), body, key).await?;
    Ok(reply::json_bytes(StatusCode::CREATED, message))
}

/// Sends a message to the channel with this id. The path that every message takes: one look at the views, one command, one
/// answer written from what is at hand. Returns the message's JSON.
pub(super) async fn post(
    server: &Arc<Server>,
    sender: Offset,
    channel_id: &str,
    body: String,
    key: Option<KeyDigest>,
) -> Result<Vec<u8>, Problem> {
    names::check_body(&body).map_err(|error| match error {
        BodyError::TooLarge => Problem::new(Code::MessageTooLarge, error.to_string()),
        BodyError::Blank | BodyError::Control => Problem::new(Code::BadBody, error.to_string()),
    })?;
    let unknown = || Problem::plain(Code::NotFound);
    let (channel, origin, sender_id) = {
        let views = server.views();
        let origins = views.origins();
        let channel = ids::parse(IdKind::Channel, channel_id, origins).ok_or_else(unknown)?;
        (channel, origins.newest(), ids::show(IdKind::User, sender, origins))
    };
    let command = Command::SendMessage { channel, sender, body: body.clone(), key };
    let (offset, time, gone) = match server.submit(command).await? {
        Answer::Done { offset, time, .. } => (offset, time, None),
        Answer::Before(offset) => {
            let body = body.clone();
            let read =
                move |server: &Server| idempotency::before(server, offset, &Asked::Message { body: &body });
            let Before { time, gone } = server.blocking(read).await?;
            (offset, time, gone)
        }
        Answer::Refused(refusal) => return Err(refusal.into()),
    };
    let id = match (&gone, origin) {
        (None, Some(origin)) => message_id(origin, offset),
        _ => ids::show(IdKind::Message, offset, server.views().origins()),
    };
    let message = Message {
        id: Cow::Owned(id),
        at: Time(time),
        channel: Cow::Borrowed(channel_id),
        sender: Some(Cow::Owned(sender_id)),
        sender_name: None,
        body: if gone.is_some() { "" } else { &body },
        offset: offset.0,
        recorded_at: None,
        deleted_at: gone.map(|deletion| Time(deletion.time)),
    };
    let mut json = Vec::with_capacity(body.len() + ANSWER_BYTES);
    serde_json::to_writer(&mut json, &message).map_err(unwritten)?;
    Ok(json)
}

/// The id of a message born in the present origin, without another look at the views.
fn message_id(origin: Origin, offset: Offset) -> String {
    Birthplace { origin, offset }.show(IdKind::Message.letter()).to_string()
}

/// `DELETE /api/messages/ID`. The record is read only once the views show that there is such a message for the caller: a
/// message that is hidden from them must not take longer than one that is not there, nor one that is long than a short one.
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let unknown = || Problem::plain(Code::NotFound);
    let by = call.caller()?.user;
    let offset = {
        let views = call.server.views();
        let offset = ids::parse(IdKind::Message, call.variable(), views.origins()).ok_or_else(unknown)?;
        channel_of(&views, by, offset).ok_or_else(unknown)?;
        offset
    };
    let found = move |server: &Server| {
        Ok(server.node.log.read(offset, |record| MessageRef::of(&record))?.transpose()?)
    };
    let message = call.server.blocking(found).await?.flatten().ok_or_else(unknown)?;
    let Answer::Done { offset, .. } = call.server.submit(Command::DeleteMessage { message, by }).await?
    else {
        return Err(Problem::plain(Code::Internal));
    };
    Ok(reply::ok(&Deleted { id: call.variable(), offset: offset.0 }))
}

/// Appends the message that a record is, as JSON. A text that is gone is `""`.
///
/// # Errors
/// When the record is no message: the views said that it is one.
pub(super) fn write_json(record: &Record<'_>, origins: &Origins, out: &mut Vec<u8>) -> Result<(), Problem> {
    let deleted_at = if let Text::Gone(deletion) = record.text { Some(Time(deletion.time)) } else { None };
    let (channel, at, sender, sender_name, body) = match Fact::decode(record)? {
        Fact::MessageSent(sent) => {
            let text = facts::text::<facts::Body<'_>>(record)?;
            (sent.channel, None, Some(sent.sender), None, text.map_or("", |text| text.body))
        }
        Fact::MessageImported(imported) => {
            let text = facts::text::<facts::Imported<'_>>(record)?;
            let (name, body) = text.map_or(("", ""), |text| (text.sender_name, text.body));
            (imported.channel, Some(imported.at), None, Some(name), body)
        }
        _ => {
            tracing::error!(offset = record.offset.0, "a record that should be a message is none");
            return Err(Problem::plain(Code::LogDamaged));
        }
    };
    let message = Message {
        id: Cow::Owned(ids::show(IdKind::Message, record.offset, origins)),
        at: Time(at.unwrap_or(record.time)),
        channel: Cow::Owned(ids::show(IdKind::Channel, channel, origins)),
        sender: sender.map(|sender| Cow::Owned(ids::show(IdKind::User, sender, origins))),
        sender_name,
        body,
        offset: record.offset.0,
        recorded_at: at.map(|_| Time(record.time)),
        deleted_at,
    };
    serde_json::to_writer(out, &message).map_err(unwritten)
}

fn unwritten(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "a message could not be written as JSON");
    Problem::plain(Code::Internal)
}
