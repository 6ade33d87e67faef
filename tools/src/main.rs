//! Scrollback: a self-hosted chat server whose memory is one log.
//!
//! This binary is wiring only: what was typed becomes settings and one call into the crates, and what comes back becomes
//! text, JSON and an exit code.

mod allocator;
mod cli;
mod commands;
mod config;
mod exit;
mod logs;
mod notify;
mod output;
mod remote;
mod watchdog;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Whatever sled, the shell or systemd would create with: the data directory is for its owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let config::Typed { cli, from } = match config::read(std::env::args_os()) {
        Ok(typed) => typed,
        // Help and versions come this way too.
        Err(config::Misread::Typed(error)) => error.exit(),
        Err(config::Misread::File(error, json)) => {
            return exit::report(&exit::Stop::Usage(error.to_string()).into(), json);
        }
    };
    logs::start(&cli.common);
    let outcome = match cli.command {
        cli::Command::Serve(typed) => commands::serve::run(&cli.common, typed),
        cli::Command::Config(typed) => commands::config::run(&cli.common, &typed, &from),
        cli::Command::Doctor(typed) => commands::doctor::run(&cli.common, &typed),
        cli::Command::Health(typed) => commands::health::run(&cli.common, &typed),
        cli::Command::Replay(typed) => commands::replay::run(&cli.common, &typed),
        cli::Command::Compact(typed) => commands::compact::run(&cli.common, &typed),
        cli::Command::Verify(typed) => commands::verify::run(&cli.common, &typed),
        cli::Command::Backup(typed) => commands::backup::run(&cli.common, &typed),
        cli::Command::Restore(typed) => commands::restore::run(&cli.common, &typed),
        cli::Command::Export(typed) => commands::export::run(&cli.common, &typed),
        cli::Command::Tail(typed) => commands::tail::run(&cli.common, &typed),
        cli::Command::Import(typed) => commands::import::run(&cli.common, &typed),
        cli::Command::Expire(typed) => commands::expire::run(&cli.common, &typed),
        cli::Command::User(typed) => commands::user::run(&cli.common, typed),
        cli::Command::Completions(typed) => commands::completions::run(&typed),
        cli::Command::Man(typed) => commands::completions::man(&cli.common, &typed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let as_json = cli.common.json || cli.common.log_format == cli::LogFormat::Json;
            exit::report(&error, as_json)
        }
    }
}
