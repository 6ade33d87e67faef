//! How one server or another is spoken to: where to publish and to subscribe, and by what number an event is known.

use anyhow::{Context, Result};
use clap::ValueEnum;
use memchr::memmem;

use super::Target;
use crate::client::{Identity, leading_number, request};
use crate::sse::Event;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Scrollback, and the floor that answers like it. An event is known by its offset: the number in its `id:`, and in
    /// the answer to the POST that made it.
    Scrollback,
    /// nginx with nchan, configured as in `peers/nchan.conf`. Its ids say nothing about order or completeness, so an
    /// event is known by a number that the driver puts at the start of its text.
    Nchan,
}

impl Dialect {
    /// The request that opens a stream from this resume point on.
    pub(crate) fn subscribe(self, target: &Target, resume_point: &str) -> Vec<u8> {
        match self {
            Self::Scrollback => {
                let path = format!("/api/events?resume_point={resume_point}");
                request("GET", &path, Identity::Bearer(&target.token), None)
            }
            // nginx picks its kind of stream by this header.
            Self::Nchan => {
                b"GET /sub HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n".to_vec()
            }
        }
    }

    /// The request that publishes the `number`-th event; `text` needs no escapes in JSON.
    pub(crate) fn publish(self, target: &Target, channel: &str, number: u64, text: &str) -> Vec<u8> {
        match self {
            Self::Scrollback => {
                let (path, body) = (format!("/api/channels/{channel}"), format!("{{\"body\":\"{text}\"}}"));
                request("POST", &path, Identity::Bearer(&target.token), Some(&body))
            }
            Self::Nchan => request("POST", "/pub", Identity::Nobody, Some(&format!("{number} {text}"))),
        }
    }

    /// By what number the event is known that was published as the `number`-th and answered with `answer`.
    pub(crate) fn acked_key(self, number: u64, answer: &[u8]) -> Result<u64> {
        match self {
            Self::Scrollback => {
                const FIELD: &[u8] = b"\"offset\":";
                let at = memmem::find(answer, FIELD).map(|at| at + FIELD.len());
                at.and_then(|at| leading_number(&answer[at..])).context("an answer without an offset")
            }
            Self::Nchan => Ok(number),
        }
    }

    /// By what number this event is known; none of what is not a published event.
    pub(crate) fn key(self, event: &Event<'_>) -> Option<u64> {
        match self {
            Self::Scrollback if event.name == b"checkpoint" => None,
            Self::Scrollback => leading_number(event.id),
            Self::Nchan => leading_number(event.data),
        }
    }

    /// Whether these numbers rise along the stream: numbers given at sending rise only per connection.
    pub(crate) fn ordered(self) -> bool {
        self == Self::Scrollback
    }

    /// Whether a stream that has sent its head misses nothing from then on, or only after its first event.
    pub(crate) fn says_hello(self) -> bool {
        self == Self::Scrollback
    }
}
