//! `tail`: events as they come from a server, or the newest ones of a data directory.

use std::collections::VecDeque;
use std::io::Write;

use anyhow::Context;
use scrollback_api::node;
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
        return remote.tail(after, &mut out);
    }
    let mut newest = Newest { lines: VecDeque::new(), most: typed.lines, partial: Vec::new() };
    let from = after.map_or(Offset::BEGINNING, |point| point.offset);
    node::export(&common.data, from, &mut newest, &mut |_| {})?;
    for line in newest.lines {
        out.write_all(&line).context("writing to standard output")?;
    }
    Ok(())
}

/// Keeps the newest lines that are written to it.
struct Newest {
    lines: VecDeque<Vec<u8>>,
    most: usize,
    partial: Vec<u8>,
}

impl Write for Newest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines.push_back(std::mem::take(&mut self.partial));
                if self.lines.len() > self.most {
                    self.lines.pop_front();
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
