//! A made-up chat history as `scrollback import` takes it, for logs of any size.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::report::Report;
use crate::text;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// Messages.
    #[arg(long)]
    messages: u64,
    /// Channels they are spread over.
    #[arg(long, default_value_t = 10)]
    channels: u64,
    /// People who send them.
    #[arg(long, default_value_t = 100)]
    senders: u64,
    /// The length of a message's text.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

/// The first message's second of the day 2020-01-01; each message is a tenth of a second later.
const MESSAGES_PER_SECOND: u64 = 10;

pub(crate) fn run(arguments: &Arguments) -> Result<Report> {
    let path = &arguments.out;
    let mut out = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    for number in 0..arguments.messages {
        let seconds = number / MESSAGES_PER_SECOND;
        let (day, hour) = (seconds / 86_400, seconds / 3_600 % 24);
        writeln!(
            out,
            r#"{{"channel":"channel {}","at":"2020-01-{:02}T{:02}:{:02}:{:02}.{}Z","sender":"sender {}","body":"{}"}}"#,
            number % arguments.channels,
            1 + day % 28,
            hour,
            seconds / 60 % 60,
            seconds % 60,
            number % MESSAGES_PER_SECOND,
            // Not in step with the channels, so that everybody speaks everywhere.
            number / 7 % arguments.senders,
            text::message("", number, arguments.bytes),
        )?;
    }
    let bytes = out.into_inner()?.metadata()?.len();
    let mut report = Report::default();
    report.put("messages", arguments.messages).put("bytes", bytes);
    Ok(report)
}
