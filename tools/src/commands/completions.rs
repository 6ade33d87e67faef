//! `completions` and `man`: what shells and manuals know of this program, from the one definition of its command line.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use crate::cli::{Cli, Common, Completions, Man};
use crate::output;

/// What the program is called in completions and pages.
const NAME: &str = "scrollback";

pub(crate) fn run(typed: &Completions) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(typed.shell, &mut Cli::command(), NAME, &mut text);
    write(&text)
}

pub(crate) fn man(common: &Common, typed: &Man) -> anyhow::Result<()> {
    match &typed.dir {
        Some(dir) => pages(common, dir),
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text).context("writing the page")?;
            write(&text)
        }
    }
}

fn pages(common: &Common, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write the pages to {}", dir.display()))?;
    let dir = dir.display().to_string();
    output::tell(
        common,
        &format!("the manual pages are in {dir}; read one with `man {dir}/{NAME}.1`"),
        &json!({ "dir": dir }),
    )
}

fn write(text: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).context("writing to standard output")
}
