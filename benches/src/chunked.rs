//! HTTP's chunked coding, taken off without copying.

use anyhow::{Result, bail, ensure};

/// Where in the coding the next byte stands.
#[derive(Clone, Copy)]
enum State {
    Size { size: u64, digits: u32 },
    Extension { size: u64 },
    Data { left: u64 },
    DataEnd,
    Trailer { line_bytes: u32 },
    Done,
}

/// The decoder of one body.
pub(crate) struct Chunked(State);

impl Chunked {
    pub(crate) fn new() -> Self {
        Self(State::Size { size: 0, digits: 0 })
    }

    /// True once the last chunk and its trailer have been read.
    pub(crate) fn done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Gives the data in `input` to `sink`, piece by piece, and says how much of `input` belongs to this body.
    pub(crate) fn feed(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<usize> {
        let mut at = 0;
        while at < input.len() {
            if let State::Data { left } = self.0 {
                let rest = &input[at..];
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                sink(&rest[..taken]);
                at += taken;
                let left = left - taken as u64;
                self.0 = if left == 0 { State::DataEnd } else { State::Data { left } };
                continue;
            }
            if self.done() {
                break;
            }
            self.0 = self.0.after(input[at])?;
            at += 1;
        }
        Ok(at)
    }
}

impl State {
    fn after(self, byte: u8) -> Result<Self> {
        Ok(match (self, byte) {
            (Self::Size { size, digits: 1.. } | Self::Extension { size }, b'\n') => match size {
                0 => Self::Trailer { line_bytes: 0 },
                left => Self::Data { left },
            },
            (Self::Size { size, digits: 1.. } | Self::Extension { size }, b'\r' | b';') => {
                Self::Extension { size }
            }
            (Self::Extension { size }, _) => Self::Extension { size },
            (Self::Size { size, digits }, _) => {
                let Some(digit) = char::from(byte).to_digit(16) else { bail!("bad chunk size") };
                ensure!(digits < 15, "chunk too large");
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::DataEnd, _) => bail!("chunk longer than its size"),
            (Self::Trailer { line_bytes: 0 }, b'\n') => Self::Done,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::Trailer { line_bytes }, b'\r') => Self::Trailer { line_bytes },
            (Self::Trailer { line_bytes }, _) => Self::Trailer { line_bytes: line_bytes + 1 },
            (Self::Data { .. } | Self::Done, _) => self,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_however_its_bytes_arrive() -> Result<()> {
        let coded = b"5\r\nhello\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\nHTTP";
        for piece in 1..coded.len() {
            let (mut decoder, mut body, mut taken) = (Chunked::new(), Vec::new(), 0);
            for part in coded.chunks(piece) {
                taken += decoder.feed(part, &mut |data| body.extend_from_slice(data))?;
            }
            assert_eq!((body.as_slice(), taken), (&b"helloabcdefghijklmnopqrstuvwxyz"[..], coded.len() - 4));
            assert!(decoder.done());
        }
        Ok(())
    }

    #[test]
    fn a_chunk_that_is_longer_than_it_says_is_refused() {
        assert!(Chunked::new().feed(b"2\r\nabc", &mut |_| ()).is_err());
        assert!(Chunked::new().feed(b"zz\r\n", &mut |_| ()).is_err());
    }
}
