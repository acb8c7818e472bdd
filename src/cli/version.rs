//! `version`: what this binary is.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Args;

/// Print the version and how this binary was built
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir version")]
pub(crate) struct VersionArgs {}

pub(crate) fn run(_: VersionArgs) -> anyhow::Result<ExitCode> {
    let aws = if cfg!(feature = "aws") { "with AWS sinks" } else { "without AWS sinks" };
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    writeln!(stdout().lock(), "logweir {} ({os} {arch}, {profile} build, {aws})", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}
