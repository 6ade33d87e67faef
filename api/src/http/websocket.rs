//! `GET /api/ws`: the upgrade to a WebSocket, and the messages that are sent over one.

use std::sync::Arc;

use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use super::call::{Call, Server};
use super::handoff::{Handoff, Opened, Running};
use super::in_flight::{Held, Holder};
use super::problem::{Code, Problem, WEBSOCKET_VERSION};
use super::shapes::SetWatch;
use super::streams::Opener;
use super::{body, idempotency, messages, watch};
use crate::streams::http::refuse_while_ending;
use crate::streams::ws::{Finding, Hold, Holds, Post, Posted, Ws};
use crate::vault::Session;

/// How long a key is: 16 bytes in base64.
const KEY_BYTES: usize = 24;

/// A request that asks for a WebSocket as it must.
pub(super) struct Upgrade {
    key: HeaderValue,
}

impl Upgrade {
    /// What these headers ask for.
    ///
    /// # Errors
    /// [`Code::UpgradeRequired`] when that is something else, [`Code::BadRequest`] when it is wrong.
    pub(super) fn check(headers: &HeaderMap) -> Result<Upgrade, Problem> {
        check(headers).map(|key| Upgrade { key })
    }

    /// The answer. What the connection becomes begins when the server acts on it.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub(super) fn answer(
        &self,
        run: impl FnOnce(Opened) -> Running + Send + 'static,
    ) -> Result<Response, Problem> {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = derive_accept_key(self.key.as_bytes());
        headers.insert(
            SEC_WEBSOCKET_ACCEPT,
            HeaderValue::try_from(accept).map_err(|_| Problem::plain(Code::Internal))?,
        );
        Handoff::new(run).attach(&mut response);
        Ok(response)
    }
}

/// `GET /api/ws`.
pub(super) async fn open(call: Call) -> Result<Response, Problem> {
    let upgrade = Upgrade::check(&call.headers)?;
    let server = Arc::clone(&call.server);
    refuse_while_ending(&server.streams)?;
    let reader = Arc::new(Opener::of(&call)?);
    let post = Poster { server: Arc::clone(&server), session: Arc::clone(&call.caller()?.session) };
    let holds = holds(&server, call.holder());
    let ws = Ws::new(Arc::clone(&server.streams), reader, Arc::new(post), holds);
    upgrade.answer(move |Opened { socket, head, early, .. }| Box::pin(ws.run(socket, head, early)))
}

/// The key of a request that asks for a WebSocket as it must.
fn check(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let required = |detail: &'static str| Problem::new(Code::UpgradeRequired, detail);
    if !(has(headers, &CONNECTION, "upgrade") && has(headers, &UPGRADE, "websocket")) {
        return Err(required(
            "not websocket protocol: ask with `Connection: Upgrade` and `Upgrade: websocket`",
        ));
    }
    if one(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != WEBSOCKET_VERSION) {
        return Err(required("ask with `Sec-WebSocket-Version: 13`"));
    }
    if body::comes(headers) {
        return Err(Problem::new(Code::BadRequest, "an upgrade has no body").close());
    }
    one(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == KEY_BYTES && key.as_bytes().ends_with(b"=="))
        .cloned()
        .ok_or_else(|| {
            Problem::new(Code::BadRequest, "an upgrade has one `Sec-WebSocket-Key` of 16 bytes in base64")
        })
}

/// Whether a list in this header has the word.
fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// The only value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Sends messages and sets watches in the name of whoever opened a socket.
struct Poster {
    server: Arc<Server>,
    session: Arc<Session>,
}

/// Counts what large messages of this holder's have in memory.
pub(super) fn holds(server: &Arc<Server>, holder: Holder) -> Holds {
    let server = Arc::clone(server);
    Box::new(move || Box::new(server.in_flight.hold(holder)))
}

impl Post for Poster {
    fn post(&self, channel: String, body: String, key: Option<String>) -> Posted {
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        Box::pin(async move { send(&server, &session, &channel, body, key.as_deref()).await })
    }

    fn watch(&self, name: String, set: Option<SetWatch>, resume_point: Option<String>) -> Finding {
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        Box::pin(async move {
            live(&server, &session)?;
            watch::find(&server, session.user, &name, set, resume_point.as_deref()).await
        })
    }

    fn unwatch(&self, name: &str) -> Result<(), Problem> {
        live(&self.server, &self.session)?;
        watch::end_of(&self.server, self.session.user, name)
    }
}

impl Hold for Held {
    fn take(&mut self, bytes: usize) -> bool {
        Held::take(self, bytes).is_ok()
    }
}

/// The same as `POST /api/channels/ID`, the identity's validity and the idempotency key included.
async fn send(
    server: &Arc<Server>,
    session: &Session,
    channel: &str,
    body: String,
    key: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    live(server, session)?;
    let path = format!("/api/channels/{channel}");
    let key =
        key.map(|key| idempotency::digest_of(session.user, "POST", &path, key.as_bytes())).transpose()?;
    messages::post(server, session.user, channel, body, key).await
}

/// Whether the identity that opened a socket may still do anything, as every call asks.
fn live(server: &Server, session: &Session) -> Result<(), Problem> {
    if !session.is_live() {
        return Err(Problem::plain(Code::Unauthenticated));
    }
    session.touch(server.now());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn an_upgrade_is_asked_for_in_one_way() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(check(&headers(&good)).unwrap(), "dGhlIHNhbXBsZSBub25jZQ==");
        for missing in 0..good.len() {
            let rest: Vec<_> =
                (0..good.len()).filter(|place| *place != missing).map(|place| good[place]).collect();
            let code = if missing == 3 { Code::BadRequest } else { Code::UpgradeRequired };
            assert_eq!(check(&headers(&rest)).unwrap_err().code(), code, "without {}", good[missing].0);
        }
        for (place, value, code) in [
            (0, "close", Code::UpgradeRequired),
            (1, "h2c", Code::UpgradeRequired),
            (2, "8", Code::UpgradeRequired),
            (3, "short", Code::BadRequest),
        ] {
            let mut other = good;
            other[place].1 = value;
            assert_eq!(check(&headers(&other)).unwrap_err().code(), code, "{value}");
        }
        let body = [&good[..], &[("content-length", "3")]].concat();
        assert_eq!(check(&headers(&body)).unwrap_err().code(), Code::BadRequest);
    }
}
