//! `health`: asks `/live` of the running router, as a container's health check.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::http;

/// ECS gives a health check 5 s by default; answer before it does.
const DEADLINE: Duration = Duration::from_secs(3);

/// Ask a running router whether it works (for container health checks)
#[derive(Args, Debug)]
#[command(
    after_help = "As a container's health check: [\"CMD\", \"/logweir\", \"health\"]\n\nExample:\n  logweir health --admin 127.0.0.1:9600"
)]
pub(crate) struct HealthArgs {
    /// Address of the admin endpoints
    #[arg(long, value_name = "ADDRESS", env = "LOGWEIR_ADMIN", default_value = crate::config::file::DEFAULT_ADMIN_LISTEN)]
    admin: String,
}

/// Exit code 0 when it answers, 1 when not.
pub(crate) fn run(args: HealthArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print!("{}", runtime.block_on(http::get(&args.admin, "/live", DEADLINE))?);
    Ok(ExitCode::SUCCESS)
}
