//! `backup`: the log and the password hashes in one file, from a data directory or a running server.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use scrollback_api::node::backup::Backup as Taking;
use scrollback_log::backup::{BackupError, BackupReader, Summary};
use scrollback_log::{Offset, ResumePoint, data_dir};
use serde_json::json;

use super::open_node;
use crate::cli::{Backup, Common};
use crate::output::{Progress, tell};
use crate::remote::{Remote, comes_back_after};

/// What stands for standard output or input.
pub(super) const STANDARD: &str = "-";
/// How often a server is tried again that sends nothing.
const TRIES: u32 = 6;
/// How long before the first of these tries, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(16);
/// Where a new backup begins.
const BEGINNING: ResumePoint = ResumePoint { offset: Offset::BEGINNING, tag: None };

pub(crate) fn run(common: &Common, typed: &Backup) -> anyhow::Result<()> {
    let remote = Remote::of(&typed.from)?;
    if typed.file == Path::new(STANDARD) {
        let mut out = BufWriter::new(std::io::stdout().lock());
        match &remote {
            Some(remote) => remote.backup(BEGINNING, &mut out, &mut |_| {})?,
            None => take(common, BEGINNING, &mut out)?,
        }
        return out.flush().context("writing to standard output");
    }
    anyhow::ensure!(!typed.file.exists(), "{} is there already; nothing was changed", typed.file.display());
    let mut part = Part::open(&typed.file)?;
    match &remote {
        Some(remote) => fetch(common, remote, &mut part)?,
        None => {
            let after = part.go_on()?;
            take(common, after, &mut part.file)?;
        }
    }
    let (summary, bytes) = part.complete(&typed.file)?;
    let text = format!(
        "backup of {} records up to offset {} in {}: {}, read back and found good",
        summary.records,
        summary.head.offset,
        typed.file.display(),
        ByteSize(bytes)
    );
    let value = json!({
        "file": typed.file, "bytes": bytes, "records": summary.records, "head": summary.head.offset,
        "users": summary.attachments.len(),
    });
    tell(common, &text, &value)
}

/// Writes a backup of the data directory.
fn take(common: &Common, after: ResumePoint, out: &mut dyn Write) -> anyhow::Result<()> {
    let node = open_node(common)?;
    let mut bytes = Vec::new();
    let mut taking = Taking::begin(&node, after, &mut bytes).map_err(not_this_log)?;
    let mut progress = Progress::start("backing up", common);
    loop {
        let ended = taking.step(&mut bytes)?;
        out.write_all(&bytes).context("writing the backup")?;
        bytes.clear();
        let at = taking.progress();
        progress.at(at.at.0, at.head.0);
        if ended.is_some() {
            break;
        }
    }
    progress.end();
    drop(taking);
    Ok(node.finish()?)
}

fn not_this_log(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::Error::new(error).context("FILE.part cannot be gone on with; remove it to begin anew")
}

/// Fetches a server's backup, going on where a connection broke.
fn fetch(common: &Common, remote: &Remote, part: &mut Part) -> anyhow::Result<()> {
    let mut progress = Progress::start("receiving bytes", common);
    let (mut tries, mut retry) = (0, RETRY_FIRST);
    loop {
        let after = part.go_on()?;
        let before = part.file.metadata().context("reading the backup")?.len();
        let mut told = |bytes| progress.at(before + bytes, before + bytes);
        let Err(error) = remote.backup(after, &mut part.file, &mut told) else { break };
        let has_come = part.file.metadata().context("reading the backup")?.len() > before;
        if has_come {
            (tries, retry) = (0, RETRY_FIRST);
        }
        tries += 1;
        let asked = comes_back_after(&error).filter(|_| tries < TRIES);
        let Some(asked) = asked else {
            progress.end();
            if part.file.metadata().is_ok_and(|about| about.len() == 0) {
                // Nothing has come; what is left of a try that could not begin would only puzzle.
                let _ = std::fs::remove_file(&part.path);
                return Err(error);
            }
            return Err(error.context(format!(
                "{} holds what has come; the same command goes on with it",
                part.path.display()
            )));
        };
        let wait = retry.max(asked);
        tracing::warn!("{error:#}; next try in {wait:.1?}");
        std::thread::sleep(wait);
        retry = (retry * 2).min(RETRY_MOST);
    }
    progress.end();
    Ok(())
}

/// A backup that is not complete.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn open(file: &Path) -> anyhow::Result<Part> {
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Part { file, path })
    }

    /// Throws away what is no whole frame, and tells from where on the rest is wanted.
    fn go_on(&mut self) -> anyhow::Result<ResumePoint> {
        let mut reader = self.reader()?;
        let outcome = reader.read(&mut |_| Ok::<(), BackupError>(()));
        let standing = reader.standing();
        match outcome {
            // A file without a whole frame is begun anew; one that begins as something else is somebody's.
            Err(BackupError::NotABackup) if standing.bytes == 0 => {
                let length = self.file.metadata().context("reading the backup")?.len();
                let mut begin = Vec::new();
                self.rewind()?.read_to_end(&mut begin).context("reading the backup")?;
                anyhow::ensure!(
                    length == 0 || is_torn_beginning(&begin),
                    "{} is not a backup that was begun; remove it",
                    self.path.display()
                );
            }
            // One that is complete but for its name goes on too: it may be of last week.
            Ok(_) | Err(BackupError::Incomplete { .. } | BackupError::Damaged { .. }) => {}
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        }
        self.file.set_len(standing.bytes).context("cutting the backup")?;
        self.file.seek(SeekFrom::Start(standing.bytes)).context("going on with the backup")?;
        Ok(standing.after)
    }

    /// Reads the whole backup back and gives it its name.
    fn complete(mut self, to: &Path) -> anyhow::Result<(Summary, u64)> {
        let told = format!("{} was read back", self.path.display());
        let mut reader = self.reader()?;
        let summary = reader.read(&mut |_| Ok::<(), BackupError>(())).context(told)?;
        self.file.sync_all().context("syncing the backup")?;
        let bytes = self.file.metadata().context("reading the backup")?.len();
        rename_new(&self.path, to).with_context(|| format!("naming the backup {}", to.display()))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        data_dir::fsync_dir(parent).context("syncing the backup's directory")?;
        Ok((summary, bytes))
    }

    fn reader(&mut self) -> anyhow::Result<BackupReader<BufReader<&mut File>>> {
        Ok(BackupReader::new(BufReader::with_capacity(1 << 20, self.rewind()?)))
    }

    fn rewind(&mut self) -> anyhow::Result<&mut File> {
        self.file.rewind().context("reading the backup")?;
        Ok(&mut self.file)
    }
}

/// Renames `from`, but not over a file that has come into being meanwhile, as far as the file system knows how.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}

/// Whether so few bytes came that not even the first frame is whole.
fn is_torn_beginning(bytes: &[u8]) -> bool {
    bytes.len() < 128 && bytes.first() == Some(&1)
}
