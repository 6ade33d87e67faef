//! Log lines: which are written, and in what form.

use std::io::{self, IsTerminal, Write};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::cli::{Common, LogFormat};

/// What every part of this program calls itself in log lines.
const OURS: &str = "scrollback";
/// The most that is heard of other people's code, whatever `--log` says: some of it tells headers and paths in its finer
/// lines, and nobody here can promise what its next version tells.
const OTHERS_MAX: LevelFilter = LevelFilter::INFO;

/// Sends log lines to standard error.
pub(crate) fn start(common: &Common) {
    let (filter, refused) = match EnvFilter::try_new(&common.log) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let others = filter_fn(|about| is_heard(about.target(), *about.level()));
    let lines = match common.log_format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal();
            let writer = move || OneLine { to: io::stderr(), colours };
            fmt::layer().with_ansi(colours).with_target(false).with_writer(writer).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry().with(others).with(filter).with(lines).init();
    if common.log_format == LogFormat::Json {
        // Whoever reads the lines as JSON must not meet anything else there.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "panicked: {}", panic.payload_as_str().unwrap_or("for a reason unknown"));
        }));
    }
    if let Some(error) = refused {
        tracing::warn!(filter = ?common.log, %error, "--log is not a filter; logging at info");
    }
}

/// Whether lines of this level are heard at all from the code of this name.
fn is_heard(target: &str, level: Level) -> bool {
    target.starts_with(OURS) || level <= OTHERS_MAX
}

/// Lets each line be one line and harmless, whatever got into it: control characters are written as escapes. Takes whole
/// lines, as the formatter gives them.
struct OneLine<W> {
    to: W,
    /// The formatter's colours begin with an escape character; it escapes those that stood in a value before.
    colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let is_plain = |letter: char| !letter.is_control() || (self.colours && letter == '\u{1b}');
        if body.chars().all(is_plain) {
            self.to.write_all(line)?;
        } else {
            let mut escaped = String::with_capacity(line.len() + 16);
            for letter in body.chars() {
                if is_plain(letter) { escaped.push(letter) } else { escaped.extend(letter.escape_default()) }
            }
            escaped.push('\n');
            self.to.write_all(escaped.as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, colours: bool) -> String {
        let mut out = OneLine { to: Vec::new(), colours };
        out.write_all(line.as_bytes()).unwrap();
        String::from_utf8(out.to).unwrap()
    }

    #[test]
    fn of_other_peoples_code_only_the_coarse_lines_are_heard() {
        for ours in ["scrollback", "scrollback_api::http", "scrollback_log"] {
            assert!(is_heard(ours, Level::TRACE));
        }
        for others in ["hyper::proto", "sled", "rustls", "warp::filters"] {
            assert!(is_heard(others, Level::INFO) && !is_heard(others, Level::DEBUG));
        }
    }

    #[test]
    fn a_line_stays_one_line_and_control_characters_are_escaped() {
        assert_eq!(written("INFO said=\"ä\"\n", false), "INFO said=\"ä\"\n");
        assert_eq!(written("a\nWARN b\r\t\u{0}\u{9b}\n", false), "a\\nWARN b\\r\\t\\u{0}\\u{9b}\n");
        assert_eq!(written("\u{1b}[2Ja\n", false), "\\u{1b}[2Ja\n");
        assert_eq!(written("\u{1b}[2mINFO\u{1b}[0m a\nb\n", true), "\u{1b}[2mINFO\u{1b}[0m a\\nb\n");
    }
}
