//! Polls: one request after the other, for JSON.

use std::pin::Pin;
use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::link::{ANSWER_TIMEOUT, Address, Link};

/// How long one request waits for something new.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// Asks again and again, on one connection as long as it lasts.
pub(crate) struct Asking<T> {
    address: Address,
    link: Option<Link>,
    /// The request that is under way. It is kept here, so that it goes on when the waiting for it is dropped.
    work: Option<Work<T>>,
}

type Work<T> = Pin<Box<dyn Future<Output = Result<(Link, T), Error>> + Send>>;

impl<T: DeserializeOwned + Send + 'static> Asking<T> {
    pub(crate) fn new(address: &Address) -> Asking<T> {
        Asking { address: address.clone(), link: None, work: None }
    }

    /// Asks for the path that `request` gives, whose answer the server may hold back for so long; or goes on with what it has
    /// asked before.
    pub(crate) async fn ask(&mut self, request: impl FnOnce() -> (String, Duration)) -> Result<T, Error> {
        let work = self.work.get_or_insert_with(|| {
            let (path, wait) = request();
            Box::pin(ask(self.link.take(), self.address.clone(), path, wait))
        });
        let asked = work.await;
        self.work = None;
        let (link, answer) = asked?;
        self.link = Some(link);
        Ok(answer)
    }
}

async fn ask<T: DeserializeOwned>(
    link: Option<Link>,
    address: Address,
    path: String,
    wait: Duration,
) -> Result<(Link, T), Error> {
    let mut link = match link.filter(|link| !link.is_closed()) {
        Some(link) => link,
        None => Link::open(&address).await?,
    };
    let request = link.request(Method::GET, &path);
    let answer = link.ask(request, None, wait + ANSWER_TIMEOUT).await?;
    Ok((link, answer))
}
