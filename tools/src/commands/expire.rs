//! `expire`: messages older than a time go, by command instead of by timer.

use anyhow::Context;
use scrollback_api::{expiry, timestamps};
use serde_json::json;

use super::open_node;
use crate::cli::{Common, Expire};
use crate::output::{Progress, confirm, tell};

pub(crate) fn run(common: &Common, typed: &Expire) -> anyhow::Result<()> {
    let before = timestamps::show(typed.before).to_string();
    if !typed.confirm.dry_run {
        let place = typed.channel.as_ref().map_or_else(String::new, |name| format!(" in {name:?}"));
        confirm(
            &typed.confirm,
            &format!("expire deletes every message said before {before}{place} for good."),
        )?;
    }
    let node = open_node(common)?;
    let channel = typed
        .channel
        .as_ref()
        .map(|name| node.channel_by_name(name).with_context(|| format!("there is no channel {name:?}")))
        .transpose()?;
    let mut progress = Progress::start("expiring", common);
    let expired =
        expiry::expire_before(&node, typed.before, channel, typed.confirm.dry_run, &mut |done, all| {
            progress.at(done, all)
        });
    progress.end();
    let expired = expired?;
    node.finish()?;
    let text = if typed.confirm.dry_run {
        format!("{expired} messages would expire; nothing was written")
    } else {
        format!("{expired} messages expired; `scrollback compact` gives their space back")
    };
    tell(common, &text, &json!({ "expired": expired, "before": before, "dry_run": typed.confirm.dry_run }))
}
