//! What must hold of any bytes that this crate reads: each function panics when it does not. See `fuzzing` of the log crate.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

#[cfg(test)]
mod tests;

pub use crate::http::fuzzing::{cursor, http_head};
pub use crate::import::fuzzing::import_line;
pub use crate::streams::arvados::fuzzing::arvados;
pub use crate::streams::filter::fuzzing::filters;

/// The inputs that fuzzing begins with.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("arvados", crate::streams::arvados::fuzzing::seeds()),
        ("cursor", crate::http::fuzzing::cursor_seeds()),
        ("filters", crate::streams::filter::fuzzing::filters_seeds()),
        ("http_head", crate::http::fuzzing::http_head_seeds()),
        ("import_line", crate::import::fuzzing::seeds()),
    ]
}
