//! What the log lines of one request have in common, and the one line that says how it was answered.
//!
//! Every line that is written on behalf of a request bears the request's id, which the answer bears too: so what a client
//! was told can be found in the server's lines. A line names the method and the *pattern* of the path. The path itself
//! can hold an invitation's token, the query what somebody looks for, and headers and bodies hold what nobody else is to
//! read: none of that goes into a line.

use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::{Instrument, Span};
use warp::reply::Response;

use super::handoff::Handoff;
use super::problem::Code;
use super::routes;

/// Where a request's id stands, in what a proxy sends and in every answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a proxy.
const ID_BYTES_MAX: usize = 64;
/// The methods that are told by name; others are whatever a client came up with.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH];

/// A request's id: drawn, or the one that a trusted proxy gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RequestId(Box<str>);

impl RequestId {
    fn of(headers: &HeaderMap, from_trusted_proxy: bool) -> RequestId {
        let mut given = headers.get_all(REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if from_trusted_proxy && is_fit(id.as_bytes()) => {
                RequestId(String::from_utf8_lossy(id.as_bytes()).into())
            }
            _ => RequestId(format!("{:016x}", rand::random::<u64>()).into()),
        }
    }
}

/// Whether an id can stand in a line and a header without a second thought.
fn is_fit(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// What the lines of one request name it by.
#[derive(Clone, Debug)]
struct Named {
    id: RequestId,
    method: &'static str,
    path: &'static str,
}

impl Named {
    /// Of the highest level, so that it is there for whatever lines are wanted at all.
    fn span(&self) -> Span {
        tracing::error_span!("request", id = %self.id.0, method = self.method, path = self.path)
    }
}

tokio::task_local! {
    /// The request whose stream runs. A span in its place would be entered at every turn of every stream, and take as
    /// much memory as a fifth of an idle stream, for lines that are hardly ever written.
    static STREAMED: Named;
}

/// Lets the lines that `tell` writes belong to the request whose stream runs here, if one does.
pub(crate) fn of_stream(tell: impl FnOnce()) {
    match STREAMED.try_with(Named::span) {
        Ok(span) => span.in_scope(tell),
        Err(_) => tell(),
    }
}

/// A request that is being answered.
pub(super) struct Requested {
    named: Named,
    span: Span,
    from: IpAddr,
    began: Instant,
    answered: bool,
}

impl Requested {
    /// A request comes from `from`, as far as that can be believed.
    pub(super) fn begin(
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        from_trusted_proxy: bool,
        from: IpAddr,
    ) -> Requested {
        let named = Named {
            id: RequestId::of(headers, from_trusted_proxy),
            method: METHODS.iter().find(|known| *known == method).map_or("other", Method::as_str),
            path: routes::pattern_of(path),
        };
        let span = named.span();
        Requested { named, span, from, began: Instant::now(), answered: false }
    }

    /// Waits for the answer, gives it the id, and tells of it: what went wrong here as a warning, all else only to those
    /// who ask for it. That a server is not set up yet, or stops, is not a thing that went wrong.
    pub(super) async fn answer(mut self, answering: impl Future<Output = Response>) -> Response {
        let mut response = answering.instrument(self.span.clone()).await;
        self.answered = true;
        if let Ok(id) = HeaderValue::try_from(&*self.named.id.0) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let (status, ms, from) = (response.status().as_u16(), self.ms(), self.from);
        let code = response.extensions().get::<Code>().copied();
        let is_failure = response.status().is_server_error()
            && !matches!(code, Some(Code::SetupRequired | Code::Draining));
        let code = code.map(Code::name);
        self.span.in_scope(|| {
            if is_failure {
                tracing::warn!(status, code, ms, %from, "answered");
            } else {
                tracing::debug!(status, code, ms, %from, "answered");
            }
        });
        if let Some(handoff) = response.extensions().get::<Handoff>() {
            let named = self.named.clone();
            handoff.wrap(move |running| Box::pin(STREAMED.scope(named, running)));
        }
        response
    }

    /// How long it has taken, in milliseconds to the microsecond.
    fn ms(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }
}

impl Drop for Requested {
    fn drop(&mut self) {
        if !self.answered {
            let (ms, from) = (self.ms(), self.from);
            self.span.in_scope(|| tracing::debug!(ms, %from, "the client went away before the answer"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    fn id(values: &[&[u8]], trusted: bool) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers, trusted).0.into_string()
    }

    #[test]
    fn an_id_is_taken_from_a_trusted_proxy_when_it_is_fit_and_drawn_otherwise() {
        assert_eq!(id(&[b"Abc-1_z"], true), "Abc-1_z");
        assert_eq!(id(&[&[b'a'; 64]], true), "a".repeat(64));
        let long = [b'a'; 65];
        let odd: [&[&[u8]]; 8] =
            [&[], &[b""], &[&long], &[b"a b"], &[b"a\tb"], &[b"a\xffb"], &[b"a;b"], &[b"one", b"two"]];
        for values in odd {
            let drawn = id(values, true);
            assert!(drawn.len() == 16 && drawn.bytes().all(|byte| byte.is_ascii_hexdigit()), "{drawn}");
        }
        assert_ne!(id(&[b"abc"], false), "abc");
        assert_ne!(id(&[], true), id(&[], true));
    }

    /// Where lines go in a test.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_a_stream_names_the_request_that_it_began_with() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        let named = Named { id: RequestId("abc".into()), method: "GET", path: "/api/events" };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let tell = || of_stream(|| tracing::error!("met damage"));
            runtime.block_on(STREAMED.scope(named, async { tell() }));
            tell();
        });
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            told,
            "ERROR request{id=abc method=\"GET\" path=\"/api/events\"}: met damage\nERROR met damage\n"
        );
    }
}
