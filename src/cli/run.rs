//! `run`: the router.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArg;

/// Run the router until SIGTERM, then drain
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir run -c config/sidecar.yaml")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    args.config.plan()?;
    anyhow::bail!("not built yet")
}
