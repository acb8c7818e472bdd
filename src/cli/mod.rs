//! The command line: one file a subcommand.
//!
//! Exit codes: 0 fine; 64 bad usage or config, before any port is bound; 1 anything else. Results go to standard
//! output, everything else to standard error.

mod check;
mod cost;
mod deadletter;
mod demo;
mod explain;
mod health;
mod log;
mod record;
mod record_json;
mod reload;
mod run;
mod schema;
mod simulate;
mod spool;
mod test;
mod version;
mod written;

use std::io;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Host, Plan, Problems};

/// Bad usage or config (`EX_USAGE`).
const USAGE: u8 = 64;

/// A log router for ECS: Fluent Forward in, rules, CloudWatch Logs and S3 out.
#[derive(Debug, Parser)]
#[command(
    name = "logweir",
    version,
    after_help = "Example:\n  logweir check -c config/sidecar.yaml && logweir run -c config/sidecar.yaml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Cost(cost::CostArgs),
    Test(test::TestArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
    Deadletter(deadletter::DeadletterArgs),
    Demo(demo::DemoArgs),
    Health(health::HealthArgs),
    Record(record::RecordArgs),
    Spool(spool::SpoolArgs),
    Version(version::VersionArgs),
}

/// Which config.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArg {
    /// The config: a file or s3://bucket/key [env: LOGWEIR_CONFIG, or the YAML itself in LOGWEIR_CONFIG_YAML]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) place: Option<String>,
}

impl ConfigArg {
    /// The plan of this config on this machine, and what the config is called.
    pub(crate) fn plan(&self) -> Result<(Plan, String), Problems> {
        let host = Host::this();
        let text = config::text::find(self.place.as_deref(), host.vars)?;
        Ok((config::load(&text.name, &text.text, &host)?, text.name))
    }

    /// The path or URL that it is read from, if it is not in the environment itself.
    pub(crate) fn source(&self) -> Option<String> {
        config::text::place(self.place.as_deref(), Host::this().vars)
    }
}

/// Bad usage that clap cannot see, such as a record that is no JSON: exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Parses the arguments, runs the subcommand, says what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. Nobody can be told when the print fails.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Cost(args) => cost::run(args),
        Command::Test(args) => test::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Deadletter(args) => deadletter::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Health(args) => health::run(args),
        Command::Record(args) => record::run(args),
        Command::Spool(args) => spool::run(args),
        Command::Version(args) => version::run(args),
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// Prints an error; its exit code.
fn fail(error: &anyhow::Error) -> ExitCode {
    // `logweir schema | head` is no failure.
    let broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    if let Some(problems) = error.downcast_ref::<Problems>() {
        // Each problem begins with `error:` of its own.
        eprintln!("{problems}");
        return USAGE.into();
    }
    eprintln!("error: {error:#}");
    if error.is::<UsageError>() { USAGE.into() } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_help_ends_with_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        examples(&mut command, "logweir");
    }

    fn examples(command: &mut clap::Command, path: &str) {
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            let help = sub.render_help().to_string();
            let last = help.trim_end().lines().last().unwrap_or_default();
            assert!(help.contains("Example:") && last.contains(&path), "{help}");
            examples(sub, &path);
        }
    }

    #[test]
    fn exit_codes_tell_bad_usage_from_failure() {
        let code = |error: anyhow::Error| format!("{:?}", fail(&error));
        assert_eq!(code(Problems::unreadable("f", "gone".into()).into()), format!("{:?}", ExitCode::from(64)));
        assert_eq!(code(UsageError("no".into()).into()), format!("{:?}", ExitCode::from(64)));
        assert_eq!(code(anyhow::anyhow!("port in use")), format!("{:?}", ExitCode::FAILURE));
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(code(pipe.into()), format!("{:?}", ExitCode::SUCCESS));
    }
}
