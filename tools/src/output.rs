//! What people and programs see: progress, questions, results.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::cli::{Common, Confirm, LogFormat};
use crate::exit::Stop;

/// How often progress is told where there is no terminal to draw on.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Progress of long work: a bar on a terminal, else a line every few seconds.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    plain: bool,
    as_json: bool,
    told: Instant,
}

impl Progress {
    /// Starts telling of `what`, counted in records.
    pub(crate) fn start(what: &'static str, common: &Common) -> Progress {
        let as_json = common.log_format == LogFormat::Json;
        let plain = common.json || as_json || !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} left {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, what, plain, as_json, told: Instant::now() }
    }

    /// Tells that `done` of `all` are done.
    pub(crate) fn at(&mut self, done: u64, all: u64) {
        self.stage(self.what, done, Some(all));
    }

    /// Tells that of one stage of the work, `what`, so much is done; of how much may not be known yet.
    pub(crate) fn stage(&mut self, what: &'static str, done: u64, all: Option<u64>) {
        if self.what != what {
            self.what = what;
            self.bar.set_message(what);
        }
        match all {
            Some(all) => self.bar.set_length(all),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done);
        if self.plain && self.told.elapsed() >= PLAIN_PROGRESS_EVERY {
            self.told = Instant::now();
            match all {
                _ if self.as_json => tracing::info!(done, all, "{what}"),
                Some(all) => eprintln!("{what}: {done} of {all}"),
                None => eprintln!("{what}: {done}"),
            }
        }
    }

    /// Tells how far a pass over the log is.
    pub(crate) fn fold(&mut self, at: scrollback_projections::Progress) {
        self.at(at.at.0, at.head.0);
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a result: `text` for people, `value` with `--json`.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn tell(common: &Common, text: &str, value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if common.json { writeln!(out, "{value}") } else { writeln!(out, "{text}") }
        .context("writing to standard output")
}

/// Asks before something is changed for good.
///
/// # Errors
/// [`Stop::NeedsYes`] when there is nobody to ask; a plain refusal when the answer is not yes.
pub(crate) fn confirm(confirm: &Confirm, question: &str) -> anyhow::Result<()> {
    if confirm.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Stop::NeedsYes(question.to_owned()).into());
    }
    eprint!("{question} Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    anyhow::ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was changed");
    Ok(())
}
