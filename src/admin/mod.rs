//! Health, status and metrics over HTTP, for `logweir health`, load balancers, Prometheus and people.
//!
//! `/live`: the process works. `/ready`: it accepts records; fails first in a drain. `/delivering`: 503 when the oldest
//! undelivered record is older than a set age. `/status`: JSON. `/metrics`: OpenMetrics text. Answers come from memory
//! and never wait for a sink.

mod reloads;
mod status;

pub use reloads::Reloads;
pub use status::AdminState;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A client that sends its request slower than this is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is kept open is asked to end after so long: clients that read nothing would take all places, and
/// the health check with them.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// What an answer may take then.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Connections served at a time; a scrape and a health check are two.
const MAX_CONNECTIONS: usize = 64;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&state)));
                }
                // Out of file descriptors, most likely: other connections have to end first.
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept a connection; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<AdminState>) {
    let service = service_fn(move |request| {
        let response = answer(&request, &state);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = match timeout(CONNECTION_TIME, served.as_mut()).await {
        Ok(ended) => Ok(ended),
        Err(_) => {
            served.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, served).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended early"),
        Err(_) => tracing::debug!("an admin connection did not read its answers"),
    }
}

fn answer(request: &Request<Incoming>, state: &AdminState) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/live" => text(StatusCode::OK, "live\n".into()),
        "/ready" if state.is_ready() => text(StatusCode::OK, "ready\n".into()),
        "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()),
        "/delivering" => match state.overdue() {
            None => text(StatusCode::OK, "delivering\n".into()),
            Some(words) => text(StatusCode::SERVICE_UNAVAILABLE, words),
        },
        "/status" => typed(StatusCode::OK, "application/json", state.status()),
        "/metrics" => {
            let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            typed(StatusCode::OK, format, state.metrics())
        }
        _ => text(StatusCode::NOT_FOUND, "there are /live /ready /delivering /status /metrics\n".into()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicBool;

    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::ledger::Ledger;
    use crate::metrics::Metrics;
    use crate::spool::Queues;

    fn state() -> Arc<AdminState> {
        let clock = Clock::start();
        Arc::new(AdminState {
            ledger: Arc::new(Ledger::new([], [], [])),
            queues: Queues::default(),
            metrics: Metrics::new(),
            clock,
            reloads: Reloads::new(clock, String::new(), Duration::MAX),
            ecs: OnceLock::new(),
            ready: AtomicBool::new(true),
        })
    }

    /// How long a connection lasts whose client says this and reads nothing.
    async fn lasts(request: &[u8]) -> Duration {
        let (ours, mut client) = tokio::io::duplex(16);
        let begun = Instant::now();
        let served = tokio::spawn(connection(ours, state()));
        client.write_all(request).await.expect("it reads");
        served.await.expect("no panic");
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_or_reads_nothing_more_is_cut_off() {
        assert_eq!(lasts(b"GET /live HTTP/1.1\r\nhos").await, HEADER_TIMEOUT);
        assert_eq!(lasts(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await, CONNECTION_TIME + LAST_ANSWER);
    }
}
