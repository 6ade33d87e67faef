//! The reader of settings files is the binary's own, so its sources are taken in here.
#![no_main]

#[allow(dead_code, unused_imports, reason = "only the reader of files is wanted")]
#[path = "../../tools/src"]
mod tools {
    pub mod cli;
    pub mod config;
}

use tools::{cli, config};

libfuzzer_sys::fuzz_target!(|data: &[u8]| scrollback_fuzz::bounded(data, config::fuzzing::config_file));
