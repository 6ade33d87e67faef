//! `replay`: the views once more, from the log.

use std::io::{BufWriter, Write};

use anyhow::Context;
use scrollback_api::node;
use scrollback_log::Offset;
use serde_json::json;

use crate::cli::{Common, Replay};
use crate::output::{Progress, tell};

pub(crate) fn run(common: &Common, typed: &Replay) -> anyhow::Result<()> {
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
