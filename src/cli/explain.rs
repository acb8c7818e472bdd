//! `explain`: which route takes a record, and why each earlier one did not.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArg;

/// Say which routes take a record and why the others do not; the record is JSON on standard input
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  echo '{\"log\": \"ERROR boom\"}' | logweir explain -c config/sidecar.yaml --tag app-firelens-0123"
)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Tag of the record
    #[arg(long, value_name = "TAG")]
    tag: String,
    /// Time of the record, RFC 3339 (default: now)
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Source that it comes from (default: the first)
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

pub(crate) fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {args:?}")
}
