//! `demo`: the whole router on this machine, with simulated containers and no AWS account.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Show everything on this machine: simulated containers, rules, objects, and what it would cost
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir demo --seconds 10 --region eu-west-1")]
pub(crate) struct DemoArgs {
    /// How long the simulated containers write
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<u64>,
    /// Region whose prices the bill takes
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    pub(crate) region: String,
    /// Directory for the objects (default: a new temporary one)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {args:?}")
}
