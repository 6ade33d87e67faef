//! A stream that is opened again whenever it is lost, where it was.

use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::{Away, Ended, Error};
use crate::link::Address;
use crate::stream::{Bye, Elsewhere, Session, Signal, Stream, Transport, Wanted};

/// A stream of events, read as `E`, for as long as it is of use.
pub(crate) struct Feed<E> {
    address: Address,
    transport: Transport,
    stream: Option<Stream<E>>,
    /// The stream that is being opened. It is kept here, so that who waits and gives up lets it go on.
    opening: Option<Opening<E>>,
    session: Session,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

type Opening<E> = Pin<Box<dyn Future<Output = Result<Stream<E>, Error>> + Send>>;

/// What comes of it.
pub(crate) enum Fed<E> {
    /// These events, and the resume token behind them.
    Events(Vec<E>, Option<String>),
    /// What follows is live.
    CaughtUp,
    /// The log is another one, or ends before the place that was asked for.
    Elsewhere(Elsewhere),
    /// The server is away, and asked again after that time.
    Away(Away, Duration),
}

impl<E: DeserializeOwned + Send + 'static> Feed<E> {
    pub(crate) fn new(address: Address, transport: Transport) -> Feed<E> {
        Feed {
            address,
            transport,
            stream: None,
            opening: None,
            session: Session::default(),
            backoff: Backoff::default(),
            retry_at: None,
        }
    }

    /// What comes next of what is `wanted`, which says where whoever asks stands by now. May be dropped while it waits:
    /// nothing is lost.
    ///
    /// # Errors
    /// When it is no use to go on.
    pub(crate) async fn next(&mut self, wanted: impl FnOnce() -> Wanted) -> Result<Fed<E>, Ended> {
        self.rest().await;
        match self.step(wanted).await {
            Ok(fed) => Ok(fed),
            Err(Error::Ended(ended)) => Err(ended),
            Err(Error::Away(why)) => {
                let retry_in = self.lose(why.retry_after);
                Ok(Fed::Away(why, retry_in))
            }
        }
    }

    /// Waits until it is time to ask again.
    pub(crate) async fn rest(&mut self) {
        if let Some(at) = self.retry_at {
            tokio::time::sleep_until(at).await;
            self.retry_at = None;
        }
    }

    /// Everything up to this offset was dealt with.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        if let Some(stream) = &mut self.stream {
            stream.acknowledge(offset);
        }
    }

    /// Drops the stream and stays away for a while; says how long. `asked` is how long the server asks to.
    pub(crate) fn lose(&mut self, asked: Option<Duration>) -> Duration {
        let asked = asked.or_else(|| self.stream.as_ref().and_then(Stream::retry));
        self.stay_away(asked)
    }

    /// Drops the stream. The next one begins where it is asked to, with nothing left of this one.
    pub(crate) fn leave(&mut self) {
        self.drop_stream();
        self.session = Session::default();
    }

    /// Takes leave of the server.
    pub(crate) async fn close(self) {
        if let Some(stream) = self.stream {
            stream.close().await;
        }
    }

    async fn step(&mut self, wanted: impl FnOnce() -> Wanted) -> Result<Fed<E>, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opening = self.opening.get_or_insert_with(|| {
                    let (address, session) = (self.address.clone(), self.session.clone());
                    let (transport, wanted) = (self.transport, wanted());
                    Box::pin(async move { Stream::open(&address, transport, wanted, &session).await })
                });
                let opened = opening.await;
                self.opening = None;
                self.stream.insert(opened?)
            }
        };
        loop {
            return Ok(match stream.next(&mut self.session).await? {
                Signal::Alive => continue,
                Signal::Begun(at) => {
                    self.backoff.reset();
                    // By that even who has asked for a place without a name, and loses the stream at once, goes on there.
                    Fed::Events(Vec::new(), at)
                }
                Signal::Elsewhere(elsewhere) => {
                    self.leave();
                    Fed::Elsewhere(elsewhere)
                }
                Signal::Events(events, at) => Fed::Events(events, at),
                Signal::CaughtUp => Fed::CaughtUp,
                Signal::Bye(bye) => self.part(&bye)?,
            });
        }
    }

    /// The server ends the stream; what that means.
    fn part(&mut self, bye: &Bye) -> Result<Fed<E>, Error> {
        Ok(match (bye.reason.as_str(), bye.code.as_deref()) {
            ("revoked", Some("unauthenticated")) => return Err(Ended::Unauthenticated.into()),
            // Whoever lost a channel need not stay away: the server is there.
            ("revoked", _) => {
                let why = Away::new("a private channel was lost; the stream goes on without it");
                Fed::Away(why, self.stay_away(None))
            }
            (reason, _) => {
                let why = Away::new(format!("the server has ended the stream: {reason}"));
                Fed::Away(why, self.lose(bye.retry.map(Duration::from_millis)))
            }
        })
    }

    fn stay_away(&mut self, asked: Option<Duration>) -> Duration {
        self.drop_stream();
        let retry_in = self.backoff.next(asked, rand::random());
        self.retry_at = Some(Instant::now() + retry_in);
        retry_in
    }

    fn drop_stream(&mut self) {
        self.stream = None;
        self.opening = None;
    }
}
