//! How one server or another is spoken to: where to subscribe, and by what number an event is known. How one publishes is
//! in `publish.rs`.

use clap::ValueEnum;
use memchr::memmem;

use super::Target;
use crate::client::{Identity, leading_number, request};
use crate::cut::Event;
use crate::stream::{Opening, Protocol};
use crate::{nats, pubsub, sessions, ws};

/// The most events that may be under way to a session without an acknowledgement.
const WINDOW: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Scrollback's Server-Sent Events, and the floor that answers like it. An event is known by its offset: the number in
    /// its `id:`, and in the answer to the POST that made it.
    Scrollback,
    /// Scrollback's sessions over WebSocket, one on each socket.
    ScrollbackWs,
    /// Scrollback's socket for Arvados' clients. An event is known by its offset, which is its `id`.
    Arvados,
    /// nginx with nchan, configured as in `peers/nchan.conf`: Server-Sent Events. Its ids say nothing about order or
    /// completeness, so an event is known by a number that the driver puts at the start of its text.
    Nchan,
    /// The same over WebSocket.
    NchanWs,
    /// NATS over WebSocket, configured as in `peers/nats.conf`; numbers as for nchan.
    Nats,
    /// Redis' pub/sub; numbers as for nchan.
    Redis,
}

impl Dialect {
    /// How a stream is opened that brings what is published from now on, or from another resume point of Scrollback.
    pub(crate) fn subscribe(self, target: &Target, resume_point: &str) -> Opening {
        match self {
            Self::Scrollback => self.filtered(target, resume_point, None),
            Self::ScrollbackWs => self.filtered(target, resume_point, None),
            Self::Arvados => {
                let then = br#"{"method":"subscribe"}"#.to_vec();
                let request = ws::upgrade("/websocket", Identity::Bearer(&target.token));
                Opening { request, then, protocol: Protocol::Messages }
            }
            // nginx picks its kind of stream by this header.
            Self::Nchan => Opening {
                request: b"GET /sub HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n"
                    .to_vec(),
                then: Vec::new(),
                protocol: Protocol::Sse,
            },
            Self::NchanWs => Opening {
                request: ws::upgrade("/sub", Identity::Nobody),
                then: Vec::new(),
                protocol: Protocol::Messages,
            },
            Self::Nats => Opening {
                request: ws::upgrade("/", Identity::Nobody),
                then: nats::subscribe().into_bytes(),
                protocol: Protocol::Nats,
            },
            Self::Redis => {
                Opening { request: pubsub::subscribe(), then: Vec::new(), protocol: Protocol::PubSub }
            }
        }
    }

    /// The same with filters, of which one must hold; in JSON, as a list of them. Only Scrollback has such.
    pub(crate) fn filtered(self, target: &Target, resume_point: &str, filters: Option<&[String]>) -> Opening {
        let identity = Identity::Bearer(&target.token);
        if self == Self::ScrollbackWs {
            let then = sessions::open(filters, resume_point, WINDOW).into_bytes();
            // Few acknowledgements, and early enough that the window never fills.
            let protocol = Protocol::Session { acknowledge_at: WINDOW / 2 };
            return Opening { request: ws::upgrade("/api/ws", identity), then, protocol };
        }
        let mut path = format!("/api/events?resume_point={resume_point}");
        for filter in filters.unwrap_or_default() {
            path.push_str("&filter=");
            path.push_str(&percent_encoded(filter));
        }
        Opening { request: request("GET", &path, identity, None), then: Vec::new(), protocol: Protocol::Sse }
    }

    /// By what number this event is known; none of what is not a published event.
    pub(crate) fn key(self, event: &Event<'_>) -> Option<u64> {
        match self {
            Self::Scrollback if event.name == b"checkpoint" => None,
            Self::Scrollback | Self::ScrollbackWs => leading_number(event.id),
            Self::Arvados => {
                let at = memmem::find(event.data, b"\"id\":")? + b"\"id\":".len();
                leading_number(&event.data[at..])
            }
            Self::Nchan | Self::NchanWs | Self::Nats | Self::Redis => leading_number(event.data),
        }
    }

    /// Whether these numbers rise along the stream: numbers given at sending rise only per connection.
    pub(crate) fn ordered(self) -> bool {
        matches!(self, Self::Scrollback | Self::ScrollbackWs | Self::Arvados)
    }

    /// Whether a stream that is open misses nothing from then on, or only after its first event.
    pub(crate) fn says_hello(self) -> bool {
        !matches!(self, Self::Nchan | Self::NchanWs | Self::Arvados)
    }

    /// What the bytes of each event begin with that is not its own.
    pub(crate) fn separator(self) -> &'static [u8] {
        if self == Self::ScrollbackWs { sessions::SEPARATOR } else { b"" }
    }
}

/// For a value in a query.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(2 * text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
