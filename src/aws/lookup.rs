//! A deadline of our own for what the SDK looks up before a request: region and credentials.
//!
//! The environment answers at once; a profile, the container's endpoint, instance metadata and STS may accept a
//! connection and never answer. The SDK counts that as a part of the attempt, and would say that the request timed out.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::time::timeout;

/// The longest that a lookup may take. The container's endpoint and STS answer within a second; instance metadata that
/// a hop limit hides takes the SDK some 8 s to give up, with a better word than ours.
const LONGEST: Duration = Duration::from_secs(10);

/// The deadline of lookups for attempts that may take `attempt`: before theirs, so that the right word is heard.
pub(super) fn deadline(attempt: Duration) -> Duration {
    LONGEST.min(attempt / 2)
}

/// What is told when that was not enough.
pub(super) fn unanswered(what: &str, deadline: Duration) -> String {
    format!(
        "no {what} within {deadline:?}: whatever the SDK asks for it does not answer; check the container's credentials \
         endpoint (AWS_CONTAINER_CREDENTIALS_*), instance metadata and STS"
    )
}

/// Credentials that are there within a deadline, or an error.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) provider: SharedCredentialsProvider,
    pub(super) deadline: Duration,
}

impl ProvideCredentials for Bounded {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            timeout(self.deadline, self.provider.provide_credentials()).await.unwrap_or_else(|_| {
                // Instance metadata keeps its last ones for an outage.
                let kept = self.fallback_on_interrupt();
                kept.ok_or_else(|| CredentialsError::provider_error(unanswered("credentials", self.deadline)))
            })
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}
