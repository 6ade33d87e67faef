//! A server and a token, and single requests to it.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use hyper::body::Incoming;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Ended, Error, SetupError};
use crate::follower::Follower;
use crate::link::{ANSWER_TIMEOUT, Address, Link};
use crate::shapes::{Boot, Channels, Page};
use crate::state::{Joined, State};
use crate::stream::Transport;

/// How many of the newest messages of each channel are read when nothing else was said.
const MESSAGES: u16 = 50;

/// A server and the identity with which it is asked. Cheap to clone; it keeps no connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) address: Address,
    messages: u16,
}

impl Client {
    /// A client of the server at `url`, `http://...` or `https://...`, with an API token (`POST /api/tokens`). Behind https the
    /// server must prove its name by a certificate that this machine trusts.
    ///
    /// # Errors
    /// When the URL or the token cannot be used, or this machine trusts nobody.
    pub fn new(url: &str, token: &str) -> Result<Client, SetupError> {
        Ok(Client { address: Address::new(url, token, None)?, messages: MESSAGES })
    }

    /// The same with a TLS configuration of the caller's, for servers with a certificate of their own.
    ///
    /// # Errors
    /// When the URL or the token cannot be used.
    pub fn with_tls(url: &str, token: &str, trust: Arc<ClientConfig>) -> Result<Client, SetupError> {
        Ok(Client { address: Address::new(url, token, Some(trust))?, messages: MESSAGES })
    }

    /// Reads so many of the newest messages of each channel (0 to 500; at first 50) at a boot and when a channel is joined.
    #[must_use]
    pub fn messages(mut self, each: u16) -> Client {
        self.messages = each;
        self
    }

    /// Reads what the user may see now, once.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn boot(&self) -> Result<Boot, Error> {
        self.get(&format!("/api/boot?messages={}", self.messages)).await
    }

    /// Boots and follows the events from there on.
    #[must_use]
    pub fn follow(&self, transport: Transport) -> Follower {
        Follower::new(self.clone(), transport, None)
    }

    /// Goes on from a state that was kept: one of a [`Follower`] whose identity has ended, or one from a disk. Missed events
    /// follow; it boots only if the log is not the one that the state is of.
    #[must_use]
    pub fn resume(&self, state: State, transport: Transport) -> Follower {
        Follower::new(self.clone(), transport, Some(state))
    }

    /// A channel that the user has joined by the event at `offset`, as it is then or later; none if they may not see it (any
    /// more).
    ///
    /// It is read by two requests and not by the events after `history_after`, because those are all that ever happened in
    /// the channel, and a boot does not bring more than its newest messages either.
    pub(crate) async fn joined(&self, channel: &str, offset: u64) -> Result<Option<Joined>, Error> {
        let listed: Channels = self.get(&format!("/api/channels?at_least={offset}")).await?;
        let Some(found) = listed.channels.into_iter().find(|listed| listed.id == channel) else {
            return Ok(None);
        };
        if self.messages == 0 {
            return Ok(Some(Joined { channel: found, messages: Vec::new() }));
        }
        let path = format!("/api/channels/{channel}/messages?at_least={offset}&limit={}", self.messages);
        match self.get::<Page>(&path).await {
            Ok(page) => Ok(Some(Joined { channel: found, messages: page.messages })),
            // It was lost between the two.
            Err(Error::Ended(Ended::Refused(problem))) if problem.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Any other call of the HTTP interface (docs/api.md), once: `path` begins with `/api/`, `body` is JSON. What is answered by
    /// nothing (204) is read as null: as `()`, or none of an `Option`.
    ///
    /// # Errors
    /// When the server does not answer, or refuses, or its answer is no such `T`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let mut link = Link::open(&self.address).await?;
        let request = link.request(method, path);
        link.ask(request, body.map(|body| body.to_string().into_bytes()), ANSWER_TIMEOUT).await
    }

    /// What `GET` gives at this path, piece by piece as it comes: for a backup, which can be larger than any answer else.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn download(&self, path: &str) -> Result<Download, Error> {
        let mut link = Link::open(&self.address).await?;
        let request = link.request(Method::GET, path);
        let body = link.begin(request, None, ANSWER_TIMEOUT).await?.into_body();
        Ok(Download { link, body })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path, None).await
    }
}

/// The body of an answer while it comes.
pub struct Download {
    link: Link,
    body: Incoming,
}

impl Download {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When it breaks off, or nothing comes for half a minute.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.link.piece(&mut self.body).await
    }
}
