//! WebSocket (RFC 6455) as a client has it, no more of it than the servers under load need: no extension, no check of
//! what a server must not send but could.

use anyhow::{Result, bail, ensure};

use crate::client::{Head, Identity, request_head};

/// A nonce need not be a secret; one that is always the same has an answer that is always the same.
const KEY: &str = "c2Nyb2xsYmFjay1iZW5jaA==";
const ACCEPT: &str = "prAO2wFrs5PD9DXlofr1h8caBPQ=";

const OPCODE_TEXT: u8 = 0x1;
const OPCODE_BINARY: u8 = 0x2;
const OPCODE_CONTINUATION: u8 = 0x0;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PING: u8 = 0x9;
const OPCODE_PONG: u8 = 0xa;

/// The last frame of a message.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Two bytes, and the longest length.
const HEADER_BYTES_MAX: usize = 10;

/// The request that turns a connection into a WebSocket.
pub(crate) fn upgrade(path: &str, identity: Identity<'_>) -> Vec<u8> {
    let mut text = request_head("GET", path, identity);
    text.push_str("connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
    text.push_str("sec-websocket-key: ");
    text.push_str(KEY);
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

/// Whether the answer that begins with `head` agrees to it.
pub(crate) fn agreed(head: &Head) -> bool {
    head.status == 101 && head.accept.as_deref() == Some(ACCEPT)
}

/// Appends a message of one text frame. Its mask is zero: to whom the mask is a protection, against whom, are both this
/// driver, and so the payload stands as it is.
pub(crate) fn text(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, OPCODE_TEXT, payload);
}

fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FIN | opcode);
    // The casts are within the arm's bounds.
    match payload.len() {
        length @ 0..=125 => out.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Where among the frames the next byte stands.
enum State {
    Header { bytes: [u8; HEADER_BYTES_MAX], count: usize },
    Data { left: u64, last: bool },
    Control { opcode: u8, left: u64, payload: Vec<u8> },
    Closed,
}

const NEXT: State = State::Header { bytes: [0; HEADER_BYTES_MAX], count: 0 };

/// Takes the frames of a server off.
pub(crate) struct Frames(State);

impl Frames {
    pub(crate) fn new() -> Self {
        Self(NEXT)
    }

    /// True once the server has sent a Close.
    pub(crate) fn closed(&self) -> bool {
        matches!(self.0, State::Closed)
    }

    /// Gives the messages in `input` to `sink`, piece by piece, each with whether it is the last of its message. What has to
    /// be answered at once, pings, is answered in `out`.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        sink: &mut impl FnMut(&[u8], bool) -> Result<()>,
    ) -> Result<()> {
        while !input.is_empty() {
            match &mut self.0 {
                State::Header { bytes, count } => {
                    bytes[*count] = input[0];
                    *count += 1;
                    input = &input[1..];
                    let after = after_header(&bytes[..*count])?;
                    // An empty message is one too, and an empty control frame is already whole.
                    if let Some(State::Data { left: 0, last }) = after {
                        sink(&[], last)?;
                        self.0 = NEXT;
                    } else if let Some(after) = after {
                        self.0 = after;
                        self.end_control(out);
                    }
                }
                State::Data { left, last } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= taken as u64;
                    let (left, last) = (*left, *last);
                    sink(&input[..taken], last && left == 0)?;
                    input = &input[taken..];
                    if left == 0 {
                        self.0 = NEXT;
                    }
                }
                State::Control { left, payload, .. } => {
                    let taken = usize::try_from(*left)?.min(input.len());
                    payload.extend_from_slice(&input[..taken]);
                    *left -= taken as u64;
                    input = &input[taken..];
                    self.end_control(out);
                }
                // After a Close there is nothing.
                State::Closed => return Ok(()),
            }
        }
        Ok(())
    }

    fn end_control(&mut self, out: &mut Vec<u8>) {
        let State::Control { opcode, left: 0, payload } = &self.0 else { return };
        match *opcode {
            OPCODE_PING => frame(out, OPCODE_PONG, payload),
            OPCODE_CLOSE => {
                frame(out, OPCODE_CLOSE, payload);
                self.0 = State::Closed;
                return;
            }
            _ => {}
        }
        self.0 = NEXT;
    }
}

/// What follows these bytes of a header; none if more of them are needed.
fn after_header(header: &[u8]) -> Result<Option<State>> {
    let &[first, second, ref length @ ..] = header else { return Ok(None) };
    ensure!(second & MASKED == 0, "a server that masks");
    let left = match (second, length) {
        (length @ 0..=125, _) => u64::from(length),
        (126, &[a, b]) => u64::from(u16::from_be_bytes([a, b])),
        (127, &[a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return Ok(None),
    };
    Ok(Some(match first & 0xf {
        OPCODE_TEXT | OPCODE_BINARY | OPCODE_CONTINUATION => State::Data { left, last: first & FIN != 0 },
        opcode @ (OPCODE_CLOSE | OPCODE_PING | OPCODE_PONG) if left <= 125 => {
            State::Control { opcode, left, payload: Vec::new() }
        }
        opcode => bail!("a frame of the kind {opcode:x} and {left} bytes"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it.
    fn of_server(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        frame(&mut masked, 0, payload);
        let header = masked.len() - payload.len() - 4;
        let mut plain = masked[..header].to_vec();
        plain[0] = first;
        plain[1] &= !MASKED;
        plain.extend_from_slice(payload);
        plain
    }

    #[test]
    fn messages_are_the_same_however_their_bytes_arrive_and_pings_are_answered() -> Result<()> {
        let long = vec![b'x'; 70_000];
        let mut input = of_server(FIN | OPCODE_TEXT, b"one");
        input.extend(of_server(FIN | OPCODE_TEXT, b""));
        input.extend(of_server(OPCODE_TEXT, b"in "));
        input.extend(of_server(FIN | OPCODE_PING, b"ping"));
        input.extend(of_server(FIN | OPCODE_CONTINUATION, &long[..300]));
        input.extend(of_server(FIN | OPCODE_PING, b""));
        input.extend(of_server(FIN | OPCODE_BINARY, &long));
        input.extend(of_server(FIN | OPCODE_CLOSE, &[3, 232]));
        let mut expected_out = Vec::new();
        frame(&mut expected_out, OPCODE_PONG, b"ping");
        frame(&mut expected_out, OPCODE_PONG, b"");
        frame(&mut expected_out, OPCODE_CLOSE, &[3, 232]);
        let in_two = [b"in ", &long[..300]].concat();
        let expected: [&[u8]; 4] = [b"one", b"", &in_two, &long];
        for piece in (1..300).chain([65_000, input.len()]) {
            let (mut frames, mut out) = (Frames::new(), Vec::new());
            let (mut messages, mut message) = (Vec::new(), Vec::new());
            for part in input.chunks(piece) {
                frames.feed(part, &mut out, &mut |data, last| {
                    message.extend_from_slice(data);
                    if last {
                        messages.push(std::mem::take(&mut message));
                    }
                    Ok(())
                })?;
            }
            assert!(messages == expected && message.is_empty(), "in pieces of {piece}");
            assert!(out == expected_out && frames.closed(), "in pieces of {piece}");
        }
        Ok(())
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        let feed = |input: &[u8]| Frames::new().feed(input, &mut Vec::new(), &mut |_, _| Ok(()));
        assert!(feed(&[FIN | OPCODE_TEXT, MASKED | 1]).is_err());
        assert!(feed(&[FIN | 0x3, 0]).is_err());
        assert!(feed(&[FIN | OPCODE_PING, 126, 0, 126]).is_err());
    }
}
