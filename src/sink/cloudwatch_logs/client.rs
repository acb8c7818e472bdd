//! The calls to CloudWatch Logs, one attempt each.
//!
//! PutLogEvents goes through the SDK with a body of our own: endpoint, credentials, signature and error decoding are the
//! SDK's; its typed API would copy and escape every message once more, at three times the CPU.

use std::collections::HashMap;

use aws_sdk_cloudwatchlogs::Client;

use aws_sdk_cloudwatchlogs::types::{LogGroupClass, RejectedLogEventsInfo};
use aws_smithy_types::body::SdkBody;

use super::body::{Body, Target};
use super::config::{CloudWatchLogsConfig, Create, LogClass};
use super::request::RejectedInfo;
use crate::aws::{Access, Failure};
use crate::metrics::SinkMetrics;
use crate::sink::service::Service;

/// CloudWatch Logs as one sink reaches it.
#[derive(Debug)]
pub(super) struct Logs {
    service: Service<Client>,
}

impl Logs {
    /// Asks nothing of AWS before the first call.
    pub(super) fn new(config: &CloudWatchLogsConfig, access: Access, metrics: SinkMetrics) -> Self {
        let endpoint = config.endpoint.clone();
        let service = Service::new(access, metrics, move |config| {
            let mut builder = aws_sdk_cloudwatchlogs::config::Builder::from(config);
            if let Some(endpoint) = &endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            Client::from_conf(builder.build())
        });
        Self { service }
    }

    /// Sends a request; what AWS did not keep of it.
    pub(super) async fn put(&self, target: &Target, body: &Body) -> Result<RejectedInfo, Failure> {
        let Body { bytes, gzip } = body.clone();
        let len = bytes.len();
        let output = self
            .service
            .attempt("PutLogEvents", len as u64, |client| {
                // What the SDK serializes is replaced before it is signed; the names are for its validation.
                let request = client.put_log_events().log_group_name(&*target.group).log_stream_name(&*target.stream);
                let request = request.set_log_events(Some(Vec::new())).customize();
                let request = request.mutate_request(move |request| {
                    *request.body_mut() = SdkBody::from(bytes.clone());
                    // The serializer has set it for its own body.
                    request.headers_mut().insert("content-length", len.to_string());
                    if gzip {
                        request.headers_mut().insert("content-encoding", "gzip");
                    }
                });
                request.send()
            })
            .await?;
        Ok(output.rejected_log_events_info.as_ref().map(rejected).unwrap_or_default())
    }

    /// Creates a stream.
    pub(super) async fn create_stream(&self, target: &Target) -> Result<(), Failure> {
        self.service
            .attempt("CreateLogStream", 0, |client| {
                client.create_log_stream().log_group_name(&*target.group).log_stream_name(&*target.stream).send()
            })
            .await
            .map(|_| ())
    }

    /// Creates a group.
    pub(super) async fn create_group(&self, group: &str, create: &Create) -> Result<(), Failure> {
        let class = match create.class {
            LogClass::Standard => LogGroupClass::Standard,
            LogClass::InfrequentAccess => LogGroupClass::InfrequentAccess,
        };
        let tags = create.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<HashMap<_, _>>();
        self.service
            .attempt("CreateLogGroup", 0, |client| {
                let request = client.create_log_group().log_group_name(group).log_group_class(class);
                let request = request.set_kms_key_id(create.kms_key.clone());
                request.set_tags(Some(tags).filter(|tags| !tags.is_empty())).send()
            })
            .await
            .map(|_| ())
    }

    /// Sets how long a group keeps its events.
    pub(super) async fn set_retention(&self, group: &str, days: i32) -> Result<(), Failure> {
        self.service
            .attempt("PutRetentionPolicy", 0, |client| {
                client.put_retention_policy().log_group_name(group).retention_in_days(days).send()
            })
            .await
            .map(|_| ())
    }
}

fn rejected(info: &RejectedLogEventsInfo) -> RejectedInfo {
    RejectedInfo {
        too_old_end: info.too_old_log_event_end_index,
        expired_end: info.expired_log_event_end_index,
        too_new_start: info.too_new_log_event_start_index,
    }
}
