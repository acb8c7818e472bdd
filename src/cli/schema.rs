//! `schema`: the JSON Schema of a config.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Args;

/// Print the JSON Schema of a config, so that editors complete and check it
#[derive(Args, Debug)]
#[command(
    after_help = "The first line of a config tells the editor:\n  # yaml-language-server: $schema=logweir.schema.json\n\n\
                        Example:\n  logweir schema > logweir.schema.json"
)]
pub(crate) struct SchemaArgs {}

pub(crate) fn run(_: SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&crate::config::schema())?;
    writeln!(stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
