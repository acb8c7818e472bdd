//! Task metadata: the `ecs_*` fields, asked of the ECS agent's endpoint (version 4) at `${…_URI_V4}/task`.
//!
//! The endpoint may answer late or never; records do not wait for it longer than [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::config::plan::Metadata;
use crate::http;
use crate::record::EcsMetadata;

/// Set by the ECS agent in every container.
const ENDPOINT: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// How long reading waits for the metadata; kernel and driver hold the data meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// One question; the agent answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// Between questions that failed, doubling up to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What of the answer is used; the agent may add fields, so unknown ones are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    cluster: String,
    #[serde(rename = "TaskARN")]
    task_arn: String,
    family: String,
    revision: String,
}

/// Where to ask, if the config wants it and the environment tells.
pub(super) fn endpoint(wanted: Metadata) -> Option<String> {
    match (wanted, std::env::var(ENDPOINT)) {
        (Metadata::None, _) => None,
        (Metadata::Ecs, Ok(endpoint)) => Some(endpoint),
        (Metadata::Ecs, Err(_)) => {
            tracing::warn!("`metadata: ecs`, but {ENDPOINT} is not set: this is no ECS task, records go without");
            None
        }
    }
}

/// Asks until there is an answer.
pub(super) async fn fetch(endpoint: &str) -> Arc<EcsMetadata> {
    let mut pause = PAUSES.0;
    loop {
        match ask(endpoint).await {
            Ok(metadata) => return Arc::new(metadata),
            Err(error) => tracing::warn!("no task metadata yet, records go without ecs_* fields: {error:#}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn ask(endpoint: &str) -> Result<EcsMetadata> {
    let rest = endpoint.strip_prefix("http://").with_context(|| format!("{endpoint} is no http:// address"))?;
    let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let path = format!("/{base}/task").replace("//", "/");
    parse(&http::get(&address, &path, DEADLINE).await?)
}

fn parse(body: &str) -> Result<EcsMetadata> {
    let task: Task = serde_json::from_str(body).context("the task metadata is not as documented")?;
    // The agent says an ARN or a short name; FireLens writes the name.
    let cluster = task.cluster.rsplit('/').next().unwrap_or_default().to_owned();
    let task_definition = format!("{}:{}", task.family, task.revision);
    Ok(EcsMetadata { cluster, task_arn: task.task_arn, task_definition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_as_firelens_writes_them() {
        let body = r#"{"Cluster":"arn:aws:ecs:us-west-2:111122223333:cluster/default","Family":"curltest","Revision":"26",
            "TaskARN":"arn:aws:ecs:us-west-2:111122223333:task/default/158d","Limits":{"CPU":0.5}}"#;
        let metadata = parse(body).expect("valid metadata");
        assert_eq!(metadata.cluster, "default");
        assert_eq!(metadata.task_definition, "curltest:26");
    }

    #[test]
    fn says_what_is_wrong_with_an_answer() {
        assert!(parse("{}").is_err());
        assert!(parse("<html>").is_err());
    }
}
