//! The WebSocket protocol as far as it is read: what came in goes in, and messages come out.
//!
//! The library gets a stream that lies in memory: what the socket has brought it reads, and what it has to answer of its
//! own accord, pongs and the answer to a close, is collected.

use std::io::{self, Read, Write};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// What the library reads at once; it has a buffer of this size for each connection.
const READ_BYTES: usize = 1 << 10;
/// What it may hold back of its own answers. It never does: the stream takes all of them.
const WRITE_BYTES_MAX: usize = 4 << 10;

/// One connection's protocol.
pub(super) struct Protocol {
    socket: WebSocket<Memory>,
    /// How many bytes came since the last whole message.
    partial: usize,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Heard {
    /// A text message.
    Text(String),
    /// The client closes the socket in an orderly way.
    Close,
    /// Nothing more is there.
    Nothing,
    /// The client does not speak the protocol: the close code, and why.
    Broken(u16, &'static str),
}

/// The stream that the library sees.
struct Memory {
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.incoming[self.taken..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        if self.taken == self.incoming.len() {
            // A client is silent for most of the time, and then nothing is kept for it.
            (self.incoming, self.taken) = (Vec::new(), 0);
        }
        Ok(length)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Protocol {
    /// A server's side, whose client's messages have at most `message_bytes_max` bytes.
    pub(super) fn new(message_bytes_max: usize) -> Protocol {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BYTES_MAX)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let memory = Memory { incoming: Vec::new(), taken: 0, outgoing: Vec::new() };
        Protocol { socket: WebSocket::from_raw_socket(memory, Role::Server, Some(config)), partial: 0 }
    }

    /// The socket has brought this.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.partial += bytes.len();
        self.socket.get_mut().incoming.extend_from_slice(bytes);
    }

    /// About how many bytes there are of a message that is not whole yet.
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial
    }

    /// What the client says next.
    pub(super) fn read(&mut self) -> Heard {
        loop {
            return match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let memory = self.socket.get_ref();
                    self.partial = memory.incoming.len() - memory.taken;
                    Heard::Text(text.as_str().to_owned())
                }
                Ok(Message::Binary(_)) => Heard::Broken(1003, "messages are text"),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Heard::Close,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    Heard::Broken(1009, "the message is too long")
                }
                Err(Error::Utf8(_)) => Heard::Broken(1007, "the message is not UTF-8"),
                Err(Error::Protocol(ProtocolError::ReceivedAfterClosing)) => Heard::Close,
                Err(_) => Heard::Broken(1002, "this is not the WebSocket protocol"),
            };
        }
    }

    /// What the protocol itself has to say to the client.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.socket.get_mut().outgoing)
    }
}
