//! The library against servers that do what a good one seldom does: lose an answer, ask to wait, fall silent.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod calling;
mod fake;
mod following;
mod sending;
mod tailing;
