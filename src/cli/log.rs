//! The router's own log: concise lines to stderr, JSON by option.

use anyhow::{Result, anyhow};
use tracing_subscriber::filter::EnvFilter;

use crate::config::plan::{LogFormat, LogSection};

/// Sets up the log; libraries speak only from WARN on.
pub(crate) fn init(config: &LogSection) -> Result<()> {
    let filter = EnvFilter::try_new(format!("warn,logweir={}", config.level.as_str()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let builder = builder.with_ansi(false);
    let set = match config.format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| anyhow!("cannot set up the log: {error}"))
}
