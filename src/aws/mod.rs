//! Region, credentials, endpoints and timeouts of AWS, once for all sinks.
//!
//! [`Access`] says how a sink reaches AWS; [`Access::load`] asks the environment, the profile or the container for the
//! rest. It is called in the sink's own task with its first request, never before the sockets are bound: what is wrong
//! with AWS is a state of that sink. A lookup that hangs ends like one that fails. The SDK tries once; repeating is
//! [`crate::sink::retry`]'s work, because the SDK's own retries stop within seconds and are blind to the drain.
//! [`Failure`] reads an error of the SDK.

mod failure;
mod lookup;
mod names;

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::time::timeout;

use lookup::Bounded;

pub use failure::{Class, Failure};

/// The longest that a connection may take: three SYNs on Linux (0, 1, 3 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the name of a role's session begins with in CloudTrail.
const SESSION_NAME: &str = "logweir";

/// What a missing region is told as.
const NO_REGION: &str = "no AWS region found; set `region` of the sink or AWS_REGION";

/// How a sink reaches AWS.
#[derive(Clone, Debug)]
pub struct Access {
    /// Region; without it what the SDK finds (`AWS_REGION`, profile, instance metadata).
    pub region: Option<String>,
    /// ARN of a role to assume with the credentials that were found.
    pub role_arn: Option<String>,
    /// External id for that role.
    pub external_id: Option<String>,
    /// The longest that one attempt of a request may take.
    pub attempt_timeout: Duration,
    /// Credentials instead of those that the SDK's chain finds (environment, profile, web identity, container, instance).
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Access {
    /// What the SDK's clients are made of. Reads the environment and files; asks the network only for a region that
    /// nothing else names. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` work. This and the lookups of
    /// credentials, which come with the requests, take 10 s at most, or half of `attempt_timeout` where that is less.
    pub async fn load(&self) -> Result<SdkConfig, String> {
        let deadline = lookup::deadline(self.attempt_timeout);
        let found = timeout(deadline, self.look_up()).await;
        let config = found.unwrap_or_else(|_| Err(lookup::unanswered("region", deadline)))?;
        let Some(provider) = config.credentials_provider() else { return Ok(config) };
        let bounded = SharedCredentialsProvider::new(Bounded { provider, deadline });
        Ok(config.into_builder().credentials_provider(bounded).build())
    }

    async fn look_up(&self) -> Result<SdkConfig, String> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(self.attempt_timeout))
            .operation_attempt_timeout(self.attempt_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .http_client(names::http_client())
            // Its own limit would come before the deadline of the lookup, whose error says what to do.
            .identity_cache(IdentityCache::lazy().load_timeout(self.attempt_timeout).build())
            // It ends slow transfers of a container that is short of CPU; the timeout of an attempt is enough.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .app_name(AppName::new("logweir").expect("letters are a valid name"));
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(credentials) = &self.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(NO_REGION.into());
        }
        match &self.role_arn {
            Some(role) => Ok(self.assume(role, config).await),
            None => Ok(config),
        }
    }

    /// The same with the credentials of a role. The STS endpoint is the region's, whatever endpoint the sink has.
    async fn assume(&self, role: &str, config: SdkConfig) -> SdkConfig {
        let mut provider = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&config);
        if let Some(id) = &self.external_id {
            provider = provider.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(provider.build().await);
        config.into_builder().credentials_provider(provider).build()
    }
}
