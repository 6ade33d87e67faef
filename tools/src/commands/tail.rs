//! `tail`: events as they come from a server, or the newest ones of a data directory.

use anyhow::Context;
use scrollback_api::{node, timestamps};
use scrollback_client::Start;
use scrollback_log::{Offset, ResumePoint};

use crate::cli::{Common, Tail};
use crate::remote::Remote;

pub(crate) fn run(common: &Common, typed: &Tail) -> anyhow::Result<()> {
    let after = typed
        .after
        .as_deref()
        .map(|text| {
            ResumePoint::parse(text)
                .with_context(|| format!("{text:?} is neither an offset nor a resume token"))
        })
        .transpose()?;
    let mut out = std::io::stdout().lock();
    if let Some(remote) = Remote::of(&typed.from)? {
        let start = match (typed.last, typed.since, after) {
            (Some(last), ..) => Start::Last(last),
            (None, Some(since), _) => Start::Since(timestamps::show(since).to_string()),
            (None, None, Some(point)) => Start::After(point.to_string()),
            (None, None, None) => Start::Now,
        };
        return remote.tail(start, &typed.filter, &mut out);
    }
    let after = after.map_or(Offset::BEGINNING, |point| point.offset);
    Ok(node::export_newest(&common.data, after, typed.lines, &mut out)?)
}
