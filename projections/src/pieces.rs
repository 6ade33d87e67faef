//! The canonical form of views as a stream of pieces: each a length and the bytes of one bincoded value or one set.
//!
//! A stream, so that neither writing, hashing nor reading a checkpoint holds a second copy of the views in memory. A list
//! is cut into pieces of a fixed number of items and ends with an empty one. A set of offsets is written in the
//! portable roaring format, each container in the one shape that its members alone decide.

use std::io::{self, Read, Write};

use roaring::RoaringTreemap;
use scrollback_log::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many items of a list one piece holds.
const LIST_PIECE_ITEMS: usize = 1024;
/// By how much the buffer grows ahead of what was really read, whatever length a damaged piece claims.
const READ_STEP_BYTES: u64 = 1 << 20;

/// Writes pieces.
pub(crate) struct PieceWriter<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
}

/// Reads pieces.
pub(crate) struct PieceReader<'a> {
    from: &'a mut dyn Read,
    buffer: Vec<u8>,
}

/// The bytes are not the pieces that were asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PieceError {
    /// The stream cannot be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// The stream ends inside a piece.
    #[error("it is cut short")]
    Short,
    /// A piece is not the value it should be.
    #[error("a value in it does not decode: {0}")]
    Value(#[from] codec::CodecError),
    /// A piece is not a set.
    #[error("a set in it does not decode: {0}")]
    Set(io::Error),
}

impl<'a> PieceWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> PieceWriter<'a> {
        PieceWriter { out, buffer: Vec::new() }
    }

    /// Writes one value.
    pub(crate) fn value<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let bytes = codec::encode_unbounded(value).map_err(io::Error::other)?;
        self.piece(&bytes)
    }

    /// Writes a list of values.
    pub(crate) fn list<T: Serialize>(&mut self, items: impl Iterator<Item = T>) -> io::Result<()> {
        let mut part = Vec::with_capacity(LIST_PIECE_ITEMS);
        for item in items {
            part.push(item);
            if part.len() == LIST_PIECE_ITEMS {
                self.value(&part)?;
                part.clear();
            }
        }
        if !part.is_empty() {
            self.value(&part)?;
            part.clear();
        }
        self.value(&part)
    }

    /// Writes a set of offsets.
    pub(crate) fn set(&mut self, set: &RoaringTreemap) -> io::Result<()> {
        // Runs are chosen by size, and a tie keeps the shape that is there: so back to the plain shape first.
        let parts = set.bitmaps().filter(|(_, part)| !part.is_empty()).map(|(high, part)| {
            let mut part = part.clone();
            part.remove_run_compression();
            part.optimize();
            (high, part)
        });
        let canonical = RoaringTreemap::from_bitmaps(parts);
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        canonical.serialize_into(&mut bytes)?;
        self.piece(&bytes)?;
        self.buffer = bytes;
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.out.write_all(bytes)
    }
}

impl<'a> PieceReader<'a> {
    pub(crate) fn new(from: &'a mut dyn Read) -> PieceReader<'a> {
        PieceReader { from, buffer: Vec::new() }
    }

    /// Reads one value.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, PieceError> {
        Ok(codec::decode_unbounded(self.piece()?)?)
    }

    /// Reads a list of values, each given to `take`.
    pub(crate) fn list<T: DeserializeOwned>(&mut self, mut take: impl FnMut(T)) -> Result<(), PieceError> {
        loop {
            let part: Vec<T> = self.value()?;
            if part.is_empty() {
                return Ok(());
            }
            part.into_iter().for_each(&mut take);
        }
    }

    /// Reads a set of offsets.
    pub(crate) fn set(&mut self) -> Result<RoaringTreemap, PieceError> {
        RoaringTreemap::deserialize_from(self.piece()?).map_err(PieceError::Set)
    }

    fn piece(&mut self) -> Result<&[u8], PieceError> {
        let mut length = [0; 8];
        self.from.read_exact(&mut length).map_err(of_reading)?;
        let mut left = u64::from_le_bytes(length);
        self.buffer.clear();
        while left > 0 {
            let step = left.min(READ_STEP_BYTES);
            let read = (&mut *self.from).take(step).read_to_end(&mut self.buffer).map_err(of_reading)? as u64;
            if read < step {
                return Err(PieceError::Short);
            }
            left -= step;
        }
        Ok(&self.buffer)
    }
}

fn of_reading(error: io::Error) -> PieceError {
    if error.kind() == io::ErrorKind::UnexpectedEof { PieceError::Short } else { PieceError::Io(error) }
}
