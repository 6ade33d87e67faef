//! Scrollback: a self-hosted chat server whose memory is one log.
//!
//! This binary is wiring only: what was typed becomes settings and one call into the crates, and what comes back becomes
//! text, JSON and an exit code.

mod cli;
mod commands;
mod exit;
mod output;
mod remote;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Whatever sled, the shell or systemd would create with: the data directory is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = cli::Cli::parse();
    output::start_tracing(&cli.common);
    let outcome = match cli.command {
        cli::Command::Serve(typed) => commands::serve::run(&cli.common, typed),
        cli::Command::Replay(typed) => commands::replay::run(&cli.common, &typed),
        cli::Command::Compact(typed) => commands::compact::run(&cli.common, &typed),
        cli::Command::Verify => commands::verify::run(&cli.common),
        cli::Command::Backup(typed) => commands::backup::run(&cli.common, &typed),
        cli::Command::Restore(typed) => commands::restore::run(&cli.common, &typed),
        cli::Command::Export(typed) => commands::export::run(&cli.common, &typed),
        cli::Command::Tail(typed) => commands::tail::run(&cli.common, &typed),
        cli::Command::Import(typed) => commands::import::run(&cli.common, &typed),
        cli::Command::Expire(typed) => commands::expire::run(&cli.common, &typed),
        cli::Command::User(typed) => commands::user::run(&cli.common, typed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error, cli.common.json),
    }
}
