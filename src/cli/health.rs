//! `health`: asks the admin server whether the process works; made for a container's health check.

use std::process::ExitCode;

use clap::Args;

/// Ask a running router whether it works: exit 0 when it does
#[derive(Args, Debug)]
#[command(
    after_help = "As a container's health check: [\"CMD\", \"/logweir\", \"health\"]\n\nExample:\n  logweir health --admin 127.0.0.1:9600"
)]
pub(crate) struct HealthArgs {
    /// Address of the admin server
    #[arg(long, value_name = "ADDRESS", env = "LOGWEIR_ADMIN", default_value = crate::config::file::DEFAULT_ADMIN_LISTEN)]
    pub(crate) admin: String,
}

pub(crate) fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: {}", args.admin)
}
