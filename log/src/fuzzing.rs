//! What must hold of any bytes that this crate reads: each function panics when it does not.
//!
//! The fuzz targets in `fuzz/` call these functions with bytes they make up, and an ordinary test of each crate calls them
//! with the bytes that were kept ([`replay`]). Not part of the crate's interface.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

mod backup_file;
mod record;
mod resume_token;
#[cfg(test)]
mod tests;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use backup_file::backup_file;
pub use record::record;
pub use resume_token::resume_token;

/// The inputs that fuzzing begins with.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("record", record::seeds()),
        ("resume_token", resume_token::seeds()),
        ("backup_file", backup_file::seeds()),
    ]
}

/// Holds all inputs that were kept for a fuzz target against its property, those that once broke it too.
///
/// # Panics
/// When one does not hold, with the names of all those files; and when there are none.
pub fn replay(target: &str, property: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let (mut held, mut broken) = (0, Vec::new());
    for kind in ["corpus", "regressions"] {
        let Ok(files) = fs::read_dir(root.join(kind).join(target)) else { continue };
        for file in files {
            let path = file.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("the file can be read");
            match catch_unwind(AssertUnwindSafe(|| property(&bytes))) {
                Ok(()) => held += 1,
                Err(_) => broken.push(path.display().to_string()),
            }
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "of {target}, these do not hold:\n{}", broken.join("\n"));
    assert!(held > 0, "there is nothing to replay for {target}");
}
