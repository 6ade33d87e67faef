//! `GET /api/admin/audit`: what concerned rights, as the log tells it.

use std::ops::ControlFlow;

use scrollback_log::{Offset, Record};
use scrollback_projections::Origins;
use scrollback_projections::facts::{Action, Fact, Role};
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::{Code, Problem};
use super::reply;
use super::shapes::{AuditEntry, AuditPage, Time};
use super::texts::read_each;
use crate::ids::{self, IdKind};

/// How many entries an answer has if the request does not say.
const ENTRIES: u64 = 50;
/// The most entries of an answer.
const ENTRIES_MAX: u64 = 500;
/// Far more than so many entries take.
const READ_BYTES_MAX: usize = 1 << 20;

/// `GET /api/admin/audit`.
pub(super) async fn list(mut call: Call) -> Result<Response, Problem> {
    if call.caller()?.role != Role::Owner {
        return Err(Problem::new(Code::Forbidden, "only an owner reads the audit"));
    }
    let before = call.query.take_number("before", 1, u64::MAX)?.map_or(Offset(u64::MAX), Offset);
    let limit = call.query.take_number("limit", 1, ENTRIES_MAX)?.unwrap_or(ENTRIES);
    std::mem::take(&mut call.query).finish()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let read = move |server: &Server| Ok(reply::ok(&page(server, before, limit)?));
    call.server.heavy_read(call.holder(), READ_BYTES_MAX, read).await
}

fn page(server: &Server, before: Offset, limit: usize) -> Result<AuditPage, Problem> {
    let (mut offsets, origins, at) = {
        let views = server.views();
        let offsets: Vec<Offset> = views.audit().before(before).take(limit + 1).collect();
        (offsets, views.origins().clone(), views.at())
    };
    server.settle(at)?;
    let more = offsets.len() > limit;
    offsets.truncate(limit);
    let next = offsets.last().filter(|_| more).map(|last| last.0);
    offsets.reverse();
    let mut entries = Vec::with_capacity(offsets.len());
    read_each(&server.node.log, &offsets, &mut |record| {
        entries.extend(entry(record, &origins)?);
        Ok(ControlFlow::Continue(()))
    })?;
    entries.reverse();
    Ok(AuditPage { entries, next })
}

/// What a record tells; none if it is not one of those that an audit reads.
fn entry(record: &Record<'_>, origins: &Origins) -> Result<Option<AuditEntry>, Problem> {
    let show = |kind, offset| Some(ids::show(kind, offset, origins));
    let (mut role, mut active, mut channel) = (None, None, None);
    let (action, by, subject) = match Fact::decode(record)? {
        Fact::OriginStarted(_) => ("origin_started", None, None),
        Fact::UserCreated(fact) => {
            role = Some(fact.role.into());
            ("user_created", None, show(IdKind::User, record.offset))
        }
        Fact::UserChanged(fact) => {
            (role, active) = (Some(fact.role.into()), Some(fact.active));
            ("user_changed", fact.by, show(IdKind::User, fact.user))
        }
        Fact::InvitationIssued(fact) => {
            ("invitation_issued", Some(fact.issuer), show(IdKind::Invitation, record.offset))
        }
        Fact::ChannelDeleted(fact) => ("channel_deleted", fact.by, show(IdKind::Channel, fact.channel)),
        Fact::MessageDeleted(fact) => ("message_deleted", fact.by, show(IdKind::Message, fact.message)),
        Fact::Audited(fact) => {
            let at = |offset: Option<Offset>| offset.map(|offset| offset.to_string());
            match fact.action {
                Action::BackupTaken => ("backup_taken", fact.by, None),
                Action::PasswordSet => {
                    ("password_set", fact.by, fact.subject.and_then(|user| show(IdKind::User, user)))
                }
                Action::Restored => ("restored", fact.by, at(fact.subject)),
                Action::RollbackAccepted => ("rollback_accepted", fact.by, at(fact.subject)),
            }
        }
        Fact::MembershipChanged(fact) => {
            channel = show(IdKind::Channel, fact.channel);
            let action = if fact.member { "member_added" } else { "member_removed" };
            (action, fact.by, show(IdKind::User, fact.user))
        }
        Fact::ChannelCreated(_)
        | Fact::MessageSent(_)
        | Fact::MessageImported(_)
        | Fact::ImportAdvanced(_) => return Ok(None),
    };
    let by = by.and_then(|by| show(IdKind::User, by));
    let (offset, at) = (record.offset.0, Time(record.time));
    Ok(Some(AuditEntry { offset, at, action, by, subject, channel, role, active }))
}
