//! Answers that are not problems.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use warp::reply::Response;

use super::problem::{Code, Problem};

/// Most answers are smaller.
const SMALL_BYTES: usize = 512;

/// The headers that every answer of the API bears: nothing of it may be kept by a cache or taken for another type.
pub(super) fn harden(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A body of this media type.
pub(super) fn typed(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    harden(response.headers_mut());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A body that is JSON already.
pub(super) fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    typed(status, "application/json", body)
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    sized_json(status, value, SMALL_BYTES)
}

/// A value as JSON of about so many bytes, so that it is written without moving.
pub(super) fn sized_json<T: Serialize>(status: StatusCode, value: &T, bytes: usize) -> Response {
    let mut body = Vec::with_capacity(bytes);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => json_bytes(status, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Problem::plain(Code::Internal).into_response()
        }
    }
}

/// 200 with a value as JSON.
pub(super) fn ok<T: Serialize>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// 201 with a value as JSON.
pub(super) fn created<T: Serialize>(value: &T) -> Response {
    json(StatusCode::CREATED, value)
}

/// 204, without a body.
pub(super) fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    harden(response.headers_mut());
    response
}

/// The answer with a cookie.
pub(super) fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}
