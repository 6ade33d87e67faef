//! `export`: every public event as one JSON line, from a data directory or a running server.

use std::io::{BufWriter, Write};

use anyhow::Context;
use scrollback_api::node;
use scrollback_log::Offset;

use crate::cli::{Common, Export};
use crate::output::Progress;
use crate::remote::Remote;

pub(crate) fn run(common: &Common, typed: &Export) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(256 << 10, std::io::stdout().lock());
    let mut progress = Progress::start("exporting", common);
    let outcome = if let Some(remote) = Remote::of(&typed.from)? {
        remote.export(typed.after, &mut out, &mut |at, head| progress.at(at, head))
    } else {
        node::export(&common.data, Offset(typed.after), &mut out, &mut |at| progress.fold(at))
            .map_err(Into::into)
    };
    progress.end();
    outcome?;
    out.flush().context("writing to standard output")
}
