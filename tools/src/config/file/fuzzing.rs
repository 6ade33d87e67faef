//! What must hold of any settings file. The fuzz target config_file takes these sources in; the test replays what was kept.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what does not hold is to panic")]

use std::cell::OnceCell;

use clap::CommandFactory;

use super::*;
use crate::cli::Cli;
use crate::config::with_defaults;

/// The longest message about a file, beside what is repeated of it.
const MESSAGE_BYTES_MAX: usize = 400;
/// Owner and group.
const MODE: u32 = 0o640;

/// What is taken of a file is known settings, each in a line that is there, with values that read back as themselves when they
/// are written; they can be the flags' defaults. What is said of a file that is refused names a line of it, is short, and
/// does nothing to a terminal.
pub(crate) fn config_file(data: &[u8]) {
    thread_local! {
        static COMMAND: OnceCell<Command> = const { OnceCell::new() };
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    COMMAND.with(|command| check(text, command.get_or_init(Cli::command)));
}

fn check(text: &str, command: &Command) {
    let lines = 1 + text.matches('\n').count();
    let entries = match read(text, command, MODE) {
        Ok(entries) => entries,
        Err(error) => {
            let ConfigError::Line { line, what, .. } = error else { panic!("{error}") };
            assert!((1..=lines).contains(&line), "line {line} of {lines}");
            assert!(what.len() <= MESSAGE_BYTES_MAX + 6 * text.len(), "{} bytes were said", what.len());
            assert!(!what.chars().any(|char| char.is_control() && char != '\n'), "{what:?}");
            return;
        }
    };
    let settings = settings_of(command);
    let mut written = String::new();
    for (name, entry) in &entries {
        let setting = settings.iter().find(|arg| arg.get_long() == Some(name)).expect("it is a setting");
        assert!((1..=lines).contains(&entry.line));
        let values: Vec<_> = entry.values.iter().map(|value| quoted(value)).collect();
        let value = match setting.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse => entry.values[0].clone(),
            ArgAction::Append => format!("[{}]", values.join(",")),
            _ => values[0].clone(),
        };
        written.push_str(&format!("{name} = {value}\n"));
    }
    let again = read(&written, command, MODE).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    let values = |entries: &BTreeMap<String, Entry>| {
        entries.iter().map(|(name, entry)| (name.clone(), entry.values.clone())).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&entries));

    // A secret is only taken of a file that not everybody can read.
    let secrets = settings.iter().filter(|arg| is_secret(arg)).filter_map(Arg::get_long);
    let has_secret = secrets.into_iter().any(|name| entries.contains_key(name));
    assert_eq!(read(text, command, 0o644).is_err(), has_secret);

    let file = File { entries, path: "s.toml".into() };
    let command = with_defaults(command.clone(), &file);
    // Settings may exclude each other; that is told, and is no fault of a value.
    if let Err(error) = command.try_get_matches_from(["scrollback", "serve"]) {
        let kind = error.kind();
        assert!(!matches!(kind, ErrorKind::ValueValidation | ErrorKind::InvalidValue), "{error}");
    }
}

fn read(text: &str, command: &Command, mode: u32) -> Result<BTreeMap<String, Entry>, ConfigError> {
    Reading { path: "s.toml", text, settings: settings_of(command), command }.entries(mode)
}

/// The value as a string of TOML: in JSON's way, which has no other escapes than TOML knows.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
#[test]
fn every_kept_input_of_config_file_still_holds() {
    scrollback_log::fuzzing::replay("config_file", config_file);
}
