//! Where in a client's bytes its frames and messages begin and end.
//!
//! The protocol library takes messages apart, but does not tell how much of an unfinished one it holds. This counts it, by the
//! frames' headers alone, and checks nothing: what is wrong the library finds.

/// The bit of the first byte that says that a message ends with this frame.
const FINAL: u8 = 0x80;
/// From this opcode on a frame is a control frame, which belongs to no message.
const CONTROL: u8 = 0x8;
/// The longest header: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// Reads along.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// What has come of a frame's header.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    /// What is still to come of a frame's payload.
    payload: u64,
    /// Whether the frame is a control frame, and whether it ends a message.
    control: bool,
    last: bool,
    /// How many bytes came of the message that is not whole yet, or of a frame outside one.
    partial: usize,
}

impl Scanner {
    /// These came next.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= taken as u64;
                if !self.control {
                    self.partial += taken;
                }
                bytes = &bytes[taken..];
            } else {
                self.header[usize::from(self.header_bytes)] = bytes[0];
                self.header_bytes += 1;
                self.partial += 1;
                bytes = &bytes[1..];
                if usize::from(self.header_bytes) < self.header_length() {
                    continue;
                }
                self.begin();
            }
            if self.payload == 0 {
                self.end();
            }
        }
    }

    /// How many bytes there are of what is not whole yet. None when the last byte was the last of a message, or of a control
    /// frame between messages.
    pub(super) fn partial(&self) -> usize {
        self.partial
    }

    /// Whether the last byte was the last of a frame, and no message has begun without having ended.
    pub(super) fn is_between_frames(&self) -> bool {
        self.partial == 0 && self.header_bytes == 0 && self.payload == 0
    }

    /// How long the header is, as far as can be told.
    fn header_length(&self) -> usize {
        if self.header_bytes < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.header[1] & 0x80 == 0 { 0 } else { 4 }
    }

    /// A header is whole.
    fn begin(&mut self) {
        let bytes =
            |count: usize| self.header[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.payload = match self.header[1] & 0x7f {
            126 => bytes(2),
            127 => bytes(8),
            short => u64::from(short),
        };
        self.control = self.header[0] & 0xf >= CONTROL;
        self.last = self.header[0] & FINAL != 0;
        if self.control {
            // It is bounded, and over soon: it must not look like a message that does not end.
            self.partial -= usize::from(self.header_bytes);
        }
        self.header_bytes = 0;
    }

    /// A frame is whole.
    fn end(&mut self) {
        if self.control {
            return;
        }
        if self.last {
            self.partial = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tungstenite::protocol::frame::{Frame, FrameHeader};

    use super::*;

    fn frame(opcode: OpCode, last: bool, payload: Vec<u8>) -> Vec<u8> {
        let header =
            FrameHeader { is_final: last, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        Frame::from_payload(header, payload.into()).format(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn what_is_not_whole_is_counted_wherever_the_bytes_are_cut(
            messages in proptest::collection::vec(proptest::collection::vec(
                prop_oneof![0_usize..130, 65_530_usize..65_540], 1..4), 1..5),
            pings: bool, cut in 1_usize..5_000,
        ) {
            // The places inside of messages, and inside of the headers of control frames between them.
            let (mut bytes, mut inside) = (Vec::new(), Vec::new());
            for fragments in &messages {
                let start = bytes.len() + 1;
                for (index, length) in fragments.iter().enumerate() {
                    let opcode = if index == 0 { Data::Text } else { Data::Continue };
                    let last = index + 1 == fragments.len();
                    bytes.extend(frame(OpCode::Data(opcode), last, vec![b'x'; *length]));
                    if last {
                        inside.push(start..bytes.len());
                    }
                    if pings {
                        let start = bytes.len() + 1;
                        bytes.extend(frame(OpCode::Control(Control::Ping), true, vec![b'p'; length % 126]));
                        if last {
                            inside.push(start..start + 5);
                        }
                    }
                }
            }
            let mut scanner = Scanner::default();
            let mut at = 0;
            for piece in bytes.chunks(cut) {
                scanner.feed(piece);
                at += piece.len();
                prop_assert_eq!(scanner.partial() == 0, inside.iter().all(|place| !place.contains(&at)), "{}", at);
            }
        }
    }

    #[test]
    fn a_message_that_does_not_end_is_counted_and_pongs_beside_it_are_not() {
        let mut scanner = Scanner::default();
        scanner.feed(&frame(OpCode::Data(Data::Text), false, vec![b'x'; 1000]));
        assert_eq!(scanner.partial(), 1008);
        for _ in 0..100 {
            scanner.feed(&frame(OpCode::Control(Control::Pong), true, Vec::new()));
        }
        assert_eq!(scanner.partial(), 1008);
        scanner.feed(&frame(OpCode::Data(Data::Continue), true, Vec::new()));
        assert_eq!(scanner.partial(), 0);
    }
}
