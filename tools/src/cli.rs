//! What can be typed. Every setting can also be given as an environment variable `SCROLLBACK_...` or in a file.

mod backup;
mod common;
mod offline;
mod operate;
mod serve;
mod values;

use clap::{Parser, Subcommand};

pub(crate) use backup::{Backup, Restore};
pub(crate) use common::{Common, LogFormat};
pub(crate) use offline::{Confirm, Expire, Export, Import, Replay, Server, Tail, User, UserCommand, Verify};
pub(crate) use operate::{Completions, ConfigCommand, ConfigFor, Doctor, Health, Man};
pub(crate) use serve::Serve;

/// A self-hosted chat server whose memory is one log.
#[derive(Debug, Parser)]
#[command(name = "scrollback", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Box<Serve>),
    /// Show every setting of the server, its value and where that comes from
    Config(ConfigFor),
    /// Check whether this machine can keep what the server promises: disk, modes, clock, limits
    Doctor(Doctor),
    /// Ask a running server whether it is ready for requests; exit code 0 if it is
    Health(Health),
    /// Rebuild the views from the log, or print the state as it was at an offset
    Replay(Replay),
    /// Drop the space of erased texts and re-pack the log, offsets kept
    Compact(Confirm),
    /// Check every record of the log: checksums, order, the chain of hashes
    Verify(Verify),
    /// Write a backup of the log and the password hashes, from a data directory or a running server
    Backup(Backup),
    /// Make a backup the log of the data directory, or go on with a log that has lost its tail
    Restore(Restore),
    /// Print every public event as JSON lines
    Export(Export),
    /// Print new events as they come (from a server), or the newest ones (from a data directory)
    Tail(Tail),
    /// Import a chat history of JSON lines {"channel","at","sender","body"}, plain or .gz
    Import(Import),
    /// Expire messages older than a time
    Expire(Expire),
    /// Add, change and list users
    User(User),
    /// Print a shell's completions for this program
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a directory
    Man(Man),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use scrollback_api::Settings;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_flag_says_what_it_is_for() {
        fn look(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 8, "{} {}: {help:?}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(look);
        }
        let mut command = Cli::command();
        command.build();
        look(&command);
    }

    #[test]
    fn the_typed_defaults_are_the_settings_defaults() {
        let cli = Cli::parse_from(["scrollback", "serve"]);
        let Command::Serve(serve) = cli.command else { panic!("serve was typed") };
        assert_eq!(format!("{:?}", serve.settings(&cli.common)), format!("{:?}", Settings::default()));
    }
}
