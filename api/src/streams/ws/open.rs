//! How a session begins, or comes to another socket.

use std::sync::Arc;

use bytes::Bytes;
use scrollback_log::{Offset, ResumePoint};
use serde_json::Value;

use super::super::filter::Filters;
use super::super::resume::Resume;
use super::super::start::Start;
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
    let Open { id, session, filters, resume_point, last, since, window } = open;
    if seats.all.len() >= SESSIONS_MAX {
        return Err(too_many(format!("a socket has at most {SESSIONS_MAX} sessions")));
    }
    let window = read_window(window)?;
    let asked = read_start(resume_point.as_ref(), last, since.as_deref())?;
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
    let selection = streams.selection(user, &filters);
    let resume = streams.resume(&asked.unwrap_or(Start::BEGINNING), &selection).await?;
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
    asked: Option<Start>,
) -> Result<Bytes, Problem> {
    let kept = Start::After(ResumePoint { offset: acknowledged, tag: None });
    let selection = streams.selection(seats.reader.user(), &seat.session.filters);
    let resume = match asked {
        Some(asked) => match streams.resume(&asked, &selection).await? {
            Resume::Ok(at) if at.offset < acknowledged => streams.resume(&kept, &selection).await?,
            other => other,
        },
        None => streams.resume(&kept, &selection).await?,
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
    seats.all.push(Seated { seat, subscription, flight });
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
    let point = match point {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err(Problem::plain(Code::BadResumePoint)),
    };
    if point.is_none() && last.is_none() && since.is_none() {
        return Ok(None);
    }
    Ok(Some(Start::from_parts(point.as_deref(), last, since)?))
}

fn too_many(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::TooManySessions, detail)
}
