//! The lines of a file, read (and decompressed, if the file is opened so) on a thread of their own, a block at a time.

use std::io::{self, BufRead};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// The most bytes one line may have: a body of 64 KiB with every character escaped fits.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// About how many bytes of lines are handed over at once.
const BLOCK_BYTES: usize = 256 << 10;
/// How many blocks may wait.
const BLOCKS_WAITING_MAX: usize = 4;

/// Opens the file at its beginning; called once for each pass over it.
pub type OpenFile<'a> = dyn Fn() -> io::Result<Box<dyn BufRead + Send>> + Sync + 'a;

/// Some lines, one after the other.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`, its line feed left out, and its number in the file.
    ends: Vec<(usize, u64)>,
}

impl Block {
    fn line(&self, place: usize) -> (&[u8], u64) {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, number) = self.ends[place];
        (&self.bytes[start..end], number)
    }
}

/// The file's lines in order. White space alone is no line.
pub(super) struct Lines {
    blocks: Receiver<io::Result<Block>>,
    block: Block,
    next: usize,
}

impl Lines {
    /// Begins to read the file on a thread of `scope`, which ends with the file, the first error or this value.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, open: &'scope OpenFile<'scope>) -> Lines {
        let (sender, blocks) = sync_channel(BLOCKS_WAITING_MAX);
        scope.spawn(move || {
            if let Err(error) = read_blocks(open, &sender) {
                // Nobody wants to know any more if this fails.
                let _ = sender.send(Err(error));
            }
        });
        Lines { blocks, block: Block::default(), next: 0 }
    }

    /// The next line and its number in the file, from 1; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        while self.next == self.block.ends.len() {
            match self.blocks.recv() {
                Ok(block) => (self.block, self.next) = (block?, 0),
                Err(_) => return Ok(None),
            }
        }
        self.next += 1;
        Ok(Some(self.block.line(self.next - 1)))
    }
}

/// Reads the whole file. A reader that has gone away is no error.
fn read_blocks(open: &OpenFile<'_>, blocks: &SyncSender<io::Result<Block>>) -> io::Result<()> {
    let mut file = open()?;
    let mut number = 0;
    let mut block = Block::default();
    loop {
        let start = block.bytes.len();
        let ended = read_line(file.as_mut(), &mut block.bytes)?;
        number += 1;
        if block.bytes[start..].trim_ascii().is_empty() {
            block.bytes.truncate(start);
        } else {
            block.ends.push((block.bytes.len(), number));
        }
        if (ended || block.bytes.len() >= BLOCK_BYTES) && blocks.send(Ok(std::mem::take(&mut block))).is_err()
        {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}

/// Appends the next line without its line feed. Returns whether it was the last. Of a line that is too long only so much
/// is kept that it is known to be.
fn read_line(file: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let start = line.len();
    loop {
        let available = match file.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        if available.is_empty() {
            return Ok(true);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len() - start);
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        file.consume(used);
        if end.is_some() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], buffer_bytes: usize) -> Vec<(Vec<u8>, u64)> {
        let open = || -> io::Result<Box<dyn BufRead + Send>> {
            Ok(Box::new(io::BufReader::with_capacity(buffer_bytes, io::Cursor::new(bytes.to_vec()))))
        };
        std::thread::scope(|scope| {
            let mut lines = Lines::start(scope, &open);
            let mut all = Vec::new();
            while let Some((line, number)) = lines.next().unwrap() {
                all.push((line.to_vec(), number));
            }
            all
        })
    }

    proptest! {
        #[test]
        fn every_line_that_is_not_blank_comes_once_with_its_number(
            text in "[a \n]{0,60}", times in 1_usize..9000, buffer_bytes in 1_usize..64,
        ) {
            let text = text.repeat(times.min(1 + (1 << 20) / (text.len() + 1)));
            let wanted: Vec<_> = text.split('\n').zip(1_u64..).filter(|(line, _)| !line.trim().is_empty())
                .map(|(line, number)| (line.as_bytes().to_vec(), number)).collect();
            prop_assert_eq!(all(text.as_bytes(), buffer_bytes), wanted);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_a_long_one() {
        let lines = all(&vec![b'x'; 3 * LINE_BYTES_MAX], 8192);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0.len(), LINE_BYTES_MAX + 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_not_an_end() {
        let open = || -> io::Result<Box<dyn BufRead + Send>> { Err(io::Error::other("gone")) };
        std::thread::scope(|scope| {
            assert_eq!(Lines::start(scope, &open).next().unwrap_err().to_string(), "gone");
        });
    }
}
