//! How a session begins, or comes to another socket.

use std::sync::Arc;

use bytes::Bytes;
use scrollback_log::{Offset, ResumePoint};
use serde_json::Value;
use tokio::sync::Notify;

use super::super::filter::Filters;
use super::super::resume::Resume;
use super::super::start::Start;
use super::super::subscription::Subscription;
use super::super::{Position, Streams};
use super::flight::Flight;
use super::frames;
use super::messages::{self, Open};
use super::seats::{Seated, Seats};
use super::sessions::{Seat, Session, TooMany};
use crate::http::problem::{Code, Problem};

/// The most sessions on one socket.
const SESSIONS_MAX: usize = 64;
/// The most events under way, and how many there may be if the client does not say.
const WINDOW_MAX: u64 = 65_536;
const WINDOW_DEFAULT: usize = 1_000;

/// What an `open` came to.
pub(super) enum Opened {
    /// A session that begins or goes on here.
    Session(Seat, Position),
    /// The client's past is not this log's.
    Elsewhere(Resume, usize),
}

/// Does as an `open` says. It may take long, so nothing of the socket is needed meanwhile.
pub(super) async fn open(
    streams: Arc<Streams>,
    user: Offset,
    nudge: Arc<Notify>,
    wanted: Open,
) -> Result<Opened, Problem> {
    let Open { session, filters, resume_point, last, since, window, .. } = wanted;
    let window = read_window(window)?;
    // Before anything that takes time: as JSON they can have many times the memory.
    let filters = match filters {
        None => Filters::default(),
        Some(filters) => Filters::from_json(&filters, &streams.origins())
            .map_err(|error| Problem::new(Code::BadFilters, error.to_string()))?,
    };
    let asked = read_start(resume_point.as_ref(), last, since.as_deref())?;
    if let Some(id) = session {
        if let Some(known) = streams.sessions.look(user, &id)
            && let Some(opened) = go_on(&streams, user, &nudge, &known, &id, asked).await?
        {
            return Ok(opened);
        }
        if asked.is_none() {
            let detail = "there is no such session any more: say from where it begins anew";
            return Err(Problem::new(Code::UnknownSession, detail));
        }
    }
    let selection = streams.selection(user, &filters);
    let resume = streams.resume(&asked.unwrap_or(Start::BEGINNING), &selection).await?;
    let Some(at) = resume.position() else { return Ok(Opened::Elsewhere(resume, window)) };
    let begun = streams.sessions.begin(user, filters, window, at.offset, &nudge);
    let seat = begun.map_err(|TooMany| too_many("end some of your sessions first"))?;
    Ok(Opened::Session(seat, at))
}

/// Goes on with a session after what is acknowledged, or where its client says that it stands if that is later. It is taken
/// only when it is known that it can go on; none if it is gone by then.
async fn go_on(
    streams: &Arc<Streams>,
    user: Offset,
    nudge: &Arc<Notify>,
    known: &Session,
    id: &str,
    asked: Option<Start>,
) -> Result<Option<Opened>, Problem> {
    let selection = streams.selection(user, &known.filters);
    let after = |offset| Start::After(ResumePoint { offset, tag: None });
    let start = asked.unwrap_or(after(known.acknowledged()));
    let resume = streams.resume(&start, &selection).await?;
    let Some(mut at) = resume.position() else { return Ok(Some(Opened::Elsewhere(resume, known.window))) };
    let Some((seat, acknowledged)) = streams.sessions.take(user, id, nudge) else { return Ok(None) };
    if at.offset < acknowledged {
        // What is acknowledged lies at or below the head, and nobody else can acknowledge more now.
        at = streams.resume(&after(acknowledged), &selection).await?.position().unwrap_or(at);
    }
    seat.acknowledge(at.offset);
    Ok(Some(Opened::Session(seat, at)))
}

/// Lets a session sit down on this socket. Returns what its client is told.
pub(super) fn sit_down(
    streams: &Arc<Streams>,
    seats: &mut Seats,
    id: Option<&str>,
    seat: Seat,
    at: Position,
) -> Bytes {
    let session = &seat.session;
    let (resume, reader) = (Resume::Ok(at), Arc::clone(&seats.identity.reader));
    let subscription = Subscription::begin(streams, reader, resume, session.filters.clone());
    let head = subscription.reached();
    let heartbeat = streams.limits.heartbeat_seconds();
    let hello = frames::hello(id, Some(&session.id), resume, Some(at), head, session.window, heartbeat);
    let flight = Flight::new(session.window);
    seats.all.push(Seated { seat, subscription, flight });
    seats.sat_down += 1;
    hello
}

fn read_window(window: Option<u64>) -> Result<usize, Problem> {
    match window {
        None => Ok(WINDOW_DEFAULT),
        Some(window @ 1..=WINDOW_MAX) => Ok(window as usize),
        Some(_) => Err(Problem::new(
            Code::BadSchema,
            format!("`window` must be a whole number from 1 to {WINDOW_MAX}"),
        )),
    }
}

/// Where the client says that it begins; none if it says nothing of that.
fn read_start(
    point: Option<&Value>,
    last: Option<u64>,
    since: Option<&str>,
) -> Result<Option<Start>, Problem> {
    let point = messages::point(point)?;
    if point.is_none() && last.is_none() && since.is_none() {
        return Ok(None);
    }
    Ok(Some(Start::from_parts(point.as_deref(), last, since)?))
}

/// A session that cannot be opened here now.
pub(super) fn refuse(seats: &Seats, wanted: &Open) -> Result<(), Problem> {
    if wanted.session.as_ref().is_some_and(|session| seats.find(session).is_some()) {
        return Err(Problem::new(Code::SessionOpen, "this socket has that session already"));
    }
    if seats.all.len() >= SESSIONS_MAX {
        return Err(too_many(format!("a socket has at most {SESSIONS_MAX} sessions")));
    }
    Ok(())
}

fn too_many(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::TooManySessions, detail)
}
