//! The settings file: TOML, one `flag = value` a line.
//!
//! Everything in it must be understood. A misspelt setting that is passed over would be a setting that does not hold, and
//! nobody would know.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{is_secret, settings_of};

/// More than this is no settings file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How alike two names must be for one to be meant by the other, from 0 to 1.
const ALIKE_MIN: f64 = 0.75;
/// The permissions of people who are neither the file's owner nor in its group.
const OTHERS: u32 = 0o007;

/// A settings file that was read and understood.
pub(super) struct File {
    entries: BTreeMap<String, Entry>,
    /// As it was named.
    pub(super) path: String,
}

/// One setting of the file.
pub(super) struct Entry {
    /// As they would be typed.
    pub(super) values: Vec<String>,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A settings file cannot be used. Nothing of it is taken then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It is not there, or not readable.
    #[error("the settings file {path} cannot be read: {what}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system said.
        what: String,
    },
    /// A line of it is wrong.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
}

impl File {
    /// Reads the file for the settings that `command` has.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(super) fn read(path: &Path, command: &Command) -> Result<File, ConfigError> {
        let shown = path.display().to_string();
        let unreadable = |what: String| ConfigError::Unreadable { path: shown.clone(), what };
        let about = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if !about.is_file() {
            return Err(unreadable("it is not a plain file".into()));
        }
        if about.len() > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let reading = Reading { path: &shown, text: &text, settings: settings_of(command), command };
        let entries = reading.entries(about.permissions().mode())?;
        Ok(File { entries, path: shown })
    }

    /// What it says of the flag `--long`.
    pub(super) fn get(&self, long: &str) -> Option<&Entry> {
        self.entries.get(long)
    }
}

struct Reading<'a> {
    path: &'a str,
    text: &'a str,
    settings: Vec<Arg>,
    command: &'a Command,
}

impl Reading<'_> {
    fn entries(&self, mode: u32) -> Result<BTreeMap<String, Entry>, ConfigError> {
        // The parser's own display would repeat the line, which may hold a secret.
        let table = DeTable::parse(self.text)
            .map_err(|error| self.wrong(error.span().unwrap_or(0..0), error.message().to_owned()))?;
        let mut entries = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            let at = |what| self.wrong(key.span(), what);
            if matches!(value.get_ref(), DeValue::Table(_)) {
                return Err(at(format!("settings have no sections like [{name}]; write `name = value`")));
            }
            let setting = self.setting(name).map_err(at)?;
            if is_secret(setting) && mode & OTHERS != 0 {
                return Err(at(format!(
                    "`{name}` is a secret, and everybody on this machine may read the file; `chmod o= {}` first",
                    self.path
                )));
            }
            let at = |what| self.wrong(value.span(), what);
            let values = values(setting, value).map_err(at)?;
            self.check(setting, name, &values).map_err(at)?;
            entries.insert(name.to_owned(), Entry { values, line: self.line(&key.span()) });
        }
        Ok(entries)
    }

    fn setting(&self, name: &str) -> Result<&Arg, String> {
        if let Some(setting) = self.settings.iter().find(|arg| arg.get_long() == Some(name)) {
            return Ok(setting);
        }
        if has_flag(self.command, name) {
            return Err(format!(
                "`{name}` is said anew for each call and cannot be set in a file; give it on the command line"
            ));
        }
        let nearest = self
            .settings
            .iter()
            .filter_map(Arg::get_long)
            .map(|known| (strsim::jaro_winkler(&name.replace('_', "-"), known), known))
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .filter(|(alike, _)| *alike >= ALIKE_MIN);
        let hint = nearest.map_or_else(
            || "`scrollback config show` lists all settings".to_owned(),
            |(_, known)| format!("did you mean `{known}`?"),
        );
        Err(format!("there is no setting {name:?}; {hint}"))
    }

    /// Lets the flag's own parser judge the values.
    fn check(&self, setting: &Arg, name: &str, values: &[String]) -> Result<(), String> {
        if !setting.get_action().takes_values() {
            return Ok(());
        }
        let settings = self.settings.iter().map(|arg| arg.clone().global(false).env(Resettable::Reset));
        let command = Command::new("file").no_binary_name(true).disable_help_flag(true).args(settings);
        let typed = values.iter().map(|value| format!("--{name}={value}"));
        let Err(error) = command.try_get_matches_from(typed) else { return Ok(()) };
        // Whether it goes together with other settings is seen when all are known.
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return Ok(());
        }
        let about = setting.get_help().map(ToString::to_string).unwrap_or_default();
        if is_secret(setting) {
            return Err(format!("the value of `{name}` is not accepted. `{name}`: {about}"));
        }
        let why = match (error.source(), error.get(ContextKind::ValidValue)) {
            (Some(source), _) => source.to_string(),
            (None, Some(ContextValue::Strings(known))) => format!("it can be {}", known.join(" or ")),
            _ => "one value is wanted, and not an empty one".to_owned(),
        };
        let shown = values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        Err(format!("`{name}` cannot be {shown}: {why}. `{name}`: {about}"))
    }

    fn wrong(&self, span: Range<usize>, what: String) -> ConfigError {
        ConfigError::Line { path: self.path.to_owned(), line: self.line(&span), what }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
    }
}

/// Whether any command has this flag.
fn has_flag(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(name))
        || command.get_subcommands().any(|command| has_flag(command, name))
}

/// A value of the file as it would be typed.
fn values(setting: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let name = setting.get_long().unwrap_or_default();
    let takes_many = matches!(setting.get_action(), ArgAction::Append);
    match (setting.get_action(), value.get_ref()) {
        (ArgAction::SetTrue | ArgAction::SetFalse, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (ArgAction::SetTrue | ArgAction::SetFalse, other) => {
            Err(format!("`{name}` is true or false, not {}", a(other)))
        }
        (_, DeValue::Array(parts)) if takes_many => parts.iter().map(|part| one(name, part)).collect(),
        (_, other) if takes_many => {
            Err(format!("`{name}` is a list like [\"...\", \"...\"], not {}", a(other)))
        }
        _ => Ok(vec![one(name, value)?]),
    }
}

fn one(name: &str, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| format!("`{name}`: {error}")),
        other => Err(format!("`{name}` is a string in quotes or a whole number, not {}", a(other))),
    }
}

/// What a value is, for a sentence.
fn a(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
