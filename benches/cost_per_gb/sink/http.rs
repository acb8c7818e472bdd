//! As much of HTTP/1.1 as the AWS SDK speaks to a server: requests with `Content-Length`, kept alive.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request as it came.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) amz_target: String,
    pub(super) content_encoding: String,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Answers the requests of a connection until its end.
pub(super) fn serve(stream: TcpStream, answer: impl Fn(Request) -> Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, &stream);
    while let Some(request) = read(&mut reader, &stream)? {
        let head = request.method == "HEAD";
        let Answer { status, body } = answer(request);
        let len = body.len();
        let head = if head { "" } else { body.as_str() };
        // The SDK reads the entity tag of objects and parts.
        let text =
            format!("HTTP/1.1 {status} -\r\ncontent-length: {len}\r\netag: \"0\"\r\nx-amz-request-id: 0\r\n\r\n{head}");
        (&stream).write_all(text.as_bytes())?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead, mut stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method: method.into(), target: target.into(), ..Request::default() };
    let mut len = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.parse().map_err(io::Error::other)?,
            "content-encoding" => request.content_encoding = value.into(),
            "x-amz-target" => request.amz_target = value.into(),
            "expect" => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            "transfer-encoding" => return Err(io::Error::other("the sinks of the bench take no chunked bodies")),
            _ => {}
        }
    }
    request.body = Vec::with_capacity(len);
    reader.take(len as u64).read_to_end(&mut request.body)?;
    Ok(Some(request))
}
