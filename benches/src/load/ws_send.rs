//! Durable sends of messages over WebSocket, one socket for each client: a closed loop.

use anyhow::{Context, Result, ensure};
use clap::Args;
use memchr::memmem;

use super::Target;
use super::closed_loop::{self, Answered, Exchange};
use super::post::Sends;
use crate::client::{Identity, leading_number};
use crate::cut::Event;
use crate::report::Report;
use crate::stream::{Opening, Protocol, Stream};
use crate::ws;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The id of the channel.
    #[arg(long)]
    channel: String,
    #[command(flatten)]
    sends: Sends,
}

/// A socket without a session: nothing but answers comes through it.
struct Socket {
    stream: Stream,
    channel: String,
    bytes: usize,
}

impl Exchange for Socket {
    fn add(&mut self, number: u64) {
        let (channel, text) = (&self.channel, Sends::text(self.bytes, number));
        let send = format!(r#"{{"type":"send","id":"{number}","channel":"{channel}","body":"{text}"}}"#);
        self.stream.put(send.as_bytes());
    }

    async fn send(&mut self) -> Result<()> {
        self.stream.send().await
    }

    async fn receive(&mut self, answered: &mut Vec<Answered>) -> Result<()> {
        while answered.is_empty() {
            let mut outcome = Ok(());
            let open = self
                .stream
                .read(&mut |event: Event<'_>| {
                    if event.name == b"answer" {
                        match answer(event.data) {
                            Ok(answer) => answered.push(answer),
                            Err(error) => outcome = Err(error),
                        }
                    }
                })
                .await?;
            outcome?;
            ensure!(open, "the server closed the connection");
        }
        Ok(())
    }
}

fn answer(message: &[u8]) -> Result<Answered> {
    let field = |key: &[u8]| {
        let at = memmem::find(message, key)? + key.len();
        leading_number(&message[at..])
    };
    let number = field(b"\"id\":\"").context("an answer to nobody")?;
    let status = field(b"\"status\":").context("an answer without a status")?;
    Ok(Answered { number: Some(number), good: status == 201 })
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let Target { addr, token, pids } = &arguments.target;
    let opening = Opening {
        request: ws::upgrade("/api/ws", Identity::Bearer(token)),
        then: Vec::new(),
        protocol: Protocol::Session { acknowledge_at: u64::MAX },
    };
    closed_loop::connect_and_run(arguments.sends.size(), pids, async || {
        Ok(Socket {
            stream: Stream::open(*addr, 0, &opening).await?,
            channel: arguments.channel.clone(),
            bytes: arguments.sends.bytes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_id_and_good_by_its_status() -> Result<()> {
        let good = answer(br#"{"type":"answer","id":"12","status":201,"body":{"id":"M1","offset":3}}"#)?;
        assert_eq!((good.number, good.good), (Some(12), true));
        let refused = answer(br#"{"type":"answer","id":"13","status":503,"body":{"status":503}}"#)?;
        assert_eq!((refused.number, refused.good), (Some(13), false));
        assert!(answer(br#"{"type":"answer","status":503,"body":{"status":503}}"#).is_err());
        Ok(())
    }
}
