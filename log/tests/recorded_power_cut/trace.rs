//! Reads what strace wrote: the writes, syncs and changes of names below one directory, in order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The calls that change what a disk holds, and the `write` that carries the acknowledgements.
pub(crate) const SYSCALLS: &str = "trace=openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,syncfs,sync,\
     sync_file_range,rename,renameat,renameat2,unlink,unlinkat,truncate,ftruncate,fallocate,mkdir,mkdirat,rmdir,link,linkat,copy_file_range";

/// One thing that happened, paths relative to the watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A file came to be (or was there), emptied when `truncated`.
    Open { path: PathBuf, truncated: bool },
    /// A directory came to be.
    MakeDir { path: PathBuf },
    /// Bytes were written; `None` stands for "at the end".
    Write { path: PathBuf, at: Option<u64>, bytes: Vec<u8> },
    /// The file has this length now.
    SetLength { path: PathBuf, length: u64 },
    /// A name moved.
    Rename { from: PathBuf, to: PathBuf },
    /// A name went.
    Remove { path: PathBuf },
    /// A sync began: it covers what was written before.
    SyncBegin { id: usize, path: PathBuf, data_only: bool },
    /// That sync came back.
    SyncEnd { id: usize, data_only: bool },
    /// The workload acknowledged this record.
    Acked { offset: u64, chain: String },
}

/// A whole recording.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
}

impl Trace {
    /// Reads strace's output; what is not below `root` is left out.
    pub(crate) fn parse(text: &str, root: &Path) -> Trace {
        let mut parser = Parser { root, events: Vec::new(), unfinished: HashMap::new(), syncs: 0 };
        for line in text.lines() {
            parser.line(line);
        }
        Trace { events: parser.events }
    }
}

struct Parser<'a> {
    root: &'a Path,
    events: Vec<Event>,
    /// By thread: the start of the call that another thread's line interrupted, and the sync it began.
    unfinished: HashMap<String, (String, Option<usize>)>,
    syncs: usize,
}

impl Parser<'_> {
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { return };
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return;
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            let sync = self.begin(begun);
            self.unfinished.insert(thread.to_owned(), (begun.to_owned(), sync));
        } else if let Some((_, resumed)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            if let Some((begun, sync)) = self.unfinished.remove(thread) {
                self.end(&format!("{begun}{resumed}"), sync);
            }
        } else {
            let sync = self.begin(rest);
            self.end(rest, sync);
        }
    }

    /// A call begins: only a sync cares, for it covers no later writes.
    fn begin(&mut self, call: &str) -> Option<usize> {
        let (name, arguments) = call.split_once('(')?;
        if !matches!(name, "fsync" | "fdatasync") {
            assert!(
                !matches!(name, "syncfs" | "sync" | "copy_file_range" | "link" | "linkat"),
                "not modelled: {call:.80}"
            );
            return None;
        }
        let path = self.below(&descriptor_path(arguments)?)?;
        self.syncs += 1;
        let id = self.syncs;
        self.events.push(Event::SyncBegin { id, path, data_only: name == "fdatasync" });
        Some(id)
    }

    /// A call came back.
    fn end(&mut self, call: &str, sync: Option<usize>) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        if result.trim_start().starts_with('-') {
            return;
        }
        let strings = quoted(arguments);
        // A name that is not absolute is one in the directory that the call's descriptor is open on.
        let beside = descriptor_path(arguments).unwrap_or_default();
        let path_of = |number: usize| {
            strings.get(number).map(|bytes| beside.join(path(bytes))).and_then(|path| self.below(&path))
        };
        let open_file = || descriptor_path(arguments).and_then(|path| self.below(&path));
        let last_number = || {
            arguments
                .trim_end()
                .trim_end_matches(')')
                .rsplit(", ")
                .next()
                .and_then(|text| text.trim().parse().ok())
        };
        let event = match name {
            "openat" | "open" | "creat" if arguments.contains("O_CREAT") || name == "creat" => path_of(0)
                .map(|path| Event::Open {
                    path,
                    truncated: arguments.contains("O_TRUNC") || name == "creat",
                }),
            "openat" | "open" if arguments.contains("O_TRUNC") => {
                path_of(0).map(|path| Event::Open { path, truncated: true })
            }
            "mkdir" | "mkdirat" => path_of(0).map(|path| Event::MakeDir { path }),
            "pwrite64" => open_file().map(|path| Event::Write {
                path,
                at: Some(last_number().expect("pwrite64 has an offset")),
                bytes: strings[0].clone(),
            }),
            "write" => match acknowledgement(&strings) {
                Some(event) => Some(event),
                None => open_file().map(|path| Event::Write { path, at: None, bytes: strings[0].clone() }),
            },
            "writev" | "pwritev" | "pwritev2" => {
                open_file().map(|path| panic!("vectored writes are not modelled: {path:?}"))
            }
            "ftruncate" => {
                open_file().map(|path| Event::SetLength { path, length: last_number().expect("a length") })
            }
            "truncate" => {
                path_of(0).map(|path| Event::SetLength { path, length: last_number().expect("a length") })
            }
            "rename" | "renameat" | "renameat2" => {
                path_of(0).zip(path_of(1)).map(|(from, to)| Event::Rename { from, to })
            }
            "unlink" | "unlinkat" | "rmdir" => path_of(0).map(|path| Event::Remove { path }),
            "fsync" | "fdatasync" => sync.map(|id| Event::SyncEnd { id, data_only: name == "fdatasync" }),
            "fallocate" => open_file().map(|path| panic!("fallocate is not modelled: {path:?}")),
            _ => None,
        };
        self.events.extend(event);
    }

    /// The path below the watched directory, which itself is the empty path.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.root).map(Path::to_owned).ok()
    }
}

/// `acked OFFSET CHAIN`, if that is what was written.
fn acknowledgement(strings: &[Vec<u8>]) -> Option<Event> {
    let text = std::str::from_utf8(strings.first()?).ok()?;
    let mut words = text.trim_end().strip_prefix("acked ")?.split(' ');
    Some(Event::Acked { offset: words.next()?.parse().ok()?, chain: words.next()?.to_owned() })
}

/// The path that `-y` prints behind a file descriptor, the first argument.
fn descriptor_path(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    Some(path(&unescape(rest.split_once('>')?.0)))
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8(bytes.to_vec()).expect("paths here are UTF-8"))
}

/// The quoted strings of a call's arguments.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    // With -xx nothing inside the quotes is a quote.
    arguments.split('"').skip(1).step_by(2).map(unescape).collect()
}

/// Undoes `-xx`: every byte is `\xNN`.
fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).expect("two hex digits")).collect()
}
