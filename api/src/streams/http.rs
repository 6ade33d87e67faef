//! The two calls that give events: `GET /api/events` and `GET /api/events/poll`.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use warp::reply::Response;

use super::filter::Filters;
use super::poll::{Poll, Polled};
use super::sse::Sse;
use super::start::Start;
use super::{Ending, Reader, StreamError, Streams};
use crate::http::handoff::{Framing, Handoff, Opened, Running};
use crate::http::problem::{Code, Problem};
use crate::http::query::Query;
use crate::socket::Socket;

/// The most events of one page, and how many there are if the client does not say.
const PAGE_EVENTS_MAX: u64 = 500;
const PAGE_EVENTS_DEFAULT: u64 = 100;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks proxies not to hold the stream back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Opens a stream for `reader`. The answer carries a [`Handoff`]: the stream begins when the server acts on it.
///
/// # Errors
/// [`Code::BadResumePoint`], [`Code::BadQuery`]; [`Code::Draining`] while the server stops; [`Code::LogDamaged`] when the
/// log cannot be read at the resume point.
pub async fn events(
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    mut query: Query,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let start = Start::take(&mut query, "resume_point", last_event_id(headers)?)?;
    let filters = Filters::take(&mut query, &streams.origins())?;
    query.finish()?;
    refuse_while_ending(&streams)?;
    let resume = streams.resume(&start, &streams.selection(reader.user(), &filters)).await?;

    let stream = Sse::new(streams, reader, resume, filters);
    Ok(event_stream(move |socket, head, framing| Box::pin(stream.run(socket, head, framing))))
}

/// The answer that becomes a stream of Server-Sent Events.
pub(crate) fn event_stream(
    run: impl FnOnce(Socket, Vec<u8>, Framing) -> Running + Send + 'static,
) -> Response {
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Handoff::new(move |Opened { socket, head, framing, .. }: Opened| run(socket, head, framing))
        .attach(&mut response);
    response
}

/// Answers a poll for `reader`.
///
/// # Errors
/// As for [`events`]; [`Code::Unauthenticated`] when the reader's identity is revoked meanwhile.
pub async fn poll(
    streams: Arc<Streams>,
    reader: Arc<dyn Reader>,
    mut query: Query,
) -> Result<Vec<u8>, Problem> {
    let start = Start::take(&mut query, "after", None)?;
    let filters = Filters::take(&mut query, &streams.origins())?;
    let wait = query.take_number("wait", 0, streams.limits.poll_wait_max.as_secs())?.unwrap_or(0);
    let limit = query.take_number("limit", 1, PAGE_EVENTS_MAX)?.unwrap_or(PAGE_EVENTS_DEFAULT);
    query.finish()?;
    refuse_while_ending(&streams)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let poll = Poll { start, filters, wait: Duration::from_secs(wait), limit };
    match streams.poll(reader, poll).await? {
        Polled::Page(json) => Ok(json),
        Polled::Revoked => Err(Problem::plain(Code::Unauthenticated)),
    }
}

pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
        _ => Err(Problem::plain(Code::BadResumePoint)),
    }
}

/// A stream that began now would end at once.
pub(crate) fn refuse_while_ending(streams: &Streams) -> Result<(), Problem> {
    match streams.pulse.borrow().ending {
        None | Some(Ending::Storage) => Ok(()),
        Some(Ending::Shutdown) => Err(draining()),
    }
}

/// The same, and also when the log takes no more writes, so that all streams end.
pub(crate) fn refuse_at_any_end(streams: &Streams) -> Result<(), Problem> {
    let ending = streams.pulse.borrow().ending;
    if ending.is_some() { Err(draining()) } else { Ok(()) }
}

pub(crate) fn draining() -> Problem {
    Problem::plain(Code::Draining).retry_after(Duration::from_secs(1))
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Problem {
        match error {
            StreamError::Read(error) => error.into(),
            StreamError::Fact(error) => error.into(),
            StreamError::Stopping => draining(),
            StreamError::Died => Problem::plain(Code::Internal),
        }
    }
}
