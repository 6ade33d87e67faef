//! What a disk holds while a program writes to it, and what may be left of that after a power cut.
//!
//! The assumptions are those of docs/format.md: a file's bytes are safe once a sync of that file, begun after they were
//! written, has returned; a name is safe once its directory was synced; changes of names reach the disk in order; anything else may
//! be there, be missing, or be torn at a sector's edge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::trace::Event;

/// The unit in which a write can be torn.
const SECTOR_BYTES: usize = 512;

/// Which of the changes that were not synced are on the disk after the cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survivors {
    /// None.
    OnlySynced,
    /// Any, chosen by this seed.
    Random(u64),
}

/// A disk with everything below one directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The names as the program sees them; directories stand with `None`.
    names: BTreeMap<PathBuf, Option<usize>>,
    /// The names that are safe.
    safe_names: BTreeMap<PathBuf, Option<usize>>,
    /// Changes of names that are not safe yet, in order.
    renames: Vec<NameChange>,
    /// Running syncs: how much each covers.
    syncs: BTreeMap<usize, Covered>,
}

#[derive(Clone, Debug, Default)]
struct File {
    safe: Vec<u8>,
    /// Changes since, in order, each with the number of its coming.
    pending: Vec<(usize, Change)>,
    length: u64,
    changes: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
struct NameChange {
    dirs: Vec<PathBuf>,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Option<usize>)>,
}

#[derive(Clone, Debug)]
enum Covered {
    File { file: usize, changes: usize },
    Dir { path: PathBuf, renames: usize },
}

impl Disk {
    /// A disk on which everything below `root` is safe.
    #[allow(dead_code, reason = "the log's own test begins with an empty disk")]
    pub(crate) fn holding(root: &Path) -> Disk {
        let mut disk = Disk::default();
        disk.take(root, Path::new(""));
        disk.names = disk.safe_names.clone();
        disk
    }

    fn take(&mut self, root: &Path, below: &Path) {
        for entry in std::fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.safe_names.insert(path.clone(), None);
                self.take(root, &path);
            } else {
                let safe = std::fs::read(entry.path()).unwrap();
                let length = safe.len() as u64;
                self.files.push(File { safe, length, ..File::default() });
                self.safe_names.insert(path, Some(self.files.len() - 1));
            }
        }
    }

    /// Takes note of one event.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Open { path, truncated } => {
                let file = match self.names.get(path) {
                    Some(Some(file)) => *file,
                    Some(None) => return,
                    None => {
                        self.files.push(File::default());
                        let file = self.files.len() - 1;
                        self.change_names(None, Some((path.clone(), Some(file))));
                        file
                    }
                };
                if *truncated {
                    self.files[file].change(Change::Length(0));
                }
            }
            Event::MakeDir { path } => self.change_names(None, Some((path.clone(), None))),
            Event::Write { path, at, bytes } => {
                let Some(Some(file)) = self.names.get(path) else { return };
                let file = &mut self.files[*file];
                let at = at.unwrap_or(file.length);
                file.change(Change::Write { at: usize::try_from(at).unwrap(), bytes: bytes.clone() });
            }
            Event::SetLength { path, length } => {
                let Some(Some(file)) = self.names.get(path) else { return };
                self.files[*file].change(Change::Length(usize::try_from(*length).unwrap()));
            }
            Event::Rename { from, to } => {
                let moved = *self.names.get(from).expect("what is renamed is there");
                self.change_names(Some(from.clone()), Some((to.clone(), moved)));
            }
            Event::Remove { path } => self.change_names(Some(path.clone()), None),
            Event::SyncBegin { id, path, .. } => {
                let covered = match self.names.get(path) {
                    Some(Some(file)) => Covered::File { file: *file, changes: self.files[*file].changes },
                    Some(None) => Covered::Dir { path: path.clone(), renames: self.renames.len() },
                    // The watched directory itself.
                    None if path.as_os_str().is_empty() => {
                        Covered::Dir { path: path.clone(), renames: self.renames.len() }
                    }
                    None => return,
                };
                self.syncs.insert(*id, covered);
            }
            Event::SyncEnd { id, .. } => match self.syncs.remove(id) {
                Some(Covered::File { file, changes }) => self.files[file].make_safe(changes),
                Some(Covered::Dir { path, renames }) => self.make_names_safe(&path, renames),
                None => {}
            },
            Event::Acked { .. } => {}
        }
    }

    fn change_names(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Option<usize>)>) {
        let parent = |path: &PathBuf| path.parent().unwrap_or(Path::new("")).to_owned();
        let dirs = removed.iter().chain(added.as_ref().map(|(path, _)| path)).map(parent).collect();
        let change = NameChange { dirs, removed, added };
        change.apply(&mut self.names);
        self.renames.push(change);
    }

    /// The sync of a directory makes the changes of its names safe that came before it began.
    fn make_names_safe(&mut self, dir: &Path, covered: usize) {
        let mut left = Vec::new();
        for (number, change) in std::mem::take(&mut self.renames).into_iter().enumerate() {
            if number < covered && change.dirs.iter().any(|changed| changed == dir) {
                change.apply(&mut self.safe_names);
            } else {
                left.push(change);
            }
        }
        for other in self.syncs.values_mut() {
            if let Covered::Dir { renames, .. } = other {
                *renames = (*renames).min(left.len());
            }
        }
        self.renames = left;
    }

    /// Writes what is left after a cut to `root`.
    pub(crate) fn build(&self, root: &Path, survivors: Survivors) {
        let mut dice = match survivors {
            Survivors::OnlySynced => None,
            Survivors::Random(seed) => Some(Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)),
        };
        let mut names = self.safe_names.clone();
        if let Some(dice) = &mut dice {
            let reached = dice.below(self.renames.len() + 1);
            for change in &self.renames[..reached] {
                change.apply(&mut names);
            }
        }
        for (path, file) in &names {
            let place = root.join(path);
            let Some(file) = file else {
                std::fs::create_dir_all(&place).unwrap();
                continue;
            };
            // A name in a directory that is not there is not there either.
            let parent = path.parent().unwrap_or(Path::new(""));
            if parent.as_os_str().is_empty() || names.get(parent) == Some(&None) {
                std::fs::create_dir_all(root.join(parent)).unwrap();
                std::fs::write(&place, self.files[*file].left(dice.as_mut())).unwrap();
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Option<usize>>) {
        if let Some((path, file)) = &self.added {
            if let (Some(from), None) = (&self.removed, file) {
                // A directory moves with all that is in it.
                let inside: Vec<_> = names
                    .range(from.clone()..)
                    .take_while(|(name, _)| name.starts_with(from))
                    .map(|(name, file)| (name.clone(), *file))
                    .collect();
                for (name, file) in inside {
                    names.remove(&name);
                    names.insert(path.join(name.strip_prefix(from).unwrap()), file);
                }
            }
            names.insert(path.clone(), *file);
        }
        if let Some(path) = &self.removed {
            names.remove(path);
        }
    }
}

impl File {
    fn change(&mut self, change: Change) {
        self.length = match &change {
            Change::Write { at, bytes } => self.length.max((at + bytes.len()) as u64),
            Change::Length(length) => *length as u64,
        };
        self.changes += 1;
        self.pending.push((self.changes, change));
    }

    fn make_safe(&mut self, changes: usize) {
        let (covered, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|(number, _)| *number <= changes);
        for (_, change) in covered {
            change.apply(&mut self.safe);
        }
        self.pending = left;
    }

    /// The bytes after a cut: what is safe, and what the dice let live of the rest.
    fn left(&self, dice: Option<&mut Dice>) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        let Some(dice) = dice else { return bytes };
        for (_, change) in &self.pending {
            match (change, dice.below(3)) {
                (_, 0) => {}
                (Change::Write { at, bytes: written }, 1) => {
                    // Torn: up to some sector's edge, or from one on.
                    let edge =
                        (dice.below(written.len() / SECTOR_BYTES + 1) * SECTOR_BYTES).min(written.len());
                    let part = if dice.below(2) == 0 { 0..edge } else { edge..written.len() };
                    Change::Write { at: at + part.start, bytes: written[part].to_vec() }.apply(&mut bytes);
                }
                (change, _) => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } if !bytes.is_empty() => {
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*at..end].copy_from_slice(bytes);
            }
            Change::Write { .. } => {}
            Change::Length(length) => file.resize(*length, 0),
        }
    }
}

/// Numbers from a seed (xorshift), so that a failing image can be built again.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }
}
