//! Which flags are settings, and what each is in the end.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::From;

/// The command whose flags are the settings.
const SERVE: &str = "serve";
/// Its flags that mean one call, not a server: they must be typed (or come from the environment), never from a file.
const NOT_SETTINGS: [&str; 5] = ["config", "json", "confirm-clock", "help", "version"];

/// A setting and its value.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The flag's name without the dashes.
    pub(crate) name: String,
    /// The environment variable.
    pub(crate) variable: Option<String>,
    /// What it means.
    pub(crate) help: String,
    /// What the flag calls its value.
    pub(crate) value_name: String,
    /// Whether it can have several values.
    pub(crate) is_list: bool,
    /// Whether it is on or off, without a value.
    pub(crate) is_switch: bool,
    /// Its values as they would be typed; none when it is not set, one unless it is a list. A secret's are not here.
    pub(crate) values: Vec<String>,
    /// Whether its value must not be shown.
    pub(crate) is_secret: bool,
    /// Where the value comes from.
    pub(crate) source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was typed.
    Flag,
    /// From the environment variable of this name.
    Variable(String),
    /// From a line of this file, counted from 1.
    File(String, usize),
    /// Nobody has said anything.
    Default,
}

impl Source {
    /// For people.
    pub(crate) fn show(&self) -> String {
        match self {
            Source::Flag => "flag".into(),
            Source::Variable(name) => format!("environment variable {name}"),
            Source::File(path, line) => format!("{path}, line {line}"),
            Source::Default => "default".into(),
        }
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        match self {
            Source::Flag => json!({ "from": "flag" }),
            Source::Variable(name) => json!({ "from": "environment", "variable": name }),
            Source::File(path, line) => json!({ "from": "file", "file": path, "line": line }),
            Source::Default => json!({ "from": "default" }),
        }
    }
}

/// The flags that are settings, in the order of the help.
pub(super) fn settings_of(command: &Command) -> Vec<Arg> {
    let own = command.get_arguments().filter(|arg| arg.is_global_set());
    let serve = command.find_subcommand(SERVE).into_iter().flat_map(Command::get_arguments);
    let mut settings: Vec<Arg> = Vec::new();
    for arg in own.chain(serve) {
        let is_setting = arg.get_long().is_some_and(|long| !NOT_SETTINGS.contains(&long));
        if is_setting && !settings.iter().any(|known| known.get_id() == arg.get_id()) {
            settings.push(arg.clone());
        }
    }
    settings
}

/// Whether a flag's value must not be shown: those whose value the help hides too.
pub(super) fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

/// Every setting as the command that was typed, which has all of serve's flags, would take it.
pub(crate) fn effective(from: &From) -> Vec<Setting> {
    let mut matches = &from.matches;
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    settings_of(&from.command).iter().map(|arg| setting(arg, matches, from)).collect()
}

fn setting(arg: &Arg, matches: &ArgMatches, from: &From) -> Setting {
    let name = arg.get_long().unwrap_or_default().to_owned();
    let id = arg.get_id().as_str();
    let known = matches.try_contains_id(id).unwrap_or(false);
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    let source = match matches.value_source(id).filter(|_| known) {
        Some(ValueSource::CommandLine) => Source::Flag,
        Some(ValueSource::EnvVariable) => Source::Variable(variable.clone().unwrap_or_default()),
        _ => match from.file.as_ref().and_then(|file| Some((file, file.get(&name)?))) {
            Some((file, entry)) => Source::File(file.path.clone(), entry.line),
            None => Source::Default,
        },
    };
    let is_secret = is_secret(arg);
    let raw = if known { matches.get_raw(id) } else { None };
    let values = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
    let value_names = arg.get_value_names().unwrap_or_default();
    Setting {
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        value_name: value_names.first().map(ToString::to_string).unwrap_or_default(),
        is_list: matches!(arg.get_action(), clap::ArgAction::Append),
        is_switch: !arg.get_action().takes_values(),
        values: if is_secret { Vec::new() } else { values.collect() },
        name,
        variable,
        is_secret,
        source,
    }
}
