//! The one shape of an error answer, and the table of all of them.
//!
//! A client tells problems apart by `code`, which never changes its meaning; `detail` says what to do in this case and
//! may change at any time. What went wrong inside is for the log lines, so nothing here carries an inner error.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use scrollback_log::{ReadError, SubmitError};
use serde::Serialize;
use warp::reply::Response;

use crate::commands::Refusal;
use crate::figures::figures;
use crate::memory::ShortOfMemory;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// The version of WebSocket that there is.
pub(super) const WEBSOCKET_VERSION: &str = "13";
/// What a problem's `type` is the code appended to.
const TYPE_PREFIX: &str = "urn:scrollback:problem:";
/// When a client may try again what was refused because too much waited.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);
/// When a client may try again what was refused because the disk was nearly full, or the server stopping.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal, $title:literal;)*) => {
        /// What a problem is, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant),* }

        impl Code {
            /// All of them, by status.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $code),* }
            }

            /// The status it goes with, always the same.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// What it means in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),* }
            }
        }
    };
}

codes! {
    /// The request is not what HTTP allows.
    BadRequest = 400 "bad_request", "The request is malformed";
    /// The body is not JSON in UTF-8.
    NotJson = 400 "not_json", "The body is not JSON";
    /// A query parameter is unknown, doubled or not what it should be.
    BadQuery = 400 "bad_query", "A query parameter is wrong";
    /// A history cursor is not one that this server gave.
    BadCursor = 400 "bad_cursor", "The cursor is not one of this server's";
    /// A resume point is neither an offset nor a resume token.
    BadResumePoint = 400 "bad_resume_point", "The resume point is neither an offset nor a resume token";
    /// The `Idempotency-Key` breaks its rule.
    BadKey = 400 "bad_key", "The idempotency key breaks its rule";
    /// A name breaks its rules.
    BadName = 400 "bad_name", "The name breaks a rule";
    /// A new password breaks its rule.
    BadPassword = 400 "bad_password", "The password breaks a rule";
    /// The present password was not given rightly.
    WrongPassword = 400 "wrong_password", "The present password is not that one";
    /// A message's text breaks its rules.
    BadBody = 400 "bad_body", "The text breaks a rule";
    /// A token's label breaks its rules.
    BadLabel = 400 "bad_label", "The label breaks a rule";
    /// The filters are none.
    BadFilters = 400 "bad_filters", "The filters are wrong";
    /// A watch's name, delay, lease or list of channels breaks its rule.
    BadWatch = 400 "bad_watch", "The watch breaks a rule";
    /// A session was sent nothing that far.
    BadAck = 400 "bad_ack", "There is nothing to acknowledge there";
    /// There is no valid identity.
    Unauthenticated = 401 "unauthenticated", "No valid identity";
    /// The name or the password is wrong.
    BadCredentials = 401 "bad_credentials", "The name or the password is wrong";
    /// The user may not do that.
    Forbidden = 403 "forbidden", "That is not yours to do";
    /// The request comes from a page of somebody else.
    ForeignOrigin = 403 "foreign_origin", "The request comes from a foreign origin";
    /// The set-up token is missing or wrong.
    WrongSetupToken = 403 "wrong_setup_token", "The set-up token is missing or wrong";
    /// There is no such thing, or not for this user.
    NotFound = 404 "not_found", "There is no such thing here";
    /// There is no such session, or not of this user.
    UnknownSession = 404 "unknown_session", "There is no such session";
    /// There is no such watch, or its lease has ended.
    UnknownWatch = 404 "unknown_watch", "There is no such watch";
    /// The path does not know the method.
    MethodNotAllowed = 405 "method_not_allowed", "The method is not allowed here";
    /// The request's head did not come in time.
    HeadTimeout = 408 "head_timeout", "The request's head took too long";
    /// The body did not come in time.
    BodyTimeout = 408 "body_timeout", "The body took too long";
    /// There is an owner already.
    AlreadySetUp = 409 "already_set_up", "The server is already set up";
    /// The name is another's.
    NameTaken = 409 "name_taken", "The name is taken";
    /// The channel is everybody's and has no members.
    NotPrivate = 409 "not_private", "The channel is not private";
    /// Somebody must stay owner.
    LastOwner = 409 "last_owner", "The last owner cannot step down";
    /// The idempotency key was used for another body.
    KeyReused = 409 "key_reused", "The idempotency key was used for something else";
    /// The user has as many tokens as anybody may have.
    TooManyTokens = 409 "too_many_tokens", "Too many tokens";
    /// The user, or the socket, has as many sessions as one may have.
    TooManySessions = 409 "too_many_sessions", "Too many sessions";
    /// The socket has the session already.
    SessionOpen = 409 "session_open", "The session is open here";
    /// The user has as many watches, or watched channels, as one may have.
    TooManyWatches = 409 "too_many_watches", "Too many watches";
    /// The watch was set anew meanwhile.
    WatchReplaced = 409 "watch_replaced", "The watch was set anew";
    /// A backup cannot be gone on with: its past is not this log's.
    OtherHistory = 409 "other_history", "The log has another history";
    /// A backup cannot be gone on with: it is ahead of this log.
    Ahead = 409 "ahead", "The log does not reach that offset";
    /// The state asked for by `at_least` was not reached in time.
    Behind = 409 "behind", "The server has not reached that offset";
    /// The body has no `Content-Length`.
    LengthRequired = 411 "length_required", "The body's length is required";
    /// The body is larger than any body may be.
    BodyTooLarge = 413 "body_too_large", "The body is too large";
    /// The message's text is larger than any may be.
    MessageTooLarge = 413 "message_too_large", "The message is too large";
    /// The body is not said to be JSON.
    UnsupportedMediaType = 415 "unsupported_media_type", "The body must be application/json";
    /// The body is JSON of another shape.
    BadSchema = 422 "bad_schema", "The body does not fit the schema";
    /// The call is for WebSockets only.
    UpgradeRequired = 426 "upgrade_required", "An upgrade to WebSocket is required";
    /// Too many tries.
    RateLimited = 429 "rate_limited", "Too many tries";
    /// The request's head is larger than any may be.
    HeadTooLarge = 431 "head_too_large", "The request's head is too large";
    /// A defect of the server.
    Internal = 500 "internal", "The server failed";
    /// The log cannot be read as it was written.
    LogDamaged = 500 "log_damaged", "The log is damaged";
    /// Nobody has set the server up yet.
    SetupRequired = 503 "setup_required", "The server is not set up yet";
    /// The server is starting and reads its log.
    Starting = 503 "starting", "The server is starting";
    /// Too much waits to be written or read.
    Busy = 503 "busy", "The server is busy";
    /// The server is stopping.
    Draining = 503 "draining", "The server is stopping";
    /// The disk is nearly full.
    DiskFull = 503 "disk_full", "The disk is nearly full";
    /// A write failed half way.
    OutcomeUnknown = 503 "outcome_unknown", "The write failed and its outcome is unknown";
}

/// How many answers told of each, by its place among all codes.
static COUNTERS: LazyLock<Vec<metrics::Counter>> = LazyLock::new(|| {
    // What is made before the recorder is there counts into nothing.
    let _ = figures();
    let counter = |code: &Code| metrics::counter!("scrollback_problems_total", "code" => code.name());
    Code::ALL.iter().map(counter).collect()
});

/// Makes all codes visible among the figures, those that nobody was told of too.
pub(super) fn register() {
    LazyLock::force(&COUNTERS);
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    close: bool,
    listed: bool,
}

/// A problem's body, as RFC 9457 has it, with `code`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// `urn:scrollback:problem:` and the code.
    #[schema(value_type = String)]
    r#type: String,
    /// What the code means in a few words.
    #[schema(value_type = String)]
    title: &'a str,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What the problem is, for programs.
    #[schema(value_type = String)]
    code: &'a str,
    /// What is wrong in this case.
    #[schema(value_type = String)]
    detail: &'a str,
    /// The same as a list, where Arvados' clients look for it; on Arvados' paths alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>, nullable = false)]
    errors: Option<[&'a str; 1]>,
}

/// How one proves who one is. RFC 6750 wants a parameter behind the scheme, and some clients fail without one.
const CHALLENGE: &str = "Bearer realm=\"scrollback\"";

impl Problem {
    /// A problem of this kind, and what is wrong in this case.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { code, detail: detail.into(), retry_after: None, allow: None, close: false, listed: false }
    }

    /// A problem that says no more than its title.
    #[must_use]
    pub fn plain(code: Code) -> Problem {
        Problem::new(code, code.title())
    }

    /// When the same may be tried again; whole seconds are told, rounded up, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Problem {
        self.retry_after = Some(wait);
        self
    }

    /// When the same may be tried again, if that is known.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The methods that the path knows.
    #[must_use]
    pub fn allow(mut self, methods: String) -> Problem {
        self.allow = Some(methods);
        self
    }

    /// The connection ends after this answer, because what follows on it cannot be trusted to be a request.
    #[must_use]
    pub fn close(mut self) -> Problem {
        self.close = true;
        self
    }

    /// What is wrong is told as a list too.
    #[must_use]
    pub fn listed(mut self) -> Problem {
        self.listed = true;
        self
    }

    /// Whether the connection ends after this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.close
    }

    /// What it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let body = ProblemBody {
            r#type: format!("{TYPE_PREFIX}{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.name(),
            detail: &self.detail,
            errors: self.listed.then_some([&*self.detail]),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self) -> Response {
        COUNTERS[self.code as usize].increment(1);
        let mut response = Response::new(self.to_json().into());
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // For whoever tells of the answer.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        super::reply::harden(headers);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(methods) = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(ALLOW, methods);
        }
        if self.code.status() == StatusCode::UNAUTHORIZED.as_u16() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if self.code == Code::UpgradeRequired {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(WEBSOCKET_VERSION));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem::plain(code)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::plain(match refusal {
            Refusal::AlreadySetUp => Code::AlreadySetUp,
            Refusal::NameTaken => Code::NameTaken,
            Refusal::NotFound => Code::NotFound,
            Refusal::Forbidden => Code::Forbidden,
            Refusal::NotPrivate => Code::NotPrivate,
            Refusal::LastOwner => Code::LastOwner,
            Refusal::Inactive => Code::Unauthenticated,
            // The edge sees to the one, and only an import can be told the other.
            Refusal::TooLarge | Refusal::ImportMoved => Code::Internal,
        })
    }
}

impl From<ShortOfMemory> for Problem {
    fn from(short: ShortOfMemory) -> Problem {
        Problem::new(Code::Busy, short.to_string()).retry_after(UNAVAILABLE_RETRY)
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        match error {
            SubmitError::Busy => Problem::plain(Code::Busy).retry_after(BUSY_RETRY),
            SubmitError::DiskFull => {
                Problem::new(Code::DiskFull, "writes are refused until space is freed; reads go on")
                    .retry_after(UNAVAILABLE_RETRY)
            }
            SubmitError::OutcomeUnknown => Problem::new(
                Code::OutcomeUnknown,
                "look for the outcome once the server is back, or send again with the same idempotency key",
            )
            .retry_after(UNAVAILABLE_RETRY),
            SubmitError::Stopped => Problem::plain(Code::Draining).retry_after(UNAVAILABLE_RETRY),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        tracing::error!(%error, "a read of the log failed");
        Problem::new(
            Code::LogDamaged,
            "what was asked for cannot be read as it was written; the operator has to look",
        )
    }
}

impl From<scrollback_projections::facts::FactError> for Problem {
    fn from(error: scrollback_projections::facts::FactError) -> Problem {
        tracing::error!(%error, "a record is not what it should be");
        Problem::new(
            Code::LogDamaged,
            "what was asked for cannot be read as it was written; the operator has to look",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_an_error_status() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
        let statuses: Vec<_> = Code::ALL.iter().map(|code| code.status()).collect();
        assert!(statuses.is_sorted(), "the table is read by people");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        for (wait, told) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60")] {
            let response =
                Problem::plain(Code::RateLimited).retry_after(Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], told, "{wait} ms");
        }
    }

    #[test]
    fn a_problem_is_one_json_object_of_five_fields() {
        let problem = Problem::new(Code::NameTaken, "\"x\"\nis taken");
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"type": "urn:scrollback:problem:name_taken", "title": "The name is taken",
                "status": 409, "code": "name_taken", "detail": "\"x\"\nis taken"})
        );
    }
}
