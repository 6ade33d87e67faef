//! The requests of a watch, each of which goes on while nobody waits for it.

use std::pin::Pin;
use std::time::Duration;

use http::Method;

use super::reader::{Stream as Notices, look as ask};
use super::watched::{Means, WatchOptions};
use super::wire::{Page, Set, Setting};
use crate::error::Error;
use crate::event::Event;
use crate::link::{ANSWER_TIMEOUT, Address, Link};
use crate::stream::{Elsewhere, Session, Signal, Start, Stream, Transport, Wanted};

/// A request that is under way.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

/// What a request has brought.
pub(super) enum Done {
    /// The watch is set; and whether the log is another one.
    Set(Setting, Option<Elsewhere>),
    /// It is read by this stream.
    Opened(Box<Notices>),
    /// This is how things stand.
    Looked(Page),
}

/// Sets the watch at this path. `place` is a resume token of the log that was known, if that has to be compared.
pub(super) fn set(
    address: &Address,
    path: &str,
    body: &Set<'_>,
    place: Option<&str>,
    options: &WatchOptions,
) -> Work {
    let body = serde_json::to_vec(body);
    let (address, path, options) = (address.clone(), path.to_owned(), options.clone());
    let place = place.map(str::to_owned);
    Box::pin(async move {
        let body = body.map_err(|error| Error::unreadable(error.to_string()))?;
        let mut link = Link::open(&address).await?;
        let setting = link.ask(link.request(Method::PUT, &path), Some(body), ANSWER_TIMEOUT).await?;
        // After the watch is set and before it is read: a server that has begun anew meanwhile, with another log, does not know
        // the watch when it is to be read.
        let elsewhere = match place {
            Some(place) => compare(&address, &place, &options).await?,
            None => None,
        };
        Ok(Done::Set(setting, elsewhere))
    })
}

/// Opens a stream of it, for a reader that stands at `after`.
pub(super) fn open(address: Address, path: String, after: Option<String>, heartbeat: Duration) -> Work {
    Box::pin(async move {
        let notices = Notices::open(&address, &path, after.as_deref(), heartbeat).await?;
        Ok(Done::Opened(Box::new(notices)))
    })
}

/// Asks once how things stand.
pub(super) fn look(address: Address, path: String) -> Work {
    Box::pin(async move { Ok(Done::Looked(ask(&address, &path).await?)) })
}

/// Whether the server's log is the one of which `place` is a resume token: that is what the first word of any stream of
/// events says.
async fn compare(address: &Address, place: &str, options: &WatchOptions) -> Result<Option<Elsewhere>, Error> {
    let transport = if options.means == Means::Sse { Transport::Sse } else { Transport::Poll };
    let mut session = Session::default();
    let wanted = Wanted { start: Start::After(place.to_owned()), filters: Vec::new() };
    let mut stream = Stream::<Event>::open(address, transport, wanted, &session).await?;
    loop {
        match stream.next(&mut session).await? {
            Signal::Elsewhere(elsewhere) => return Ok(Some(elsewhere)),
            Signal::Alive => {}
            Signal::Bye(bye) => {
                return Err(Error::away(format!("the server ends its streams: {}", bye.reason)));
            }
            Signal::Begun(_) | Signal::Events(..) | Signal::CaughtUp => return Ok(None),
        }
    }
}
