//! The witness: how far the log was durable, remembered outside the log's own directory.
//!
//! The store beneath the log can come up, without a word, on an older state of its file. The witness is how that is
//! noticed: a log that ends before its witness has lost its tail, and one with another chain value there is another
//! log.
//!
//! The file has two slots, a page apart. After each commit the head is written to the slot that is not the last synced
//! one; a sync makes the other slot the one to write. So a torn write can only hit the newer slot, and the older one is
//! at most one sync interval behind.
//!
//! ```text
//! slot at 0 and at 4096: "sbw1" | u32 crc32 of what follows | u64 offset | i64 time | 32 bytes chain
//! ```
//! All numbers are little endian.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::data_dir::write_atomically;
use crate::{ChainValue, Head, Offset, Timestamp};

/// The witness is made durable at least this often while the log grows.
pub const WITNESS_SYNC_EVERY: Duration = Duration::from_secs(5);

const SLOT_SPACING: usize = 4096;
const SLOT_BYTES: usize = 4 + 4 + 8 + 8 + 32;
const MAGIC: &[u8; 4] = b"sbw1";

/// The open witness of a log.
#[derive(Debug)]
pub struct Witness {
    file: File,
    /// The slot to write: not the one that was synced last.
    slot: usize,
    unsynced: bool,
    synced_at: Instant,
}

/// What a witness file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Testimony {
    Missing,
    Damaged,
    Head(Head),
}

impl Witness {
    /// Writes a new witness of `head`, durably, in place of any older one.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn create(path: &Path, head: Head) -> io::Result<Witness> {
        let mut bytes = vec![0; 2 * SLOT_SPACING];
        bytes[..SLOT_BYTES].copy_from_slice(&encode(head));
        write_atomically(path, &bytes)?;
        Witness::open(path).map(|(witness, _)| witness)
    }

    /// Opens the witness and reads what it says.
    pub(crate) fn open(path: &Path) -> io::Result<(Witness, Testimony)> {
        let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path)?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let newest = (0..2).filter_map(|slot| Some((slots[slot]?, slot))).max_by_key(|(head, _)| head.offset);
        let (slot, testimony) = match newest {
            Some((head, slot)) => (1 - slot, Testimony::Head(head)),
            None => (0, Testimony::Damaged),
        };
        // What was written before a crash may not be durable yet, and the other slot is about to be overwritten.
        file.sync_data()?;
        Ok((Witness { file, slot, unsynced: false, synced_at: Instant::now() }, testimony))
    }

    /// Reads what the witness at `path` says.
    pub(crate) fn read(path: &Path) -> io::Result<Testimony> {
        match Witness::open(path) {
            Ok((_, testimony)) => Ok(testimony),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Testimony::Missing),
            Err(error) => Err(error),
        }
    }

    /// Takes note that the log is durable up to `head`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn record(&mut self, head: Head) -> io::Result<()> {
        self.file.write_all_at(&encode(head), (self.slot * SLOT_SPACING) as u64)?;
        self.unsynced = true;
        self.sync_if_due()
    }

    /// Makes the newest note durable if the last time is [`WITNESS_SYNC_EVERY`] ago.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn sync_if_due(&mut self) -> io::Result<()> {
        if self.synced_at.elapsed() >= WITNESS_SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    /// Makes the newest note durable.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync_data()?;
            self.unsynced = false;
            self.slot = 1 - self.slot;
        }
        self.synced_at = Instant::now();
        Ok(())
    }
}

/// Reads, and only reads, how far the witness at `path` knows the log to be durable; none when it is damaged.
///
/// # Errors
/// When the operating system refuses.
pub fn look(path: &Path) -> io::Result<Option<Head>> {
    let file = File::open(path)?;
    let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
    Ok(slots.into_iter().flatten().max_by_key(|head| head.offset))
}

fn encode(head: Head) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&head.offset.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.time.0.to_le_bytes());
    bytes[24..].copy_from_slice(&head.chain.0);
    let crc = crc32fast::hash(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a slot says; none if it was never written or is damaged.
fn read_slot(file: &File, slot: usize) -> io::Result<Option<Head>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, (slot * SLOT_SPACING) as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[8..16]);
    let offset = Offset(u64::from_le_bytes(number));
    number.copy_from_slice(&bytes[16..24]);
    let time = Timestamp(i64::from_le_bytes(number));
    let mut chain = ChainValue::BEGINNING;
    chain.0.copy_from_slice(&bytes[24..]);
    let head = Head { offset, time, chain };
    Ok((encode(head) == bytes).then_some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(offset: u64) -> Head {
        Head {
            offset: Offset(offset),
            time: Timestamp(offset as i64 * 10),
            chain: ChainValue([offset as u8; 32]),
        }
    }

    fn damage(path: &Path, slot: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[slot * SLOT_SPACING + 20] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_witness_tells_the_newest_head_that_was_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        assert_eq!(Witness::read(&path).unwrap(), Testimony::Missing);
        let mut witness = Witness::create(&path, head(0)).unwrap();
        for offset in 1..20 {
            witness.record(head(offset)).unwrap();
            if offset % 3 == 0 {
                witness.sync().unwrap();
            }
            assert_eq!(Witness::read(&path).unwrap(), Testimony::Head(head(offset)));
            assert_eq!(look(&path).unwrap(), Some(head(offset)));
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * SLOT_SPACING as u64);
    }

    #[test]
    fn the_slot_that_was_synced_last_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let mut witness = Witness::create(&path, head(0)).unwrap();
        for round in 1..10 {
            witness.record(head(10 * round)).unwrap();
            witness.sync().unwrap();
            let synced = 1 - witness.slot;
            witness.record(head(10 * round + 1)).unwrap();
            witness.record(head(10 * round + 2)).unwrap();
            damage(&path, 1 - synced);
            assert_eq!(
                Witness::read(&path).unwrap(),
                Testimony::Head(head(10 * round)),
                "a torn write of the newer slot"
            );
            damage(&path, 1 - synced);
        }
    }

    #[test]
    fn two_damaged_slots_are_told_from_a_missing_witness() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let mut witness = Witness::create(&path, head(4)).unwrap();
        witness.record(head(5)).unwrap();
        damage(&path, 0);
        damage(&path, 1);
        assert_eq!(Witness::read(&path).unwrap(), Testimony::Damaged);
        for len in [0, 10, SLOT_BYTES, SLOT_SPACING + 3] {
            std::fs::write(&path, vec![0; len]).unwrap();
            assert_eq!(Witness::read(&path).unwrap(), Testimony::Damaged, "{len} bytes");
            assert_eq!(look(&path).unwrap(), None, "{len} bytes");
        }
        assert!(look(dir.path()).is_err(), "a directory cannot be read, which says nothing of a witness");
    }
}
