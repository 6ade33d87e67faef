//! From what was typed, the environment and a settings file to one command line.
//!
//! A setting is a flag of `serve`. The file's values become the default values of those flags, so every value goes through
//! the same parser wherever it was written, and the parser's own order holds: flag, then environment, then file, then
//! default.

mod file;
mod settings;

use std::ffi::OsString;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;
pub(crate) use file::ConfigError;
use file::File;
#[cfg(feature = "fuzzing")]
pub(crate) use file::fuzzing;
pub(crate) use settings::{Setting, Source, effective};

/// Everything that was said, in one.
pub(crate) struct Typed {
    /// The commands and their flags.
    pub(crate) cli: Cli,
    /// Where each came from.
    pub(crate) from: From,
}

/// Where settings came from.
pub(crate) struct From {
    command: Command,
    matches: ArgMatches,
    file: Option<File>,
}

/// A command line cannot be understood.
pub(crate) enum Misread {
    /// It, or a variable: the parser explains that itself.
    Typed(Box<clap::Error>),
    /// The file, and whether the answer is to be JSON.
    File(ConfigError, bool),
}

/// Reads a command line, the environment, and the file that these name.
pub(crate) fn read(typed: impl IntoIterator<Item = OsString>) -> Result<Typed, Misread> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let wrong = |error| Misread::Typed(Box::new(error));
    // Once without the file, to learn its name; what is wrong with the rest is wrong whatever the file says.
    let mut matches = Cli::command().try_get_matches_from(&typed).map_err(wrong)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(wrong)?;
    let mut command = Cli::command();
    let mut file = None;
    if let Some(path) = &cli.common.config {
        let read = File::read(path, &command).map_err(|error| Misread::File(error, cli.common.json))?;
        command = with_defaults(command, &read);
        matches = command.clone().try_get_matches_from(&typed).map_err(wrong)?;
        cli = Cli::from_arg_matches(&matches).map_err(wrong)?;
        file = Some(read);
    }
    command.build();
    Ok(Typed { cli, from: From { command, matches, file } })
}

/// The command with the file's values as the defaults of its flags, wherever they occur.
fn with_defaults(command: Command, file: &File) -> Command {
    command
        .mut_args(|arg| match arg.get_long().and_then(|long| file.get(long)) {
            Some(entry) => arg.default_values(entry.values.clone()),
            None => arg,
        })
        .mut_subcommands(|command| with_defaults(command, file))
}
