//! Request bodies: announced with their length, bounded, in time, JSON of exactly the expected shape.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use serde::Deserialize;

use super::problem::{Code, Problem};
use crate::settings::ConnectionLimits;

/// How much of a body is read and thrown away when the request is refused before its body was wanted. A client that is
/// still sending when the connection closes may never see the answer.
const DRAINED_BYTES_MAX: u64 = 4 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The body of a request as warp gives it: pieces, until none comes.
pub(super) trait Pieces<B>: warp::Stream<Item = Result<B, warp::Error>> + Send + Unpin {}
impl<B, S: warp::Stream<Item = Result<B, warp::Error>> + Send + Unpin> Pieces<B> for S {}

/// Reads the whole body, after its head has been checked.
///
/// # Errors
/// 415, 411, 413, 408, or 400 when the client went away.
pub(super) async fn read<B: Buf>(
    headers: &HeaderMap,
    pieces: &mut impl Pieces<B>,
    limits: &ConnectionLimits,
) -> Result<Bytes, Problem> {
    check_media_type(headers)?;
    let Some(length) = length(headers) else {
        return Err(Problem::new(Code::LengthRequired, "send the body with a Content-Length"));
    };
    if length > limits.body_bytes_max {
        let detail = format!("a body has at most {} bytes", limits.body_bytes_max);
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    match tokio::time::timeout(limits.body_timeout, collect(pieces, length)).await {
        Ok(body) => body,
        Err(_) => {
            let detail = format!("the whole body must come within {} s", limits.body_timeout.as_secs());
            Err(Problem::new(Code::BodyTimeout, detail).close())
        }
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

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parts = given.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if json && utf8 && !headers.contains_key(CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "send `content-type: application/json`, in UTF-8, not compressed",
    ))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect<B: Buf>(pieces: &mut impl Pieces<B>, length: u64) -> Result<Bytes, Problem> {
    let gone = || Problem::new(Code::BadRequest, "the body ended too early").close();
    let Some(first) = next(pieces).await else { return Ok(Bytes::new()) };
    let mut first = first.map_err(|_| gone())?;
    if first.remaining() as u64 >= length {
        // The usual case: the whole body came with one read, and is not copied.
        return Ok(first.copy_to_bytes(first.remaining()));
    }
    let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    push(&mut whole, first);
    while let Some(piece) = next(pieces).await {
        push(&mut whole, piece.map_err(|_| gone())?);
    }
    Ok(whole.into())
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
            check_media_type(&headers).is_ok()
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
        assert!(check_media_type(&HeaderMap::new()).is_err());
        let mut zipped = HeaderMap::new();
        zipped.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        zipped.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(check_media_type(&zipped).is_err());
    }
}
