//! The WebSocket protocol as far as it is read: what came in goes in, and messages come out.
//!
//! The library gets a stream that lies in memory: what the socket has brought it reads, and what it has to answer of its
//! own accord, pongs and the answer to a close, is collected.

use std::io::{self, Read, Write};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::scanner::Scanner;

/// What the library reads at once; it has a buffer of this size for each connection.
const READ_BYTES: usize = 1 << 10;
/// What it may hold back of its own answers. It never does: the stream takes all of them.
const WRITE_BYTES_MAX: usize = 4 << 10;
/// After a message of more than this the library begins anew: it keeps a buffer as large as the largest it has seen.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// One connection's protocol.
pub(super) struct Protocol {
    socket: WebSocket<Memory>,
    scanner: Scanner,
    message_bytes_max: usize,
    /// The largest message since the library began.
    largest: usize,
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
#[derive(Default)]
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

fn begin(memory: Memory, message_bytes_max: usize) -> WebSocket<Memory> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    WebSocket::from_raw_socket(memory, Role::Server, Some(config))
}

impl Protocol {
    /// A server's side, whose client's messages have at most `message_bytes_max` bytes.
    pub(super) fn new(message_bytes_max: usize) -> Protocol {
        let socket = begin(Memory::default(), message_bytes_max);
        Protocol { socket, scanner: Scanner::default(), message_bytes_max, largest: 0 }
    }

    /// The socket has brought this.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.scanner.feed(bytes);
        self.socket.get_mut().incoming.extend_from_slice(bytes);
    }

    /// How many bytes there are of a message that is not whole yet, once all that came was read.
    pub(super) fn partial_bytes(&self) -> usize {
        self.scanner.partial()
    }

    /// What the client says next.
    pub(super) fn read(&mut self) -> Heard {
        loop {
            return match self.socket.read() {
                Ok(Message::Text(text)) => {
                    self.largest = self.largest.max(text.len());
                    Heard::Text(text.as_str().to_owned())
                }
                Ok(Message::Binary(_)) => Heard::Broken(1003, "messages are text"),
                Ok(Message::Close(_)) => {
                    // It answers when it is asked to write: which then says that the connection is over.
                    let _ = self.socket.flush();
                    Heard::Close
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => Heard::Close,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.let_go();
                    Heard::Nothing
                }
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    Heard::Broken(1009, "the message is too long")
                }
                Err(Error::Utf8(_)) => Heard::Broken(1007, "the message is not UTF-8"),
                Err(Error::Protocol(ProtocolError::ReceivedAfterClosing)) => Heard::Close,
                Err(_) => Heard::Broken(1002, "this is not the WebSocket protocol"),
            };
        }
    }

    /// Lets the library's buffer go after a large message, once there is nothing in it.
    fn let_go(&mut self) {
        let partial = self.largest.max(self.scanner.partial());
        self.largest = partial;
        if self.largest > KEPT_BYTES_MAX && self.scanner.is_between_frames() {
            let memory = std::mem::take(self.socket.get_mut());
            self.socket = begin(memory, self.message_bytes_max);
            self.largest = 0;
        }
    }

    /// What the protocol itself has to say to the client.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.socket.get_mut().outgoing)
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::coding::CloseCode;
    use tungstenite::protocol::frame::{CloseFrame, Frame};

    use super::*;

    /// What a client sends for this message.
    fn said(message: &Message) -> Vec<u8> {
        let mut client = WebSocket::from_raw_socket(Memory::default(), Role::Client, None);
        client.send(message.clone()).unwrap();
        std::mem::take(&mut client.get_mut().outgoing)
    }

    fn texts(protocol: &mut Protocol) -> Vec<String> {
        let mut texts = Vec::new();
        while let Heard::Text(text) = protocol.read() {
            texts.push(text);
        }
        texts
    }

    #[test]
    fn pings_are_answered_and_leave_nothing_unfinished() {
        let mut protocol = Protocol::new(1 << 20);
        for _ in 0..10 {
            protocol.feed(&said(&Message::Ping("7".into())));
            protocol.feed(&said(&Message::Pong("".into())));
            assert!(matches!(protocol.read(), Heard::Nothing));
            assert_eq!(protocol.take_outgoing(), [0x8a, 1, b'7']);
            assert_eq!(protocol.partial_bytes(), 0);
        }
    }

    #[test]
    fn a_close_is_answered_with_its_code() {
        let mut protocol = Protocol::new(1 << 20);
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        protocol.feed(&said(&Message::Close(Some(close))));
        assert!(matches!(protocol.read(), Heard::Close));
        assert_eq!(protocol.take_outgoing(), [0x88, 2, 3, 232]);
    }

    #[test]
    fn messages_come_whole_however_their_bytes_come_and_large_ones_leave_no_buffer() {
        let bodies: Vec<String> = [3, 70_000, 1, 5_000, 0, 66_000].map(|length| "x".repeat(length)).into();
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| said(&Message::text(body.as_str()))).collect();
        for cut in [1, 7, 1_000, 4_096, bytes.len()] {
            let mut protocol = Protocol::new(1 << 20);
            let mut heard = Vec::new();
            for piece in bytes.chunks(cut) {
                protocol.feed(piece);
                heard.extend(texts(&mut protocol));
            }
            assert_eq!(heard, bodies, "{cut}");
            assert_eq!((protocol.partial_bytes(), protocol.largest), (0, 0), "{cut}");
        }
    }

    #[test]
    fn what_is_not_the_protocol_has_a_code_each() {
        let unmasked = Frame::message(
            "hello",
            tungstenite::protocol::frame::coding::OpCode::Data(
                tungstenite::protocol::frame::coding::Data::Text,
            ),
            true,
        );
        let mut bytes = Vec::new();
        unmasked.format(&mut bytes).unwrap();
        for (bytes, code) in [
            (bytes, 1002),
            (vec![0xc1, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x80, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x09, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
            (said(&Message::binary(vec![1])), 1003),
            (said(&Message::text("x".repeat(2_000))), 1009),
        ] {
            let mut protocol = Protocol::new(1_000);
            protocol.feed(&bytes);
            let heard = protocol.read();
            assert!(matches!(heard, Heard::Broken(found, _) if found == code), "{code}: {heard:?}");
        }
    }
}
