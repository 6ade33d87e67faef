//! Checkpoints: views on disk, so that a start does not read the whole log.
//!
//! One file, `checkpoint`, written beside and renamed over. All numbers little endian:
//!
//! ```text
//! magic 8 | view version u32 | settings 16 | offset u64 | time i64 | chain 32   the header, the same in every version
//! views                                                                         their canonical form
//! masks                                                                         what is still to be erased
//! crc32 u32                                                                     of all that comes before
//! ```
//! A checkpoint is never needed, so whatever is wrong with one means a rebuild. With one exception: a sound checkpoint
//! that stands where the log is not, or at another value of the log's chain, proves that the log was lost or replaced.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use roaring::RoaringTreemap;
use scrollback_log::data_dir::{create_private_dir, fsync_dir};
use scrollback_log::{ChainValue, Deletion, Log, Offset, ReadError, Timestamp, codec};

use crate::pieces::{PieceError, PieceReader, PieceWriter};
use crate::{ViewSettings, Views};

/// The version of the views and of their form. A change of what the fold computes, or of how it is written, is a new one.
pub const VIEW_VERSION: u32 = 3;

const FILE: &str = "checkpoint";
const FILE_BESIDE: &str = "checkpoint.new";
const MAGIC: &[u8; 8] = b"SBviews\n";
const HEADER_BYTES: usize = 8 + 4 + 16 + 8 + 8 + 32;
const CRC_BYTES: u64 = 4;
const BUFFER_BYTES: usize = 64 * 1024;

/// A checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The views hold records that are not published yet, so what they delete may not be masked yet. It is a matter of
    /// moments: ask again later.
    #[error("the views stand at {at}, ahead of the published head {head}; no checkpoint was written")]
    NotPublished {
        /// Where the views stand.
        at: Offset,
        /// The published head.
        head: Offset,
    },
    /// The chain's value at the checkpoint's offset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be written.
    #[error("the checkpoint {path} cannot be written: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a checkpoint could not be used and the views were rebuilt from the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildReason {
    /// It is not what was written.
    #[error("the checkpoint is damaged: {what}")]
    Damaged {
        /// What is wrong with it.
        what: String,
    },
    /// Another version wrote it.
    #[error("the checkpoint is of view version {found}, not {VIEW_VERSION}")]
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// It was made under other settings.
    #[error("the checkpoint was made under other settings")]
    OtherSettings,
}

/// A checkpoint that is written but not in force. It is in force, or gone without a trace, after
/// [`PendingCheckpoint::commit`].
///
/// Two steps, because the first needs the views to stand still and only fills the page cache, while the second waits
/// for the disk and no longer needs the views.
#[derive(Debug)]
#[must_use = "a checkpoint that is not committed is not in force"]
pub struct PendingCheckpoint {
    file: File,
    dir: PathBuf,
}

/// Writes `views`, and the masks of `log` that belong to them, beside the checkpoint in `views_dir`. Only one at a time.
///
/// # Errors
/// See [`CheckpointError`].
pub fn write(views_dir: &Path, views: &Views, log: &Log) -> Result<PendingCheckpoint, CheckpointError> {
    let (at, head) = (views.at(), log.head().offset);
    // What a published record deletes was masked before it was published: so after this check the masks are complete.
    let chain = if at > head { None } else { log.chain_at(at)? };
    let chain = chain.ok_or(CheckpointError::NotPublished { at, head })?;
    // A later deletion is not known to these views: it will be met, and masked, when the log is folded on from here.
    let waiting: Vec<(Deletion, RoaringTreemap)> = log.with_masks(|masks| {
        let known = masks.waiting().filter(|(deletion, _)| deletion.offset <= at);
        known.map(|(deletion, targets)| (deletion, targets.clone())).collect()
    });
    let path = views_dir.join(FILE_BESIDE);
    let write = || {
        create_private_dir(views_dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mut out =
            Summed { inner: BufWriter::with_capacity(BUFFER_BYTES, file), crc: crc32fast::Hasher::new() };
        encode(&mut out, views, &chain, &waiting)?;
        let crc = out.crc.finalize();
        out.inner.write_all(&crc.to_le_bytes())?;
        out.inner.into_inner().map_err(io::IntoInnerError::into_error)
    };
    let file = write().map_err(|source| io_error(&path, source))?;
    Ok(PendingCheckpoint { file, dir: views_dir.to_owned() })
}

impl PendingCheckpoint {
    /// Syncs the file and puts it in force. A crash leaves the old checkpoint or the new one.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; the old checkpoint, if there is one, stays in force.
    pub fn commit(self) -> Result<(), CheckpointError> {
        let (beside, path) = (self.dir.join(FILE_BESIDE), self.dir.join(FILE));
        let commit = || {
            self.file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            fsync_dir(&self.dir)
        };
        commit().map_err(|source| io_error(&path, source))
    }
}

/// Removes the checkpoint and what an interrupted write of one left behind: a checkpoint names the channels that were
/// there when it was made, so a command that erases has to remove or rewrite it. It is gone for good: one that
/// came back after a power cut, beside a log that has been replaced since, would keep that from being opened.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn remove(views_dir: &Path) -> Result<(), CheckpointError> {
    remove_file(&views_dir.join(FILE))?;
    remove_beside(views_dir)?;
    match fsync_dir(views_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(views_dir, error)),
        _ => Ok(()),
    }
}

/// Removes what an interrupted write of a checkpoint left behind.
pub(crate) fn remove_beside(views_dir: &Path) -> Result<(), CheckpointError> {
    remove_file(&views_dir.join(FILE_BESIDE))
}

fn remove_file(path: &Path) -> Result<(), CheckpointError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io { path: path.display().to_string(), source }
}

/// What stands before the views, in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    version: u32,
    settings: [u8; 16],
    offset: Offset,
    time: Timestamp,
    chain: ChainValue,
}

impl Header {
    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.settings);
        bytes[28..36].copy_from_slice(&self.offset.0.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[44..].copy_from_slice(&self.chain.0);
        bytes
    }

    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], from: usize) -> [u8; N] {
            std::array::from_fn(|index| bytes[from + index])
        }
        (bytes.starts_with(MAGIC)).then(|| Header {
            version: u32::from_le_bytes(part(bytes, 8)),
            settings: part(bytes, 12),
            offset: Offset(u64::from_le_bytes(part(bytes, 28))),
            time: Timestamp(i64::from_le_bytes(part(bytes, 36))),
            chain: ChainValue(part(bytes, 44)),
        })
    }
}

/// Stands for the settings in the header.
fn fingerprint(settings: ViewSettings) -> io::Result<[u8; 16]> {
    let ViewSettings { key_retention } = settings;
    let bytes = codec::encode(&key_retention).map_err(io::Error::other)?;
    let hash = blake3::hash(&bytes);
    Ok(std::array::from_fn(|index| hash.as_bytes()[index]))
}

fn encode(
    out: &mut dyn Write,
    views: &Views,
    chain: &ChainValue,
    waiting: &[(Deletion, RoaringTreemap)],
) -> io::Result<()> {
    let header = Header {
        version: VIEW_VERSION,
        settings: fingerprint(views.settings())?,
        offset: views.at(),
        time: views.time(),
        chain: *chain,
    };
    out.write_all(&header.bytes())?;
    views.write_canonical(out)?;
    let mut out = PieceWriter::new(out);
    out.list(waiting.iter().map(|(deletion, _)| (deletion.offset, deletion.time)))?;
    waiting.iter().try_for_each(|(_, targets)| out.set(targets))
}

/// A checkpoint whose checksum is right and whose header has been read.
pub(crate) struct Stored {
    file: File,
    body_bytes: u64,
    header: Header,
}

/// The contents of a checkpoint.
pub(crate) struct Contents {
    pub(crate) views: Views,
    /// What was still to be erased.
    pub(crate) waiting: Vec<(Deletion, RoaringTreemap)>,
}

/// A checkpoint cannot be used, or not even read.
#[derive(Debug)]
pub(crate) enum LoadError {
    Unusable(RebuildReason),
    Io(CheckpointError),
}

impl Stored {
    /// Opens the checkpoint in `views_dir`, if there is one, and checks it against its checksum.
    pub(crate) fn open(views_dir: &Path) -> Result<Option<Stored>, LoadError> {
        let path = views_dir.join(FILE);
        let io_failed = |source| LoadError::Io(io_error(&path, source));
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_failed)?,
        };
        let length = file.metadata().map_err(io_failed)?.len();
        let Some(body_bytes) = length.checked_sub(HEADER_BYTES as u64 + CRC_BYTES) else {
            return Err(damaged("it is cut short"));
        };
        if crc_of(&mut file, length - CRC_BYTES).map_err(io_failed)?
            != read_array(&mut file).map_err(io_failed)?
        {
            return Err(damaged("its checksum is wrong"));
        }
        file.rewind().map_err(io_failed)?;
        let header = read_array(&mut file).map_err(io_failed)?;
        let header = Header::read(&header).ok_or_else(|| damaged("it is not a checkpoint at all"))?;
        Ok(Some(Stored { file, body_bytes, header }))
    }

    /// The offset and the chain's value that it stands at.
    pub(crate) fn stand(&self) -> (Offset, ChainValue) {
        (self.header.offset, self.header.chain)
    }

    /// Reads its contents.
    pub(crate) fn read(self, settings: ViewSettings) -> Result<Contents, LoadError> {
        let Stored { file, body_bytes, header } = self;
        if header.version != VIEW_VERSION {
            return Err(LoadError::Unusable(RebuildReason::OtherVersion { found: header.version }));
        }
        if fingerprint(settings).is_ok_and(|wanted| wanted != header.settings) {
            return Err(LoadError::Unusable(RebuildReason::OtherSettings));
        }
        let mut body = BufReader::with_capacity(BUFFER_BYTES, file).take(body_bytes);
        let contents = decode(settings, &mut body).map_err(|error| damaged(&error.to_string()))?;
        if body.limit() > 0 {
            return Err(damaged("there is more in it than there should be"));
        }
        if (contents.views.at(), contents.views.time()) != (header.offset, header.time) {
            return Err(damaged("its views do not stand where its header says"));
        }
        Ok(contents)
    }
}

fn decode(settings: ViewSettings, body: &mut dyn Read) -> Result<Contents, PieceError> {
    let mut from = PieceReader::new(body);
    let views = Views::read_canonical(settings, &mut from)?;
    let mut deletions = Vec::new();
    from.list(|(offset, time)| deletions.push(Deletion { offset, time }))?;
    let waiting = deletions.into_iter().map(|deletion| Ok((deletion, from.set()?)));
    Ok(Contents { views, waiting: waiting.collect::<Result<_, PieceError>>()? })
}

fn damaged(what: &str) -> LoadError {
    LoadError::Unusable(RebuildReason::Damaged { what: what.to_owned() })
}

/// The checksum of the next `length` bytes, as it stands in the file.
fn crc_of(file: &mut File, length: u64) -> io::Result<[u8; 4]> {
    let mut crc = Summed { inner: io::sink(), crc: crc32fast::Hasher::new() };
    let copied = io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, file.take(length)), &mut crc)?;
    if copied < length {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(crc.crc.finalize().to_le_bytes())
    }
}

fn read_array<const N: usize>(file: &mut File) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes through, and sums up what went through.
struct Summed<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
