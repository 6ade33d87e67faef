//! How a session begins, or comes to another socket.

use std::sync::Arc;

use bytes::Bytes;
use scrollback_log::{Offset, ResumePoint};
use serde_json::Value;

use super::super::filter::Filters;
use super::super::resume::{Resume, ResumeFrom};
use super::super::subscription::Subscription;
use super::super::{Position, Streams};
use super::flight::Flight;
use super::frames;
use super::messages::Open;
use super::seats::{Seated, Seats};
use super::sessions::{Seat, TooMany};
use crate::http::problem::{Code, Problem};

/// The most sessions on one socket.
const SESSIONS_MAX: usize = 64;
/// The most events under way, and how many there may be if the client does not say.
const WINDOW_MAX: u64 = 65_536;
const WINDOW_DEFAULT: usize = 1_000;

/// Does as an `open` says. Returns what the client is told.
pub(super) async fn open(streams: &Arc<Streams>, seats: &mut Seats, open: Open) -> Result<Bytes, Problem> {
    let Open { id, session, filters, resume_point, window } = open;
    if seats.all.len() >= SESSIONS_MAX {
        return Err(too_many(format!("a socket has at most {SESSIONS_MAX} sessions")));
    }
    let window = read_window(window)?;
    let asked = resume_point.as_ref().map(read_point).transpose()?;
    let user = seats.reader.user();
    if let Some(session) = session {
        if seats.find(&session).is_some() {
            return Err(Problem::new(Code::SessionOpen, "this socket has that session already"));
        }
        if let Some((seat, acknowledged)) = streams.sessions.take(user, &session, &seats.nudge) {
            return go_on(streams, seats, id.as_deref(), seat, acknowledged, asked).await;
        }
        if asked.is_none() {
            return Err(Problem::plain(Code::UnknownSession));
        }
    }
    let filters = match filters {
        None => Filters::default(),
        Some(filters) => Filters::from_json(&filters, &streams.origins())
            .map_err(|error| Problem::new(Code::BadFilters, error.to_string()))?,
    };
    let resume = streams.resume(asked.unwrap_or(ResumeFrom::BEGINNING)).await?;
    let Some(at) = resume.position() else {
        let head = Position::from(streams.log.head());
        return Ok(frames::hello(id.as_deref(), None, resume, None, head, window));
    };
    let begun = streams.sessions.begin(user, filters, window, at.offset, &seats.nudge);
    let seat = begun.map_err(|TooMany| too_many("end some of your sessions first"))?;
    Ok(sit_down(streams, seats, id.as_deref(), seat, at))
}

/// Goes on with a session after what is acknowledged, or where its client says that it stands if that is later.
async fn go_on(
    streams: &Arc<Streams>,
    seats: &mut Seats,
    id: Option<&str>,
    seat: Seat,
    acknowledged: Offset,
    asked: Option<ResumeFrom>,
) -> Result<Bytes, Problem> {
    let kept = ResumeFrom::Point(ResumePoint { offset: acknowledged, tag: None });
    let resume = match asked {
        Some(asked) => match streams.resume(asked).await? {
            Resume::Ok(at) if at.offset < acknowledged => streams.resume(kept).await?,
            other => other,
        },
        None => streams.resume(kept).await?,
    };
    let Some(at) = resume.position() else {
        let head = Position::from(streams.log.head());
        return Ok(frames::hello(id, None, resume, None, head, seat.session.window));
    };
    seat.acknowledge(at.offset);
    Ok(sit_down(streams, seats, id, seat, at))
}

fn sit_down(streams: &Arc<Streams>, seats: &mut Seats, id: Option<&str>, seat: Seat, at: Position) -> Bytes {
    let session = &seat.session;
    let (resume, reader) = (Resume::Ok(at), Arc::clone(&seats.reader));
    let subscription = Subscription::begin(streams, reader, resume, session.filters.clone());
    let head = subscription.reached();
    let hello = frames::hello(id, Some(&session.id), resume, Some(at), head, session.window);
    let flight = Flight::new(session.window);
    seats.all.push(Seated { seat, subscription, flight, sent: at.offset });
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

fn read_point(point: &Value) -> Result<ResumeFrom, Problem> {
    match point {
        Value::String(text) => ResumeFrom::read(None, Some(text)),
        Value::Number(number) => ResumeFrom::read(None, Some(&number.to_string())),
        _ => Err(Problem::plain(Code::BadResumePoint)),
    }
}

fn too_many(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::TooManySessions, detail)
}
