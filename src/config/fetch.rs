//! A config from S3, fetched once before anything starts.

/// The bucket and key of `s3://bucket/key`.
fn split(url: &str) -> Result<(&str, &str), String> {
    let parts = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    parts
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| format!("`{url}` names no object; write s3://bucket/key"))
}

/// The text of the object.
#[cfg(not(feature = "aws"))]
pub(super) fn fetch(url: &str) -> Result<String, String> {
    split(url)?;
    Err("this build has no AWS support, so it cannot read from S3; take a file".into())
}

#[cfg(feature = "aws")]
pub(super) use with_aws::fetch;

#[cfg(feature = "aws")]
mod with_aws {
    use std::time::Duration;

    use aws_config::BehaviorVersion;

    use super::super::text::text_of;
    use super::super::yaml::MAX_TEXT;

    /// Credentials, region and the object together: a task that waits longer for its config is better restarted.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// The text of the object. Runs before the process has a runtime, so it brings a small one of its own.
    pub(in crate::config) fn fetch(url: &str) -> Result<String, String> {
        let (bucket, key) = super::split(url)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot be fetched: {error}"))?;
        let fetched = runtime.block_on(async {
            match tokio::time::timeout(DEADLINE, get(bucket, key)).await {
                Ok(bytes) => text_of(bytes?),
                Err(_) => Err(format!(
                    "was not there within {}s; check the network, the region (AWS_REGION) and the task role",
                    DEADLINE.as_secs()
                )),
            }
        });
        // A name server that does not answer would hold it much longer than the deadline.
        runtime.shutdown_background();
        fetched
    }

    async fn get(bucket: &str, key: &str) -> Result<Vec<u8>, String> {
        let shared = aws_config::defaults(BehaviorVersion::latest()).load().await;
        // Endpoints of one's own (MinIO, moto) rarely have a host name a bucket.
        let own_endpoint =
            ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| std::env::var_os(name).is_some());
        let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(own_endpoint).build();
        let client = aws_sdk_s3::Client::from_conf(config);
        let mut object = client.get_object().bucket(bucket).key(key).send().await.map_err(|error| {
            format!(
                "cannot be fetched: {}; check that it exists and that the task role has s3:GetObject",
                chain(&error)
            )
        })?;
        let mut bytes = Vec::new();
        while let Some(chunk) = object.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| format!("broke off while it was fetched: {error}"))?);
            // One chunk too many shows that the text is too long; the rest is not fetched.
            if bytes.len() > MAX_TEXT {
                break;
            }
        }
        Ok(bytes)
    }

    /// An error and its causes on one line, none of them twice.
    fn chain(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_bucket_and_a_key() {
        assert_eq!(split("s3://b/a/c.yaml"), Ok(("b", "a/c.yaml")));
        for url in ["s3://", "s3://b", "s3://b/", "s3:///k"] {
            assert!(split(url).unwrap_err().contains("s3://bucket/key"), "{url}");
        }
    }
}
