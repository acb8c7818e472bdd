//! Lookups of host names, on threads of their own.
//!
//! A lookup blocks, cannot be cancelled, and with name servers that do not answer takes `resolv.conf`'s timeout times
//! its attempts times the servers: half a minute and more, long after the request that asked has timed out. On tokio's
//! blocking threads a handful of such lookups would stop the spool's syncs and the compression of all sinks.

use std::io::Error;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::{Semaphore, oneshot};

/// Lookups of one sink at a time. One that hangs keeps its place until it is over: the next wait, and time out.
const AT_A_TIME: usize = 4;

/// The SDK's own HTTP client but for how it looks names up.
pub(super) fn http_client() -> SharedHttpClient {
    let names = Names(Arc::new(Semaphore::new(AT_A_TIME)));
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build_with_resolver(names.clone())
    })
}

#[derive(Clone, Debug)]
struct Names(Arc<Semaphore>);

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let (places, name) = (Arc::clone(&self.0), name.to_owned());
        DnsFuture::new(async move { look_up(places, name).await.map_err(ResolveDnsError::new) })
    }
}

async fn look_up(places: Arc<Semaphore>, name: String) -> Result<Vec<IpAddr>, Error> {
    let place = places.acquire_owned().await.map_err(Error::other)?;
    let (sender, found) = oneshot::channel();
    thread::Builder::new().name("names".into()).spawn(move || {
        let addresses = (name.as_str(), 0).to_socket_addrs();
        drop(place);
        // Nobody listens where the request has timed out.
        let _ = sender.send(addresses.map(|all| all.map(|address| address.ip()).collect()));
    })?;
    found.await.map_err(Error::other)?
}
