//! The asking side of `/live`: what `logweir health` does inside the container, where there is no curl.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// ECS gives a health check 5 s by default; answer before it does.
const DEADLINE: Duration = Duration::from_secs(3);

/// The answer's longest body.
const MAX_BODY: usize = 64 << 10;

/// Asks `path` of the admin listener at `host:port`; the body of a 200, else an error that says what came.
pub async fn ask(address: &str, path: &str) -> Result<String> {
    match tokio::time::timeout(DEADLINE, get(address, path)).await {
        Ok(answer) => answer,
        Err(_) => bail!("{address} did not answer within {DEADLINE:?}"),
    }
}

async fn get(address: &str, path: &str) -> Result<String> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", address).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let (status, body) = tokio::select! {
        answer = exchange => answer?,
        ended = connection => {
            ended?;
            bail!("{address} closed the connection without an answer");
        }
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    if status != StatusCode::OK {
        bail!("{address}{path} answered {status}: {}", body.trim_end());
    }
    Ok(body)
}
