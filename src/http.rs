//! One small HTTP GET over plain TCP: `logweir health` asks the admin port with it, where the image has no curl, and
//! the pipeline asks the ECS task metadata endpoint. TLS, redirects and proxies are left to real clients.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest body that is accepted; task metadata of ten containers is about 20 KB.
const MAX_BODY: usize = 1 << 20;

/// Gets `path` from `address` (`host:port`): the body of a 200, else an error that says what came.
pub async fn get(address: &str, path: &str, deadline: Duration) -> Result<String> {
    match tokio::time::timeout(deadline, exchange(address, path)).await {
        Ok(answer) => answer,
        Err(_) => bail!("{address} did not answer within {deadline:?}"),
    }
}

async fn exchange(address: &str, path: &str) -> Result<String> {
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
