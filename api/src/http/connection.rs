//! One connection: requests and answers, until it ends or becomes a stream.
//!
//! The HTTP server does the talking. Around it are what it does not do: time limits for heads, idling and writing, heads
//! that it would read too generously, errors of its own as problems, and the hand-off to a stream.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};
use warp::reply::Response;

use super::addresses::{Addresses, Entered};
use super::handoff::{self, Handoff, Opened};
use super::head_guard::Fault;
use super::problem::{Code, Problem};
use super::wire::{Watch, Watched, Wire};
use crate::socket::Socket;

/// How long a connection may lie idle between two requests.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long a client that is refused may take to read why.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
/// The most that is read of what such a client still sends.
const REFUSAL_DISCARD_BYTES_MAX: usize = 256 << 10;
/// What the HTTP server may buffer. More than a head may have, so that a head is always refused here and not there.
const BUFFER_BYTES_MIN: usize = 64 << 10;

/// The address that a connection comes from, in a request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head_bytes_max: usize,
    pub(super) head_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// A connection that becomes a stream.
pub(super) struct Handed {
    pub(super) opened: Opened,
    pub(super) stream: handoff::Stream,
    /// Of its client, if a proxy has brought it.
    pub(super) entered: Option<Entered>,
}

/// How the HTTP server came to an end.
enum End {
    Over,
    HandedOff,
    Refused(Problem),
}

/// Serves requests until the connection is over; gives it back if it is to become a stream.
pub(super) async fn converse<S>(
    socket: Socket,
    peer: SocketAddr,
    service: S,
    limits: Limits,
    addresses: Arc<Addresses>,
    mut stopping: watch::Receiver<bool>,
) -> Option<Handed>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    let (wire, watched) = Wire::new(socket, limits.head_bytes_max);
    let handed = Arc::new(Mutex::new(None));
    let service = hyper::service::service_fn(|mut request: Request<Incoming>| {
        {
            let mut watch = watched.lock();
            watch.requests += 1;
            watch.in_flight = true;
        }
        let (watched, handed) = (watched.clone(), Arc::clone(&handed));
        let version = request.version();
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        request.extensions_mut().insert(Peer(peer));
        if version == Version::HTTP_10 {
            // There it says nothing (RFC 9110, 7.8).
            request.headers_mut().remove(UPGRADE);
        }
        let admitted =
            check(request.headers(), version).and_then(|()| addresses.request(peer.ip(), request.headers()));
        let admitted = admitted.map(|entered| (service.call(request), entered));
        async move {
            let (mut response, entered) = match admitted {
                Ok((answer, entered)) => (answer.await?, entered),
                Err(refusal) => (refusal.into_response(), None),
            };
            if let Some(stream) = Handoff::take(response.extensions_mut()) {
                let (head, framing) = handoff::head(&response.into_parts().0, version);
                *handed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((stream, head, framing, entered));
                return pending().await;
            }
            if last {
                // What follows its body cannot be told from it with certainty.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let mut watch = watched.lock();
            (watch.in_flight, watch.answer_due) = (false, true);
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MIN.max(2 * limits.head_bytes_max))
        .half_close(false)
        .serve_connection(TokioIo::new(wire), service);

    let mut stream = None;
    let end = {
        let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
        let mut stopped = false;
        let mut timer = Timer::new(limits);
        poll_fn(|context| {
            if !stopped && stop.as_mut().poll(context).is_ready() {
                stopped = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let over = Pin::new(&mut connection).poll(context).is_ready();
            stream = stream.take().or_else(|| handed.lock().unwrap_or_else(PoisonError::into_inner).take());
            look(&watched, over, stream.is_some(), &mut timer, context)
        })
        .await
    };
    let parts = connection.into_parts();
    let (socket, early) = (parts.io.into_inner().into_socket(), parts.read_buf);
    match (end, stream) {
        (End::HandedOff, Some((stream, head, framing, entered))) => {
            Some(Handed { opened: Opened { socket, head, framing, early }, stream, entered })
        }
        (End::Refused(problem), _) => {
            refuse(socket, problem).await;
            None
        }
        _ => None,
    }
}

/// What a request must have before it goes to a handler.
fn check(headers: &HeaderMap, version: Version) -> Result<(), Problem> {
    let hosts = headers.get_all(HOST).iter().count();
    if hosts == 1 || (hosts == 0 && version == Version::HTTP_10) {
        return Ok(());
    }
    Err(Problem::new(Code::BadRequest, "a request has exactly one `Host`").close())
}

/// Looks at a connection after the HTTP server has done what it could.
fn look(
    watched: &Watched,
    over: bool,
    handed_off: bool,
    timer: &mut Timer,
    context: &mut Context<'_>,
) -> Poll<End> {
    let watch = watched.lock();
    if let Some(status) = watch.own_answer {
        return if over { Poll::Ready(End::Refused(own_problem(status))) } else { Poll::Pending };
    }
    if over {
        return Poll::Ready(End::Over);
    }
    if handed_off && watch.flushed {
        // What came behind the request was not read if it is at fault: a stream must not begin behind a gap.
        return Poll::Ready(watch.fault.map_or(End::HandedOff, |fault| End::Refused(fault_problem(fault))));
    }
    if !watch.in_flight
        && watch.flushed
        && let Some(fault) = watch.fault
    {
        return Poll::Ready(End::Refused(fault_problem(fault)));
    }
    timer.poll(&watch, context)
}

fn fault_problem(fault: Fault) -> Problem {
    match fault {
        Fault::TooLarge => Problem::plain(Code::HeadTooLarge),
        Fault::Malformed => Problem::new(
            Code::BadRequest,
            "every line of a head ends with CR LF, no line is folded, and one field says how long the body is",
        ),
    }
}

/// The problem for what the HTTP server found wrong with a head.
fn own_problem(status: u16) -> Problem {
    match status {
        414 | 431 => Problem::plain(Code::HeadTooLarge),
        _ => Problem::plain(Code::BadRequest),
    }
}

/// The one timer of a connection. It is set when an earlier time than before is to be waited for, and looks again when it
/// fires: so a busy connection hardly ever touches it.
struct Timer {
    limits: Limits,
    sleep: Pin<Box<Sleep>>,
    /// Since when nothing happens; at first since the connection is there.
    idle_since: Option<Instant>,
    /// How many requests there were when it was last looked.
    requests: u64,
}

impl Timer {
    fn new(limits: Limits) -> Timer {
        Timer {
            limits,
            sleep: Box::pin(sleep(limits.head_timeout)),
            idle_since: Some(Instant::now()),
            requests: 0,
        }
    }

    fn poll(&mut self, watch: &Watch, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let Some((deadline, end)) = self.deadline(watch) else { return Poll::Pending };
            if deadline <= Instant::now() {
                return Poll::Ready(end);
            }
            if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(deadline);
            }
            if self.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// What the connection may take until when, and how it ends otherwise.
    fn deadline(&mut self, watch: &Watch) -> Option<(Instant, End)> {
        if let Some(since) = watch.blocked_since {
            return Some((since + self.limits.write_timeout, End::Over));
        }
        if self.requests != watch.requests {
            (self.idle_since, self.requests) = (None, watch.requests);
        }
        if watch.in_flight || !watch.flushed {
            // The handler has limits of its own for the body.
            self.idle_since = None;
            return None;
        }
        if let Some(since) = watch.head_since {
            self.idle_since = None;
            return Some((since + self.limits.head_timeout, End::Refused(Problem::plain(Code::HeadTimeout))));
        }
        let most = if self.requests > 0 { IDLE_MAX } else { self.limits.head_timeout };
        Some((*self.idle_since.get_or_insert_with(Instant::now) + most, End::Over))
    }
}

/// Tells a client why its request is not even looked at, and closes the connection.
pub(super) async fn refuse(mut socket: Socket, problem: Problem) {
    let body = problem.to_json();
    let answer = handoff::refusal(&problem.close().into_response().into_parts().0, &body);
    // Closing while the client still sends would reset the connection, and the answer could be lost.
    let talk = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await?;
        let mut discarded = vec![0; 4 << 10];
        let mut left = REFUSAL_DISCARD_BYTES_MAX;
        while left > 0 {
            match socket.read(&mut discarded).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // A client that does not listen is not told.
    let _ = timeout(REFUSAL_MAX, talk).await;
}
