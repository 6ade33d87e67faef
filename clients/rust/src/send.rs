//! Sending: exactly once, whatever becomes of the answer.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Away, Error, SendError};
use crate::link::{ANSWER_TIMEOUT, Link};
use crate::shapes::Message;

/// How long a message is tried when nothing else was said.
const SEND_WITHIN: Duration = Duration::from_secs(120);

impl Client {
    /// Sends a message. While the server is away, or the answer was lost, it is sent again under the same idempotency key for
    /// two minutes, so it is there once, or not at all.
    ///
    /// # Errors
    /// [`SendError::Ended`] when it is not sent and will not be; [`SendError::Unknown`] when the time is over.
    pub async fn send(&self, channel: &str, body: &str) -> Result<Message, SendError> {
        let key = format!("{:032x}", rand::random::<u128>());
        self.send_under(channel, body, &key, SEND_WITHIN).await
    }

    /// The same under a key of the caller's, who can keep it and find out later what became of the message; and for as long
    /// as the caller wants. The server remembers keys for 30 days.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_under(
        &self,
        channel: &str,
        body: &str,
        key: &str,
        within: Duration,
    ) -> Result<Message, SendError> {
        let deadline = Instant::now() + within;
        let mut backoff = Backoff::default();
        loop {
            let away = match tokio::time::timeout_at(deadline, self.try_send(channel, body, key)).await {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(Error::Ended(ended))) => return Err(ended.into()),
                Ok(Err(Error::Away(away))) => away,
                Err(_) => Away::new("the server has not answered in time"),
            };
            let wait = backoff.next(away.retry_after, rand::random());
            if Instant::now() + wait >= deadline {
                return Err(SendError::Unknown { key: key.to_owned(), last: away });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_send(&self, channel: &str, body: &str, key: &str) -> Result<Message, Error> {
        let mut link = Link::open(&self.address).await?;
        let request = link.request(Method::POST, &format!("/api/channels/{channel}"));
        let request = request.header("idempotency-key", key);
        link.ask(request, Some(json!({"body": body}).to_string().into_bytes()), ANSWER_TIMEOUT).await
    }
}
