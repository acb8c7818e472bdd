//! An AWS service as one sink reaches it: the client is made with the first call, and each call is one measured attempt.

use std::fmt;
use std::future::Future;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::aws::{Access, Failure};
use crate::metrics::SinkMetrics;

/// The client `C` of a service.
pub(super) struct Service<C> {
    access: Access,
    metrics: SinkMetrics,
    make: Box<dyn Fn(&SdkConfig) -> C + Send + Sync>,
    client: OnceCell<C>,
}

impl<C> Service<C> {
    /// Asks nothing of AWS before the first call; `make` adds what is the sink's own.
    pub(super) fn new(
        access: Access,
        metrics: SinkMetrics,
        make: impl Fn(&SdkConfig) -> C + Send + Sync + 'static,
    ) -> Self {
        Self { access, metrics, make: Box::new(make), client: OnceCell::new() }
    }

    async fn client(&self) -> Result<&C, Failure> {
        let made = self.client.get_or_try_init(|| async { Ok((self.make)(&self.access.load().await?)) });
        made.await.map_err(Failure::of_setup)
    }

    /// One attempt; `bytes` are counted when it succeeds.
    pub(super) async fn attempt<'a, T, E, F>(
        &'a self,
        api: &'static str,
        bytes: u64,
        call: impl FnOnce(&'a C) -> F + Send,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let start = Instant::now();
        let result = match self.client().await {
            Ok(client) => call(client).await.map_err(|error| Failure::of(&error)),
            Err(failure) => Err(failure),
        };
        let label = result.as_ref().map_or_else(|failure| failure.class.label(), |_| "ok");
        self.metrics.request(api, label, start.elapsed(), if result.is_ok() { bytes } else { 0 });
        result
    }
}

impl<C> fmt::Debug for Service<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("access", &self.access).finish_non_exhaustive()
    }
}
