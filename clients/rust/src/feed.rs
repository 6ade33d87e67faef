//! A stream that is opened again whenever it is lost, where it was.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::{Away, Ended, Error};
use crate::link::Address;
use crate::stream::{Bye, Elsewhere, Session, Signal, Stream, Transport, Wanted, offset_of};

/// A stream of events, read as `E`, for as long as it is of use.
pub(crate) struct Feed<E> {
    address: Address,
    transport: Transport,
    stream: Option<Stream<E>>,
    /// The stream that is being opened. It is kept here, so that who waits and gives up lets it go on.
    opening: Option<Opening<E>>,
    session: Session,
    /// Events that came together and are not dealt with yet; then the resume token behind them.
    events: VecDeque<E>,
    passed: Option<String>,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

type Opening<E> = Pin<Box<dyn Future<Output = Result<Stream<E>, Error>> + Send>>;

/// What comes of it.
pub(crate) enum Fed {
    /// Events, which [`Feed::front`] shows and [`Feed::dealt`] takes, or a sign of life.
    Came,
    /// Nothing that is wanted, up to this resume token.
    Stands(String),
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
            events: VecDeque::new(),
            passed: None,
            backoff: Backoff::default(),
            retry_at: None,
        }
    }

    /// The first of the events that are not dealt with yet.
    pub(crate) fn front(&self) -> Option<&E> {
        self.events.front()
    }

    /// Takes the event in front, which was or is dealt with now. If it was the last of those that came together the server is
    /// told, so that it sends more, and this is the resume token behind them.
    pub(crate) fn dealt(&mut self) -> Option<(E, Option<String>)> {
        let event = self.events.pop_front()?;
        let passed = if self.events.is_empty() { self.passed.take() } else { None };
        if let (Some(stream), Some(offset)) = (&mut self.stream, passed.as_deref().and_then(offset_of)) {
            stream.acknowledge(offset);
        }
        Some((event, passed))
    }

    /// What comes next, when all that came before is dealt with, of what is `wanted`, which says where whoever asks stands by
    /// now. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// When it is no use to go on.
    pub(crate) async fn next(&mut self, wanted: impl FnOnce() -> Wanted) -> Result<Fed, Ended> {
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

    /// Drops the stream, and what came of it and was not dealt with: it comes again. Stays away for a while; says how long.
    /// `asked` is how long the server asks to.
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

    async fn step(&mut self, wanted: impl FnOnce() -> Wanted) -> Result<Fed, Error> {
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
        Ok(match stream.next(&mut self.session).await? {
            Signal::Alive => Fed::Came,
            Signal::Begun(at) => {
                self.backoff.reset();
                // By that even who has asked for a place without a name, and loses the stream at once, goes on there.
                at.map_or(Fed::Came, Fed::Stands)
            }
            Signal::Elsewhere(elsewhere) => {
                self.leave();
                Fed::Elsewhere(elsewhere)
            }
            // A session wants to hear of events only; a checkpoint is none.
            Signal::Events(events, at) if events.is_empty() => at.map_or(Fed::Came, Fed::Stands),
            Signal::Events(events, at) => {
                (self.events, self.passed) = (events.into(), at);
                Fed::Came
            }
            Signal::CaughtUp => Fed::CaughtUp,
            Signal::Bye(bye) => self.part(&bye)?,
        })
    }

    /// The server ends the stream; what that means.
    fn part(&mut self, bye: &Bye) -> Result<Fed, Error> {
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
        self.events.clear();
        self.passed = None;
    }
}
