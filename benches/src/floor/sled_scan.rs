//! What sled allows: a scan of every tree of a database that no server holds, with nothing done to what is read.
//! sled may write to a database that it opens, so give it a copy.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cpu::{self, Window};
use crate::report::Report;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(long)]
    dir: PathBuf,
    /// sled's page cache, in MiB; the same as the server's.
    #[arg(long, default_value_t = 32)]
    cache_mib: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let config = sled::Config::new()
        .path(&arguments.dir)
        .cache_capacity(arguments.cache_mib << 20)
        .flush_every_ms(None);
    let window = Window::open(&[])?;
    let database = config.open()?;
    let (mut values, mut bytes) = (0, 0);
    for name in database.tree_names() {
        for pair in &database.open_tree(name)? {
            let (key, value) = pair?;
            values += 1;
            bytes += (key.len() + value.len()) as u64;
        }
    }
    let used = window.close()?;
    let mut report = Report::default();
    report
        .put("values", values)
        .rate("values_per_s", values, used.seconds)
        .ratio("mb_per_s", bytes as f64 / used.seconds / 1e6)
        .put("peak_rss_kib", cpu::peak_resident_kib(std::process::id())?);
    used.put(&mut report);
    Ok(report)
}
