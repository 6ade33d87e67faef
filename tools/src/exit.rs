//! Exit codes: 0 done, 1 failed, 2 usage, 3 damage or a lost log found, 4 data in use, 5 refused without `--yes`.

use std::process::ExitCode;

use scrollback_api::node::NodeError;

/// What was typed, or what a settings file says, cannot be understood. The parser's own errors have it too.
const USAGE: u8 = 2;
/// Found damage, or a log that is not the one it should be.
const DAMAGE: u8 = 3;
/// Another process holds the data directory.
const IN_USE: u8 = 4;
/// A person would have been asked, and there is none.
const NEEDS_YES: u8 = 5;

/// A command ended with a code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Damage was found; the report has been printed.
    #[error("{0}")]
    Damage(String),
    /// What was asked for cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// The command changes or removes data and was not confirmed.
    #[error("{0} Say --yes to go on.")]
    NeedsYes(String),
}

/// Prints what went wrong, with its causes, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = code_of(error);
    let told = told(error);
    if json {
        eprintln!("{}", serde_json::json!({ "error": told, "exit": code }));
    } else {
        eprintln!("scrollback: {told}");
    }
    ExitCode::from(code)
}

/// The message and its causes, each said once: many errors repeat their cause in their own words.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.contains(&cause) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&cause);
        }
    }
    told
}

fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(stop) = cause.downcast_ref::<Stop>() {
            return match stop {
                Stop::Damage(_) => DAMAGE,
                Stop::Usage(_) => USAGE,
                Stop::NeedsYes(_) => NEEDS_YES,
            };
        }
        if let Some(node) = cause.downcast_ref::<NodeError>() {
            return if node.is_in_use() {
                IN_USE
            } else if node.is_damage() {
                DAMAGE
            } else {
                1
            };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let error =
            Err::<(), _>(anyhow::anyhow!("no room")).context("/x: no room").context("opening").unwrap_err();
        assert_eq!(told(&error), "opening: /x: no room");
    }
}
