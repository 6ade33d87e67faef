//! Request bodies: announced with their length, bounded, in time, JSON of exactly the expected shape.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::in_flight::{Held, SMALL_BYTES_MAX};
use super::problem::{Code, Problem};
use crate::settings::ConnectionLimits;

/// How much of a body is read and thrown away when the request is refused before its body was wanted. A client that is
/// still sending when the connection closes may never see the answer.
const DRAINED_BYTES_MAX: u64 = 4 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// How often it is looked whether a body comes fast enough. Long enough for a few packets to be lost on the way.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The body of a request as warp gives it: pieces, until none comes.
pub(super) trait Pieces<B>: warp::Stream<Item = Result<B, warp::Error>> + Send + Unpin {}
impl<B, S: warp::Stream<Item = Result<B, warp::Error>> + Send + Unpin> Pieces<B> for S {}

/// What a body must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// JSON in UTF-8.
    Json,
    /// A form, as a query has it.
    Form,
}

/// Reads the whole body, after its head has been checked.
///
/// # Errors
/// 415, 411, 413, 408, 503 when there is no memory for it, or 400 when the client went away.
pub(super) async fn read<B: Buf>(
    headers: &HeaderMap,
    media: Media,
    pieces: &mut impl Pieces<B>,
    limits: &ConnectionLimits,
    held: &mut Held,
) -> Result<Bytes, Problem> {
    check_media_type(headers, media)?;
    let Some(length) = length(headers) else {
        return Err(Problem::new(Code::LengthRequired, "send the body with a Content-Length"));
    };
    if length > limits.body_bytes_max {
        let detail = format!("a body has at most {} bytes", limits.body_bytes_max);
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let late = |detail: String| Problem::new(Code::BodyTimeout, detail).close();
    match tokio::time::timeout(limits.body_timeout, collect(pieces, length, limits.body_rate_min, held)).await
    {
        Ok(Err(NotCollected::Slow)) => {
            let rate = limits.body_rate_min;
            let seconds = RATE_WINDOW.as_secs();
            Err(late(format!("a body must come at {rate} bytes a second or more, over {seconds} s")))
        }
        Ok(Err(NotCollected::Refused(problem))) => Err(problem),
        Ok(Ok(body)) => Ok(body),
        Err(_) => Err(late(format!("the whole body must come within {} s", limits.body_timeout.as_secs()))),
    }
}

/// Whether a body is on its way. A client that asks first has not sent it yet, and reading would ask it to.
pub(super) fn comes(headers: &HeaderMap) -> bool {
    let announced = length(headers).unwrap_or(0) > 0 || headers.contains_key(TRANSFER_ENCODING);
    announced && !headers.contains_key(EXPECT)
}

/// Throws the body of a refused request away, within bounds, so that the client reads the refusal.
pub(super) async fn drain<B: Buf>(pieces: &mut impl Pieces<B>) {
    let drained = async {
        let mut left = DRAINED_BYTES_MAX;
        while let Some(Ok(piece)) = next(pieces).await {
            left = left.saturating_sub(piece.remaining() as u64);
            if left == 0 {
                break;
            }
        }
    };
    // What does not come in time is cut off with the connection, by hyper, after the answer.
    let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
}

/// Reads a body as a `T`.
///
/// # Errors
/// [`Code::NotJson`] when it is not JSON in UTF-8; [`Code::BadSchema`] when it is JSON of another shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::new(Code::NotJson, "the body is not UTF-8"))?;
    // Every schema is an object. serde would also fill a struct from an array.
    let object = text.trim_ascii_start().starts_with('{');
    let error = match serde_json::from_str::<T>(text) {
        Ok(value) if object => return Ok(value),
        Ok(_) => return Err(Problem::new(Code::BadSchema, "the body must be an object")),
        Err(error) => error,
    };
    // A wrong shape is noticed before what follows it has been read, and not every wrong shape is reported as one.
    if serde_json::from_str::<serde_json::Value>(text).is_ok() {
        return Err(Problem::new(Code::BadSchema, format!("the body does not fit the schema: {error}")));
    }
    Err(Problem::new(Code::NotJson, "the body is not one JSON value"))
}

fn check_media_type(headers: &HeaderMap, media: Media) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = given.split(';').map(str::trim);
    let (wanted, told) = match media {
        Media::Json => {
            ("application/json", "send `content-type: application/json`, in UTF-8, not compressed")
        }
        Media::Form => (
            "application/x-www-form-urlencoded",
            "send `content-type: application/x-www-form-urlencoded`, in UTF-8, not compressed",
        ),
    };
    let right = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(wanted));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if right && utf8 && !headers.contains_key(CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, told))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Why a body is not there.
enum NotCollected {
    /// It came too slowly.
    Slow,
    Refused(Problem),
}

/// Collects a body of `length` bytes that comes at `rate_min` bytes a second or more. What is large is counted as it comes:
/// what was only announced takes no memory.
async fn collect<B: Buf>(
    pieces: &mut impl Pieces<B>,
    length: u64,
    rate_min: u64,
    held: &mut Held,
) -> Result<Bytes, NotCollected> {
    let gone = |_| NotCollected::Refused(Problem::new(Code::BadRequest, "the body ended too early").close());
    let mut window = Window::new(rate_min);
    let Some(first) = window.next(pieces).await? else { return Ok(Bytes::new()) };
    let mut first = first.map_err(gone)?;
    let counted = length > SMALL_BYTES_MAX as u64;
    let mut count = |bytes: usize| match counted {
        // The connection closes, for else all that is still to come would have to be taken.
        true => held.take(bytes).map_err(|problem| NotCollected::Refused(problem.close())),
        false => Ok(()),
    };
    count(first.remaining())?;
    if first.remaining() as u64 >= length {
        // The usual case: the whole body came with one read, and is not copied.
        return Ok(first.copy_to_bytes(first.remaining()));
    }
    let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    push(&mut whole, first);
    while let Some(piece) = window.next(pieces).await? {
        let piece = piece.map_err(gone)?;
        count(piece.remaining())?;
        push(&mut whole, piece);
    }
    Ok(whole.into())
}

/// A time in which so and so many bytes must come.
struct Window {
    bytes_min: u64,
    bytes: u64,
    until: Instant,
}

impl Window {
    fn new(rate_min: u64) -> Window {
        let bytes_min = rate_min.saturating_mul(RATE_WINDOW.as_secs());
        Window { bytes_min, bytes: 0, until: Instant::now() + RATE_WINDOW }
    }

    /// The next piece, unless it does not come in time.
    async fn next<B: Buf>(
        &mut self,
        pieces: &mut impl Pieces<B>,
    ) -> Result<Option<Result<B, warp::Error>>, NotCollected> {
        if self.bytes_min == 0 {
            return Ok(next(pieces).await);
        }
        let piece = timeout_at(self.until, next(pieces)).await.map_err(|_| NotCollected::Slow)?;
        if let Some(Ok(piece)) = &piece {
            self.bytes += piece.remaining() as u64;
            if self.bytes >= self.bytes_min {
                (self.bytes, self.until) = (0, Instant::now() + RATE_WINDOW);
            }
        }
        Ok(piece)
    }
}

fn push(whole: &mut Vec<u8>, mut piece: impl Buf) {
    while piece.has_remaining() {
        let chunk = piece.chunk();
        whole.extend_from_slice(chunk);
        let length = chunk.len();
        piece.advance(length);
    }
}

async fn next<B>(pieces: &mut impl Pieces<B>) -> Option<Result<B, warp::Error>> {
    poll_fn(|context| Pin::new(&mut *pieces).poll_next(context)).await
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        body: String,
    }

    fn code(body: &[u8]) -> Option<Code> {
        parse::<Shape>(body).err().map(|problem| problem.code())
    }

    #[test]
    fn what_is_not_json_and_what_is_of_another_shape_are_told_apart() {
        assert_eq!(code(b" {\"body\":\"x\"}\n"), None);
        for not_json in [
            &b""[..],
            b"{",
            b"{\"body\":\"x\"",
            b"{\"body\":\"x\"}}",
            b"{\"body\":\"x\"} x",
            b"\xff",
            b"{\"body\":\"\xff\"}",
            b"{\"body\":\"\\ud800\"}",
            b"{body:1}",
            b"{\"body\":1,}",
            b"{\"wrong\":1, garbage",
            b"\xef\xbb\xbf{\"body\":\"x\"}",
            b"NaN",
        ] {
            assert_eq!(code(not_json), Some(Code::NotJson), "{:?}", String::from_utf8_lossy(not_json));
        }
        for other in [
            &b"{}"[..],
            b"[]",
            b"[\"x\"]",
            b"\"x\"",
            b"null",
            b"1",
            b"{\"body\":1}",
            b"{\"body\":null}",
            b"{\"body\":\"x\",\"more\":1}",
            b"{\"body\":\"x\",\"body\":\"y\"}",
            b"{\"Body\":\"x\"}",
        ] {
            assert_eq!(code(other), Some(Code::BadSchema), "{:?}", String::from_utf8_lossy(other));
        }
        let deep = format!("{{\"body\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(code(deep.as_bytes()).is_some(), "too deep to be read, and no overflow");
    }

    proptest! {
        #[test]
        fn every_text_comes_through(text in "\\PC{0,40}|[\\x00-\\x7f]{0,20}") {
            let body = serde_json::to_vec(&serde_json::json!({"body": &text})).unwrap();
            prop_assert_eq!(parse::<Shape>(&body).unwrap().body, text);
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse::<Shape>(&bytes);
        }
    }

    #[test]
    fn only_plain_json_is_taken_for_json() {
        let check = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            check_media_type(&headers, Media::Json).is_ok()
        };
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\"; v=1"]
        {
            assert!(check(good), "{good}");
        }
        for bad in
            ["", "text/plain", "application/json2", "application/x-json", "application/json; charset=latin1"]
        {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_media_type(&HeaderMap::new(), Media::Json).is_err());
        let mut zipped = HeaderMap::new();
        zipped.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        zipped.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(check_media_type(&zipped, Media::Json).is_err());
    }
}
