//! WebSocket frames as bytes: made wrong on purpose, and read without help.

use std::io::{self, Write};
use std::net::Shutdown;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::Client;
use super::http::{ANSWER_WAIT, Conn};
use super::ws::{ask_upgrade, upgrade_of};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The bit that says that a frame is the last of its message.
pub(crate) const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x5C, 0x72, 0x6F, 0x6C];

/// A frame with this first byte, masked, of this length.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The same without a mask.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    bytes[1] &= 0x7F;
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a masked frame that says it is so long, without the mask itself.
pub(crate) fn head(first: u8, length: u64) -> Vec<u8> {
    match length {
        0..=125 => vec![first, 0x80 | length as u8],
        126..=0xFFFF => [&[first, 0xFE][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0xFF][..], &length.to_be_bytes()].concat(),
    }
}

/// A complete text message.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

/// A frame that the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Takes a whole frame off the bytes, if there is one. The server's frames are whole messages and not masked.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Got> {
    let [first, second] = *bytes.first_chunk::<2>()?;
    assert_eq!((first & 0xF0, second & 0x80), (FIN, 0), "the frame of a server: {first:#x} {second:#x}");
    let (length, begin) = match second {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = begin + usize::try_from(length).expect("a length");
    let payload = bytes.get(begin..end)?.to_vec();
    bytes.drain(..end);
    Some(Got { opcode: first & 0x0F, payload })
}

/// How a socket ended, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a Close with this code; none if it had none.
    Code(Option<u16>),
    /// Without a Close.
    Bare,
    /// Not in this time.
    Open,
}

/// An upgraded connection on which anything can be said.
pub(crate) struct RawWs {
    conn: Conn,
    bytes: Vec<u8>,
    /// Why it ended, as far as the server said.
    pub(crate) reason: String,
}

impl RawWs {
    #[track_caller]
    pub(crate) fn open(client: &Client) -> Self {
        Self::open_at(client, "/api/ws")
    }

    /// The same on another path.
    #[track_caller]
    pub(crate) fn open_at(client: &Client, path: &str) -> Self {
        let conn = ask_upgrade(client, &upgrade_of(path)).expect("an answer").unwrap_or_else(|refusal| {
            panic!("the upgrade was refused: {} {}", refusal.status, refusal.text())
        });
        Self { conn, bytes: Vec::new(), reason: String::new() }
    }

    /// Says this again and again beside whoever hears, until the connection ends.
    pub(crate) fn flood(&self, bytes: Vec<u8>) -> JoinHandle<()> {
        let mut writer = self.conn.writer();
        std::thread::spawn(move || while writer.write_all(&bytes).is_ok() {})
    }

    /// From now on saying fails when the server takes nothing for so long.
    pub(crate) fn give_up_after(&mut self, wait: Duration) {
        self.conn.set_write_wait(wait);
    }

    /// Says it, or as much of it as the server takes before it ends the connection.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.conn.write(bytes)
    }

    /// The next frame, within `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Got, Ended> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(got) = take(&mut self.bytes) {
                return Ok(got);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ended::Open);
            }
            self.conn.set_wait(left);
            let mut piece = [0; 16 << 10];
            match self.conn.read_some(&mut piece) {
                Ok(0) => return Err(Ended::Bare),
                Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(Ended::Open);
                }
                Err(_) => return Err(Ended::Bare),
            }
        }
    }

    /// Waits for the end; a Close must be the last frame.
    pub(crate) fn end(&mut self) -> Ended {
        self.end_within(ANSWER_WAIT)
    }

    pub(crate) fn end_within(&mut self, wait: Duration) -> Ended {
        let deadline = Instant::now() + wait;
        let mut closed = None;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(got) if closed.is_some() => panic!("a frame after the Close: {got:?}"),
                Ok(Got { opcode: CLOSE, payload }) => {
                    closed = Some(Ended::Code(payload.first_chunk().map(|code| u16::from_be_bytes(*code))));
                    self.reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    // The server waits a little for this, so that its last words are read.
                    self.conn.shutdown(Shutdown::Write);
                }
                Ok(_) => {}
                // A Close that the other side does not wait for an answer to is an end too.
                Err(ended) => return closed.unwrap_or(ended),
            }
        }
    }
}
