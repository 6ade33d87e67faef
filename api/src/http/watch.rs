//! Watches: being told that channels have changed. What they are is told in [`crate::streams::watches`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scrollback_log::{Offset, ResumePoint};
use warp::reply::Response;

use super::call::{Call, Server};
use super::problem::{Code, Problem};
use super::shapes::{Nothing, SetWatch, Watched, WatchedChannel, WatchedNow};
use super::streams::Opener;
use super::{body, reply};
use crate::ids::{self, IdKind};
use crate::streams::http as transport;
use crate::streams::watches::{
    CHANNELS_MAX, DELAY_DEFAULT, DELAY_MAX, Kept, LEASE_DEFAULT, LEASE_MAX, LEASE_MIN, NAME_LENGTH_MAX,
    Options, Place, Refused, Set, TooManyWatches, Wanted, Watch, WatchPolled, WatchSse, is_name,
};
use crate::streams::ws::Found;

/// `PUT /api/watch/NAME`.
pub(super) async fn set(call: Call) -> Result<Response, Problem> {
    let name = name(&call)?;
    let kept = set_for(&call.server, call.caller()?.user, name, body::parse(&call.body)?)?;
    Ok(reply::ok(&kept))
}

/// Sets a watch, and says how it stands.
fn set_for<'a>(
    server: &Server,
    user: Offset,
    name: &'a str,
    asked: SetWatch,
) -> Result<Watched<'a>, Problem> {
    let SetWatch { watch, max_delay_ms, lease_s } = asked;
    if watch.len() > CHANNELS_MAX {
        return Err(bad(format!("a watch has at most {CHANNELS_MAX} channels")));
    }
    let max_delay = max_delay_ms.map_or(DELAY_DEFAULT, Duration::from_millis);
    if max_delay > DELAY_MAX {
        return Err(bad(format!("`max_delay_ms` is at most {}", DELAY_MAX.as_millis())));
    }
    let lease = lease_s.map_or(LEASE_DEFAULT, Duration::from_secs);
    if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
        return Err(bad(format!("`lease_s` is from {} to {}", LEASE_MIN.as_secs(), LEASE_MAX.as_secs())));
    }
    let wanted: Vec<Wanted> = watch
        .into_iter()
        .map(|WatchedChannel { id, since }| Wanted { id, since: since.map(Offset) })
        .collect();
    let (set, standings, head) = {
        let views = server.views();
        let (set, standings) = Set::of(&views, user, &wanted);
        (set, standings, views.at())
    };
    let options = Options { max_delay, lease };
    let kept = server.streams.watches().set(user, name, set, options).map_err(too_many)?;
    let status = wanted.into_iter().map(|wanted| wanted.id).zip(standings.into_iter().map(now)).collect();
    Ok(shown(server, name, kept, head, Some(status)))
}

/// `GET /api/watch/NAME`.
pub(super) async fn show(call: Call) -> Result<Response, Problem> {
    let watch = known(&call)?;
    Ok(reply::ok(&standing(&call.server, name(&call)?, &watch)))
}

/// How a watch and its channels stand now.
fn standing<'a>(server: &Server, name: &'a str, watch: &Watch) -> Watched<'a> {
    let views = server.views();
    let id = |channel| ids::show(IdKind::Channel, channel, views.origins());
    let (kept, standings) = watch.standings(&views);
    let status = standings.into_iter().map(|(channel, stands)| (id(channel), now(stands))).collect();
    shown(server, name, kept, views.at(), Some(status))
}

/// `POST /api/watch/NAME/renew`.
pub(super) async fn renew(call: Call) -> Result<Response, Problem> {
    body::parse::<Nothing>(&call.body)?;
    let kept = known(&call)?.renew().ok_or_else(unknown)?;
    let head = call.server.views().at();
    Ok(reply::ok(&shown(&call.server, name(&call)?, kept, head, None)))
}

/// `DELETE /api/watch/NAME`: also of what is not there.
pub(super) async fn end(call: Call) -> Result<Response, Problem> {
    call.server.streams.watches().end(call.caller()?.user, name(&call)?);
    Ok(reply::no_content())
}

/// `GET /api/watch/NAME/events`.
pub(super) async fn events(mut call: Call) -> Result<Response, Problem> {
    let watch = known(&call)?;
    let header = transport::last_event_id(&call.headers)?.map(<[u8]>::to_vec);
    let place = place(&mut call, "resume_point", header.as_deref()).await?;
    transport::refuse_while_ending(&call.server.streams)?;
    let (streams, reader) = (Arc::clone(&call.server.streams), Arc::new(Opener::of(&call)?));
    let stream = WatchSse::new(streams, reader, &watch, place).ok_or_else(unknown)?;
    Ok(transport::event_stream(move |socket, head, framing| Box::pin(stream.run(socket, head, framing))))
}

/// `GET /api/watch/NAME/changes`.
pub(super) async fn changes(mut call: Call) -> Result<Response, Problem> {
    let watch = known(&call)?;
    let wait_max = call.server.node.settings.streams.poll_wait_max.as_secs();
    let wait = call.query.take_number("wait", 0, wait_max)?.unwrap_or(0);
    let place = place(&mut call, "after", None).await?;
    transport::refuse_while_ending(&call.server.streams)?;
    let reader = Arc::new(Opener::of(&call)?);
    let polled = call.server.streams.poll_watch(reader, &watch, place, Duration::from_secs(wait)).await;
    match polled {
        WatchPolled::Page(page) => call.server.large_answer(call.holder(), page),
        WatchPolled::Revoked => Err(Problem::plain(Code::Unauthenticated)),
        WatchPolled::Replaced => Err(Problem::plain(Code::WatchReplaced)),
        WatchPolled::Unwatched => Err(unknown()),
        WatchPolled::Ending => Err(transport::draining()),
    }
}

/// Finds a watch of somebody's for a socket; sets it first, if that is wanted.
pub(super) async fn find(
    server: &Arc<Server>,
    user: Offset,
    name: &str,
    asked: Option<SetWatch>,
    resume_point: Option<&str>,
) -> Result<Found, Problem> {
    let name = checked(name)?;
    // Before it is set: what is refused changes nothing.
    let place = match resume_point {
        Some(text) => read_place(server, text).await?,
        None => Place::BEGINNING,
    };
    transport::refuse_while_ending(&server.streams)?;
    let get = || server.streams.watches().get(user, name).ok_or_else(unknown);
    let (watch, shown) = match asked {
        Some(asked) => {
            let shown = set_for(server, user, name, asked)?;
            (get()?, shown)
        }
        None => {
            let watch = get()?;
            let shown = standing(server, name, &watch);
            (watch, shown)
        }
    };
    let (epoch, shown) = (shown.epoch, serde_json::to_vec(&shown));
    let shown = shown.map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Problem::plain(Code::Internal)
    })?;
    Ok(Found { watch, epoch, shown, place })
}

/// Ends a watch of somebody's, also one that is not there.
pub(super) fn end_of(server: &Server, user: Offset, name: &str) -> Result<(), Problem> {
    server.streams.watches().end(user, checked(name)?);
    Ok(())
}

/// Where a reader says that it stands.
async fn place(call: &mut Call, parameter: &str, header: Option<&[u8]>) -> Result<Place, Problem> {
    let asked = call.query.take(parameter)?;
    std::mem::take(&mut call.query).finish()?;
    let text = match header {
        Some(header) => Some(String::from_utf8_lossy(header).into_owned()),
        None => asked,
    };
    match text {
        Some(text) => read_place(&call.server, &text).await,
        None => Ok(Place::BEGINNING),
    }
}

/// Reads `EPOCH.TOKEN`, as a watch gives it, or an offset or a resume token. What is of another log's past counts for nothing, so
/// that all is told again.
async fn read_place(server: &Arc<Server>, text: &str) -> Result<Place, Problem> {
    let bad = || Problem::plain(Code::BadResumePoint);
    let (epoch, token) = match text.split_once('.') {
        Some((epoch, token)) => (Some(epoch.parse::<u64>().map_err(|_| bad())?), token),
        None => (None, text),
    };
    let ResumePoint { offset, tag } = ResumePoint::parse(token).ok_or_else(bad)?;
    let is_ours = match tag {
        _ if offset > server.node.log.head().offset => false,
        Some(tag) => server.blocking(move |server| Ok(server.node.log.tag_at(offset)?)).await? == Some(tag),
        None => true,
    };
    Ok(if is_ours { Place { epoch, after: offset } } else { Place::BEGINNING })
}

fn known(call: &Call) -> Result<Arc<Watch>, Problem> {
    let (server, user) = (&call.server, call.caller()?.user);
    server.streams.watches().get(user, name(call)?).ok_or_else(unknown)
}

/// The watch's name.
fn name(call: &Call) -> Result<&str, Problem> {
    checked(call.variable())
}

fn checked(name: &str) -> Result<&str, Problem> {
    if is_name(name) {
        return Ok(name);
    }
    Err(bad(format!("a watch's name is 1 to {NAME_LENGTH_MAX} of `A-Za-z0-9_-`")))
}

fn shown<'a>(
    server: &Server,
    name: &'a str,
    kept: Kept,
    head: Offset,
    status: Option<BTreeMap<String, WatchedNow>>,
) -> Watched<'a> {
    Watched {
        name,
        epoch: kept.epoch,
        head: head.0,
        max_delay_ms: u64::try_from(kept.options.max_delay.as_millis()).unwrap_or(u64::MAX),
        lease_s: kept.options.lease.as_secs(),
        left_s: kept.left.as_secs(),
        heartbeat: server.node.settings.streams.heartbeat_seconds(),
        status,
    }
}

fn now(stands: Result<Offset, Refused>) -> WatchedNow {
    match stands {
        Ok(newest) => WatchedNow { ok: true, offset: Some(newest.0), code: None },
        Err(refused) => WatchedNow { ok: false, offset: None, code: Some(refused.name()) },
    }
}

fn unknown() -> Problem {
    Problem::new(Code::UnknownWatch, "set it, with the offsets up to which its channels are known")
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::BadWatch, detail)
}

fn too_many(_: TooManyWatches) -> Problem {
    Problem::new(Code::TooManyWatches, "end one of your watches first")
}
