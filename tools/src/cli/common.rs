//! What every command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use scrollback_api::Settings;
use scrollback_projections::ViewSettings;

use super::values::duration;

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The data directory
    #[arg(
        long,
        global = true,
        env = "SCROLLBACK_DATA",
        default_value = "./scrollback-data",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,
    /// Print machine-readable JSON
    #[arg(long, global = true, env = "SCROLLBACK_JSON")]
    pub(crate) json: bool,
    /// How long idempotency keys are remembered, in log time; the same for every command, or the views are rebuilt
    #[arg(long, global = true, env = "SCROLLBACK_KEY_RETENTION", default_value = "30d", value_name = "TIME", value_parser = duration)]
    pub(crate) key_retention: Duration,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter like `warn,scrollback_api=debug`
    #[arg(long, global = true, env = "SCROLLBACK_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How log lines are written: as text for people, or as one JSON object a line for machines
    #[arg(
        long,
        global = true,
        env = "SCROLLBACK_LOG_FORMAT",
        default_value = "text",
        value_enum,
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormat,
    /// A file of settings, one `flag = value` a line as TOML; `scrollback config show --toml` prints one to begin with
    #[arg(long, global = true, env = "SCROLLBACK_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Common {
    /// The settings that every command runs under.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings { data: self.data.clone(), ..Settings::default() };
        settings.lifetimes.idempotency_keys = self.key_retention;
        settings
    }

    /// What the views depend on beside the log.
    pub(crate) fn view_settings(&self) -> ViewSettings {
        ViewSettings { key_retention: self.key_retention }
    }
}
