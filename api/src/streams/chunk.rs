//! Bytes ready to be sent as one chunk of a chunked HTTP/1.1 body, or bare.
//!
//! The size line is written in front of the bytes when they are all there, so that one buffer, and one write, serves every
//! reader that wants the same.

use bytes::Bytes;

/// Room for `FFFFFFFF` and a line end.
const SIZE_LINE_MAX: usize = 10;
/// What ends a chunk.
const END: &[u8] = b"\r\n";

/// The last chunk of a chunked body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Some frames, shared by all readers that want them.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Bytes,
    size_line: usize,
}

impl Chunk {
    /// A chunk of what `write` appends.
    pub(super) fn of(write: impl FnOnce(&mut Vec<u8>)) -> Chunk {
        let mut builder = Builder::with_capacity(0);
        write(builder.out());
        builder.finish()
    }

    /// Whether there is nothing in it. An empty chunk must not be sent: it would end the body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.is_empty() { 0 } else { self.bytes.len() - SIZE_LINE_MAX - END.len() }
    }

    /// The bytes with what makes them a chunk.
    #[must_use]
    pub fn chunked(&self) -> Bytes {
        self.bytes.slice(self.size_line..)
    }

    /// The bytes alone.
    #[must_use]
    pub fn bare(&self) -> Bytes {
        if self.is_empty() {
            Bytes::new()
        } else {
            self.bytes.slice(SIZE_LINE_MAX..self.bytes.len() - END.len())
        }
    }
}

/// A chunk being filled.
pub(super) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty one with room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Builder {
        let mut bytes = Vec::with_capacity(SIZE_LINE_MAX + capacity + END.len());
        bytes.resize(SIZE_LINE_MAX, 0);
        Builder { bytes }
    }

    /// Where to append; what is there already must not be touched.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - SIZE_LINE_MAX
    }

    pub(super) fn finish(mut self) -> Chunk {
        let length = self.len();
        if length == 0 {
            return Chunk::default();
        }
        let line = format!("{length:X}\r\n");
        let size_line = SIZE_LINE_MAX - line.len();
        self.bytes[size_line..SIZE_LINE_MAX].copy_from_slice(line.as_bytes());
        self.bytes.extend_from_slice(END);
        Chunk { bytes: self.bytes.into(), size_line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_its_size_in_hex_and_its_bytes() {
        for length in [1, 9, 15, 16, 255, 4096, 70_000] {
            let body = "x".repeat(length);
            let chunk = Chunk::of(|out| out.extend_from_slice(body.as_bytes()));
            assert_eq!(chunk.chunked(), format!("{length:X}\r\n{body}\r\n").as_bytes());
            assert_eq!(chunk.bare(), body.as_bytes());
        }
    }

    #[test]
    fn an_empty_chunk_has_no_bytes_that_would_end_the_body() {
        let chunk = Chunk::of(|_| {});
        assert!(chunk.is_empty() && chunk.chunked().is_empty() && chunk.bare().is_empty());
    }
}
