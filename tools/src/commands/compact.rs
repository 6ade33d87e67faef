//! `compact`: the space of erased texts comes back, and their last bytes go.

use scrollback_api::node;
use serde_json::json;

use crate::cli::{Common, Confirm};
use crate::output::{Progress, confirm, tell};

pub(crate) fn run(common: &Common, typed: &Confirm) -> anyhow::Result<()> {
    let before = node::directory_bytes(&common.data)?;
    if typed.dry_run {
        let text = format!(
            "would write the log anew beside the old one and then remove the old one; {before} bytes now"
        );
        return tell(common, &text, &json!({ "bytes_before": before, "dry_run": true }));
    }
    confirm(
        typed,
        "compact writes the log anew and then removes the old one, and those that a restore has replaced, for good.",
    )?;
    let mut progress = Progress::start("compacting", common);
    let compacted = node::compact(&common.data, common.view_settings(), &mut |at| progress.fold(at));
    progress.end();
    let head = compacted?.head.offset;
    let after = node::directory_bytes(&common.data)?;
    let text = format!("{head} records, every offset kept: {before} bytes before, {after} bytes now");
    tell(common, &text, &json!({ "head": head, "bytes_before": before, "bytes_after": after }))
}
