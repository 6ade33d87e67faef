//! The real chat history that imports are tried on, and a small one made here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::client::text;
use super::random::Random;

/// One line of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) channel: String,
    pub(crate) at: String,
    pub(crate) sender: String,
    pub(crate) body: String,
}

/// A chat history as a file and as what the file says.
pub(crate) struct Corpus {
    pub(crate) file: PathBuf,
    pub(crate) lines: Vec<Line>,
}

impl Corpus {
    /// The file of the real corpus; none, and a plain word about it, where it is not there.
    pub(crate) fn whole() -> Option<PathBuf> {
        let whole = match std::env::var_os("SCROLLBACK_CORPUS") {
            Some(path) => PathBuf::from(path),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/irc.jsonl.gz"),
        };
        let is_there = whole.is_file();
        if !is_there {
            eprintln!("skipped: no corpus at {} (SCROLLBACK_CORPUS names another place)", whole.display());
        }
        is_there.then_some(whole)
    }

    /// The real corpus, or its first `SCROLLBACK_CORPUS_MESSAGES` messages written to `directory`; none, and a plain word
    /// about it, where the file is not there.
    pub(crate) fn real(directory: &Path) -> Option<Self> {
        let whole = Self::whole()?;
        let file = File::open(&whole).unwrap();
        let wanted = match std::env::var("SCROLLBACK_CORPUS_MESSAGES").as_deref() {
            Ok("all") => usize::MAX,
            _ => super::count("SCROLLBACK_CORPUS_MESSAGES", 10_000),
        };
        let lines = parse(GzDecoder::new(file), wanted);
        if wanted == usize::MAX {
            return Some(Self { file: whole, lines });
        }
        // The shorter corpus takes from every channel: the file is in the order of time, and the channels lie far apart.
        Some(Self::write(directory, lines))
    }

    /// A made-up history: `messages` in each of `channels`, in the order of time, several at the same instant.
    pub(crate) fn made(directory: &Path, channels: usize, messages: usize, body_bytes: usize) -> Self {
        let mut random = Random::new(0xC0_4905);
        let mut lines = Vec::new();
        for n in 0..messages {
            for channel in 0..channels {
                lines.push(Line {
                    channel: format!("channel {channel}"),
                    at: format!("2011-03-{:02}T{:02}:{:02}:00Z", 1 + n / 720, (n / 30) % 24, n % 30 / 3),
                    sender: format!("sender-{}", random.below(7)),
                    body: format!("{channel}/{n} {}.", random.words(body_bytes)),
                });
            }
        }
        Self::write(directory, lines)
    }

    fn write(directory: &Path, lines: Vec<Line>) -> Self {
        let path = directory.join("corpus.jsonl.gz");
        let mut out = GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        for line in &lines {
            let value =
                json!({"channel": line.channel, "at": line.at, "sender": line.sender, "body": line.body});
            writeln!(out, "{value}").unwrap();
        }
        out.finish().unwrap();
        Self { file: path, lines }
    }

    pub(crate) fn file(&self) -> &str {
        self.file.to_str().expect("a path in UTF-8")
    }

    /// The names of the channels, in the order in which they first speak.
    pub(crate) fn channels(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for line in &self.lines {
            if !names.contains(&line.channel) {
                names.push(line.channel.clone());
            }
        }
        names
    }
}

/// Reads lines; of a corpus cut short, every n-th, so that all channels and years are in it.
fn parse(reader: impl Read, wanted: usize) -> Vec<Line> {
    let all: Vec<Line> = BufReader::new(reader)
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let field = |name| text(&value, name);
            Line { channel: field("channel"), at: field("at"), sender: field("sender"), body: field("body") }
        })
        .collect();
    let step = all.len().div_ceil(wanted).max(1);
    all.into_iter().step_by(step).collect()
}
