//! What can go wrong, in two kinds: what passes when one tries again, and what does not.

use std::time::Duration;

use serde::Deserialize;

use crate::stream::Elsewhere;

/// What the server said was wrong: the problem that its answer holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server answers {status} {code}: {detail}")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the problem; docs/api.md lists them.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// The server was not reached, was lost, or asks to come back later: worth another try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Away {
    /// What happened.
    pub what: String,
    /// The server asks not to come back earlier.
    pub retry_after: Option<Duration>,
}

/// Why it is no use to go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The token is no identity, or no more: log in again, and go on with [`Client::resume`](crate::Client::resume).
    #[error("the server does not know the token (any more): make a new one")]
    Unauthenticated,
    /// The server refuses what this library asks for.
    #[error(transparent)]
    Refused(Problem),
    /// The server does not prove that it is the one of the URL.
    #[error("{0}")]
    Untrusted(String),
    /// The server's log is not the one of the place that a [`Tail`](crate::Tail) was to go on from. A
    /// [`Follower`](crate::Follower) boots then, and a [`Watch`](crate::Watch) tells everything anew.
    #[error("the server's log {0}: begin anew")]
    Elsewhere(Elsewhere),
    /// What was to be asked for cannot be: the path of a [call](crate::Client::call) is none, for example.
    #[error("this cannot be asked for: {0}")]
    Unsendable(String),
    /// What comes is not what docs/api.md says: this is no Scrollback server, or one that this library is too old for.
    #[error("what the server says cannot be read: {0}")]
    Unreadable(String),
}

/// Why a request did not bring what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is worth another try.
    #[error(transparent)]
    Away(#[from] Away),
    /// It is not.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The URL is none of an HTTP server.
    #[error("{url:?} cannot be used: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token has characters that no token has.
    #[error("the token cannot be sent in a header")]
    Token,
    /// TLS cannot be prepared.
    #[error("TLS cannot be prepared: {0}")]
    Tls(String),
}

/// Why a message was not sent, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not sent, and will not be.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// Nobody knows: the server was not there long enough to say. Send it again under this key to find out; it is never
    /// there twice.
    #[error("whether the message was sent is not known ({last}); ask again under the key {key}")]
    Unknown {
        /// The idempotency key that it was sent under.
        key: String,
        /// What the last try met.
        last: Away,
    },
}

/// A problem as it is written in an answer.
#[derive(Deserialize)]
pub(crate) struct Written {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) detail: String,
}

impl Away {
    pub(crate) fn new(what: impl Into<String>) -> Away {
        Away { what: what.into(), retry_after: None }
    }
}

impl Error {
    pub(crate) fn away(what: impl Into<String>) -> Error {
        Error::Away(Away::new(what))
    }

    pub(crate) fn unreadable(what: impl Into<String>) -> Error {
        Error::Ended(Ended::Unreadable(what.into()))
    }

    /// What an answer that is no good means.
    pub(crate) fn refused(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
        let written = serde_json::from_slice::<Written>(body);
        let (code, detail) = match written {
            Ok(Written { code, detail }) => (code, detail),
            // A proxy in front of the server has words of its own.
            Err(_) => ("unknown".to_owned(), String::new()),
        };
        // What is asked for is there, but not shown yet.
        let is_behind = status == 409 && code == "behind";
        let problem = Problem { status, code, detail };
        match status {
            401 => Error::Ended(Ended::Unauthenticated),
            // Too slow, too early, too many, or a defect or damage that somebody will look at; a proxy says 502 and 504.
            408 | 425 | 429 | 500.. => Error::Away(Away { what: problem.to_string(), retry_after }),
            _ if is_behind => Error::Away(Away { what: problem.to_string(), retry_after }),
            _ => Error::Ended(Ended::Refused(problem)),
        }
    }
}
