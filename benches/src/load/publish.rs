//! A connection that publishes to one server or another: several messages at once, then all their answers.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use memchr::memmem;

use super::dialect::Dialect;
use super::offer::Sent;
use crate::client::{Client, Identity, leading_number, request};
use crate::cut::Event;
use crate::stream::{Opening, Protocol, Stream};
use crate::text::scatter;
use crate::{nats, pubsub, sockets, ws};

/// Where a message is posted to, and by whom.
pub(crate) struct Destination {
    pub(crate) path: String,
    pub(crate) token: String,
}

/// Which of `count` destinations the `number`-th message has.
pub(crate) fn destination_of(number: u64, count: usize) -> usize {
    scatter(number) as usize % count
}

/// One connection.
pub(crate) struct Publisher {
    wire: Wire,
    /// The numbers of the messages under way, in order.
    numbers: Vec<u64>,
    requests: Vec<u8>,
}

enum Wire {
    /// Each message a POST, each answered.
    Http { client: Client, dialect: Dialect, destinations: Rc<[Destination]> },
    /// Not answered; but a PING after several of them is, once all were taken.
    Nats(Box<Stream>),
    /// Each message a PUBLISH, each answered.
    Redis(Box<Stream>),
}

impl Publisher {
    /// One that posts to these destinations, as the number of a message has it; only Scrollback has several.
    pub(crate) async fn connect(
        dialect: Dialect,
        addr: SocketAddr,
        destinations: Rc<[Destination]>,
    ) -> Result<Self> {
        let wire = match dialect {
            Dialect::Scrollback
            | Dialect::ScrollbackWs
            | Dialect::Arvados
            | Dialect::Nchan
            | Dialect::NchanWs => Wire::Http { client: Client::connect(addr).await?, dialect, destinations },
            Dialect::Nats => {
                let (request, then) = (ws::upgrade("/", Identity::Nobody), nats::connect().into_bytes());
                let opening = Opening { request, then, protocol: Protocol::Nats };
                let mut stream = Stream::open(addr, 0, &opening).await?;
                answers(&mut stream, b"hello", 1).await?;
                Wire::Nats(Box::new(stream))
            }
            Dialect::Redis => {
                let (request, then) = (Vec::new(), Vec::new());
                let opening = Opening { request, then, protocol: Protocol::PubSub };
                Wire::Redis(Box::new(Stream::open(addr, 0, &opening).await?))
            }
        };
        Ok(Self { wire, numbers: Vec::new(), requests: Vec::new() })
    }

    /// Adds a message to what is published next; `text` needs no escapes in JSON.
    pub(crate) fn add(&mut self, number: u64, text: &str) {
        self.numbers.push(number);
        match &self.wire {
            Wire::Http { dialect, destinations, .. } if dialect.ordered() => {
                let Destination { path, token } = &destinations[destination_of(number, destinations.len())];
                let body = format!("{{\"body\":\"{text}\"}}");
                self.requests.extend(request("POST", path, Identity::Bearer(token), Some(&body)));
            }
            Wire::Http { .. } => {
                let body = format!("{number} {text}");
                self.requests.extend(request("POST", "/pub", Identity::Nobody, Some(&body)));
            }
            Wire::Nats(_) => nats::publish(&mut self.requests, &format!("{number} {text}")),
            Wire::Redis(_) => pubsub::publish(&mut self.requests, &format!("{number} {text}")),
        }
    }

    /// Publishes what was added and waits until all of it was answered.
    pub(crate) async fn publish(&mut self, sent: &mut Sent) -> Result<()> {
        let Self { wire, numbers, requests } = self;
        match wire {
            Wire::Http { client, dialect, .. } => {
                let mut answer = Vec::new();
                client.send(requests).await?;
                for &number in &*numbers {
                    if !client.receive(&mut answer).await?.good() {
                        sent.refused += 1;
                    } else if dialect.ordered() {
                        sent.acked(offset(&answer)?, number);
                    } else {
                        sent.acked(number, number);
                    }
                }
            }
            Wire::Nats(stream) => {
                nats::ask(requests);
                stream.say(requests).await?;
                answers(stream, b"hello", 1).await?;
                numbers.iter().for_each(|&number| sent.acked(number, number));
            }
            Wire::Redis(stream) => {
                stream.say(requests).await?;
                answers(stream, b"published", numbers.len()).await?;
                numbers.iter().for_each(|&number| sent.acked(number, number));
            }
        }
        requests.clear();
        numbers.clear();
        Ok(())
    }
}

/// Waits for so many answers with this name.
async fn answers(stream: &mut Stream, name: &[u8], wanted: usize) -> Result<()> {
    let mut count = 0;
    let all = async {
        while count < wanted {
            let open = stream.read(&mut |event: Event<'_>| count += usize::from(event.name == name)).await?;
            ensure!(open || count >= wanted, "the server closed the connection");
        }
        Ok(())
    };
    tokio::time::timeout(sockets::ANSWER_WAIT, all).await.context("no answer")?
}

/// The offset in an answer of Scrollback.
fn offset(answer: &[u8]) -> Result<u64> {
    const FIELD: &[u8] = b"\"offset\":";
    let at = memmem::find(answer, FIELD).map(|at| at + FIELD.len());
    at.and_then(|at| leading_number(&answer[at..])).context("an answer without an offset")
}
