//! `restore`: a backup becomes the log; or a log that has lost its tail is gone on with.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context;
use scrollback_api::node::restore::{self, Accepted, Replaced, Restored, Step};
use scrollback_api::timestamps;
use scrollback_log::clock::SystemClock;
use serde_json::json;

use super::backup::STANDARD;
use crate::cli::{Common, Restore};
use crate::output::{Progress, confirm, tell};

pub(crate) fn run(common: &Common, typed: &Restore) -> anyhow::Result<()> {
    match &typed.file {
        Some(file) => from_backup(common, typed, file),
        None => accept_current(common, typed),
    }
}

fn from_backup(common: &Common, typed: &Restore, file: &Path) -> anyhow::Result<()> {
    if !typed.confirm.dry_run {
        confirm(
            &typed.confirm,
            "restore puts the backup in the place of the present log; what was said since is no longer in it.",
        )?;
    }
    let from: Box<dyn Read> = if file == Path::new(STANDARD) {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| file.display().to_string())?)
    };
    let mut progress = Progress::start("restoring", common);
    let restored = restore::restore(
        &common.data,
        BufReader::with_capacity(1 << 20, from),
        &SystemClock,
        common.view_settings(),
        typed.confirm.dry_run,
        &mut |step| {
            if let Step::Folding(at) = step {
                progress.fold(at);
            }
        },
    );
    progress.end();
    let restored = restored?;
    tell(common, &told(&restored, typed.confirm.dry_run), &value(&restored, typed.confirm.dry_run))
}

fn told(restored: &Restored, dry_run: bool) -> String {
    let Restored { backup, replaced, carried, head, messages, kept } = restored;
    let made = timestamps::show(backup.made);
    let mut lines = vec![format!(
        "the backup of {made} holds {} records up to offset {}",
        backup.records, backup.head.offset
    )];
    let comes_back =
        format!("what was deleted after {made} comes back, and so do rights that were taken away since");
    match replaced {
        Replaced::Nothing => {
            lines
                .push("there was no log here to compare it with: if there was a newer one elsewhere,".into());
            lines.push(comes_back);
        }
        Replaced::OtherLog => {
            lines.push("the log here has nothing in common with it, so nothing is carried over:".into());
            lines.push(comes_back);
        }
        Replaced::Unreadable(why) => {
            lines.push(format!("the log here cannot be read ({why}), so nothing is carried over:"));
            lines.push(comes_back);
        }
        Replaced::SamePast { common, head, lost, unreadable } => {
            lines.push(format!(
                "the log here has the same past up to offset {common} and ends at {head}: {} messages, {} channels and {} users since then are lost",
                lost.messages, lost.channels, lost.users
            ));
            if unreadable.is_empty() {
                lines.push("nothing that was deleted comes back".into());
            } else {
                lines.push("it cannot be read everywhere; what was deleted there comes back:".into());
                lines.extend(unreadable.iter().map(|what| format!("  {what}")));
            }
        }
    }
    lines.push(format!(
        "carried over: {} deleted messages, {} deleted channels, the rights of {} users, {} memberships",
        carried.messages(),
        carried.channels(),
        carried.users(),
        carried.members()
    ));
    for owner in &carried.owners_kept {
        lines.push(format!("{owner:?} stays an owner, for there would be none left"));
    }
    lines.push(if dry_run {
        format!("it would end at offset {}, with {messages} live messages; nothing was changed", head.offset)
    } else {
        format!("restored: the log ends at offset {}, with {messages} live messages and a new origin; all sessions and tokens have ended", head.offset)
    });
    if let Some(kept) = kept {
        lines.push(format!(
            "the log that was here is kept in {}, a data directory of its own, until you remove it or run `scrollback compact`",
            kept.display()
        ));
    }
    lines.join("\n")
}

fn value(restored: &Restored, dry_run: bool) -> serde_json::Value {
    let Restored { backup, replaced, carried, head, messages, kept } = restored;
    let replaced = match replaced {
        Replaced::Nothing => json!({ "log": "none" }),
        Replaced::OtherLog => json!({ "log": "other" }),
        Replaced::Unreadable(why) => json!({ "log": "unreadable", "why": why }),
        Replaced::SamePast { common, head, lost, unreadable } => json!({
            "log": "same_past", "common": common, "head": head, "unreadable": unreadable,
            "lost": { "messages": lost.messages, "channels": lost.channels, "users": lost.users },
        }),
    };
    json!({
        "backup": {
            "made": timestamps::show(backup.made).to_string(), "records": backup.records, "head": backup.head.offset,
        },
        "replaced": replaced,
        "carried": {
            "messages": carried.messages(), "channels": carried.channels(), "users": carried.users(),
            "memberships": carried.members(), "owners_kept": carried.owners_kept,
        },
        "head": head.offset, "messages": messages, "kept": kept, "dry_run": dry_run,
    })
}

fn accept_current(common: &Common, typed: &Restore) -> anyhow::Result<()> {
    anyhow::ensure!(
        !typed.confirm.dry_run,
        "--dry-run goes with a backup; `scrollback verify` checks the log as it is"
    );
    confirm(
        &typed.confirm,
        "restore --accept-current goes on with the log as it is; what it has lost stays lost, and what was deleted in the lost part comes back.",
    )?;
    let mut progress = Progress::start("checking", common);
    let accepted = restore::accept_current(&common.data, &SystemClock, common.view_settings(), &mut |at| {
        progress.fold(at)
    });
    progress.end();
    let Accepted { found, witnessed, head } = accepted?;
    let lost = witnessed.filter(|witnessed| witnessed.offset > found.offset);
    let what = lost.map_or_else(
        || "its witness knows of nothing later".to_owned(),
        |lost| {
            let (from, to) = (found.offset.next(), lost.offset);
            format!("records {from} to {to}, up to {}, are lost", timestamps::show(lost.time))
        },
    );
    let text = format!(
        "accepted: every record up to offset {} is sound; {what}\nthe log goes on at offset {} with a new origin; all sessions and tokens have ended",
        found.offset, head.offset
    );
    let value =
        json!({ "found": found.offset, "witnessed": witnessed.map(|head| head.offset), "head": head.offset });
    tell(common, &text, &value)
}
