//! `import`: a chat history from a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use scrollback_api::Node;
use scrollback_api::import::{self, ImportProgress};
use serde_json::json;

use super::open_or_create_node;
use crate::cli::{Common, Import};
use crate::output::{Progress, tell};

/// The first two bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(crate) fn run(common: &Common, typed: &Import) -> anyhow::Result<()> {
    let failed = || format!("importing {}", typed.file.display());
    // A file that is not there is told before the data directory is opened.
    open(&typed.file).with_context(failed)?;
    let node = open_or_create_node(common)?;
    let outcome = import(common, typed, &node);
    // What was imported before an error stays; the checkpoint makes the next run start where this one ended.
    node.finish()?;
    outcome.with_context(failed)
}

fn import(common: &Common, typed: &Import, node: &Node) -> anyhow::Result<()> {
    let open = || open(&typed.file);
    let mut progress = Progress::start("checking", common);
    let mut told = |step| match step {
        ImportProgress::Checked(lines) => progress.stage("checking", lines, None),
        ImportProgress::Compared { lines, of } => progress.stage("comparing", lines, Some(of)),
        ImportProgress::Imported { lines, of } => progress.stage("importing", lines, Some(of)),
    };
    let outcome = import::plan(node, &open, &mut told).and_then(|plan| {
        if typed.dry_run {
            return Ok((plan.lines - plan.lines_done, plan.lines_done));
        }
        import::run(node, &plan, &open, &mut told).map(|imported| (imported.added, plan.lines_done))
    });
    progress.end();
    let (added, already_there) = outcome?;
    let verb = if typed.dry_run { "would be imported" } else { "imported" };
    let head = node.log.head().offset;
    let text =
        format!("{added} messages {verb}, {already_there} were there already; the log's head is {head}");
    let value =
        json!({ "added": added, "already_there": already_there, "head": head, "dry_run": typed.dry_run });
    tell(common, &text, &value)
}

/// Opens the file for reading by line, unpacked if it is packed.
fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path)?;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let packed = reader.fill_buf()?.starts_with(&GZIP_MAGIC);
    if !packed {
        return Ok(Box::new(reader));
    }
    let unpacked: Box<dyn Read + Send> = Box::new(MultiGzDecoder::new(reader));
    Ok(Box::new(BufReader::with_capacity(256 << 10, unpacked)))
}
