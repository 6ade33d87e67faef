//! `replay`: the views once more, from the log.

use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use scrollback_api::node;
use scrollback_api::node::migrate::{self, Migrated, Step};
use scrollback_log::Offset;
use serde_json::json;

use crate::cli::{Common, Confirm, Replay};
use crate::output::{Progress, confirm, tell};

pub(crate) fn run(common: &Common, typed: &Replay) -> anyhow::Result<()> {
    if typed.migrate {
        return migrate(common, &typed.confirm);
    }
    anyhow::ensure!(!typed.confirm.dry_run, "--dry-run goes with --migrate; nothing was changed");
    let mut progress = Progress::start("replaying", common);
    if let Some(to) = typed.to {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let written = node::write_state(&common.data, Offset(to), &mut out, &mut |at| progress.fold(at));
        progress.end();
        written?;
        return out.flush().context("writing to standard output");
    }
    let rebuilt = node::rebuild(&common.data, common.view_settings(), &mut |at| progress.fold(at));
    progress.end();
    let rebuilt = rebuilt?;
    let digest: String = rebuilt.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{} records folded into the views, digest {digest}", rebuilt.head.offset);
    tell(common, &text, &json!({ "head": rebuilt.head.offset, "digest": digest }))
}

fn migrate(common: &Common, typed: &Confirm) -> anyhow::Result<()> {
    if !typed.dry_run {
        confirm(
            typed,
            "replay --migrate writes the log anew in this program's format; older programs cannot read that.",
        )?;
    }
    let mut progress = Progress::start("migrating", common);
    let migrated = migrate::migrate(&common.data, common.view_settings(), typed.dry_run, &mut |step| {
        if let Step::Checking(at) | Step::Writing(at) | Step::Folding(at) = step {
            progress.fold(at);
        }
    });
    progress.end();
    let Some(Migrated { old, head, erased, took, kept }) = migrated? else {
        return tell(
            common,
            "the log has this program's format; nothing to do",
            &json!({ "migrated": false }),
        );
    };
    let took = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let shown = humantime::format_duration(took);
    let text = match &kept {
        None => format!(
            "{} records up to offset {head}, {} with a text, every one read: all would be written anew, which takes about {shown} and {} beside the old log\nnothing was changed",
            old.records,
            old.texts,
            ByteSize(old.bytes)
        ),
        Some(kept) => format!(
            "{} records up to offset {head} written anew in {shown}, every offset kept; {erased} texts that had been deleted are gone\nthe old log is kept in {}, a data directory of its own for the program that wrote it, until you remove it or run `scrollback compact`",
            old.records,
            kept.display()
        ),
    };
    let value = json!({
        "migrated": kept.is_some(), "records": old.records, "texts": old.texts, "bytes": old.bytes, "head": head,
        "seconds": took.as_secs_f64(), "kept": kept, "dry_run": typed.dry_run,
    });
    tell(common, &text, &value)
}
