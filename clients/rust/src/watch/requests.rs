//! The requests of a watch, each of which goes on while nobody waits for it.

use std::pin::Pin;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::reader::{Stream as Notices, look as ask};
use super::wire::{Page, Set, Setting};
use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Address, Link};
use crate::stream::Elsewhere;

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
pub(super) fn set(address: &Address, path: &str, body: &Set<'_>, place: Option<&str>) -> Work {
    let body = serde_json::to_vec(body);
    let (address, path) = (address.clone(), path.to_owned());
    let place = place.map(str::to_owned);
    Box::pin(async move {
        let body = body.map_err(|error| Error::unreadable(error.to_string()))?;
        let mut link = Link::open(&address).await?;
        let setting = link.ask(link.request(Method::PUT, &path), Some(body), ANSWER_TIMEOUT).await?;
        // After the watch is set and before it is read: a server that has begun anew meanwhile, with another log, does not know
        // the watch when it is to be read.
        let elsewhere = match place {
            Some(place) => compare(&mut link, &place).await?,
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

/// What a page of events says of the point that it was asked to begin behind.
#[derive(Deserialize)]
struct Stands {
    resume: String,
}

/// Whether the server's log is the one of which `place` is a resume token: that is what any page of events says first. Of one
/// event, for it is not wanted, and what lies behind may be much.
async fn compare(link: &mut Link, place: &str) -> Result<Option<Elsewhere>, Error> {
    let request = link.request(Method::GET, &format!("/api/events/poll?after={place}&limit=1"));
    let stands: Stands = link.ask(request, None, ANSWER_TIMEOUT).await?;
    Elsewhere::of(&stands.resume)
}
