//! Programs that others wrote: where `tools/test` puts them, where those of ours are that use them, and what they say.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};

/// One of the programs in `tests/clients`.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// What `tools/test` installs.
pub(crate) fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/real-clients").join(path)
}

/// Every whole line that a program says; one that is killed may leave half of one behind.
pub(crate) fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        loop {
            let mut line = String::new();
            let whole = out.read_line(&mut line).is_ok() && line.ends_with('\n');
            if !whole || sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
