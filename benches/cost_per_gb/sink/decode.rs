//! What arrived, as it was before it was compressed.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;

use super::store::{Body, Object};

/// A request of PutLogEvents.
#[derive(Deserialize)]
pub(super) struct PutLogEvents<'a> {
    #[serde(rename = "logGroupName", borrow)]
    pub(super) group: Cow<'a, str>,
    #[serde(rename = "logEvents", borrow)]
    pub(super) events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Event<'a> {
    pub(super) timestamp: i64,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
}

impl Object {
    /// Gives away its lines, each with its line feed, as long as they are wanted.
    pub(super) fn each_line(&self, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let stored = self.pieces.concat();
        let lines: Box<dyn Read> = match self.key.rsplit_once('.').map(|(_, extension)| extension) {
            Some("zst") => Box::new(zstd::Decoder::new(&*stored)?),
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(&*stored)),
            _ => Box::new(&*stored),
        };
        let (mut lines, mut line) = (BufReader::with_capacity(256 << 10, lines), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 && take(&line) {
            line.clear();
        }
        Ok(())
    }
}

impl Body {
    /// Its JSON.
    pub(super) fn json(&self) -> io::Result<Cow<'_, [u8]>> {
        if !self.gzip {
            return Ok(Cow::Borrowed(&self.bytes));
        }
        let mut json = Vec::new();
        flate2::read::GzDecoder::new(&*self.bytes).read_to_end(&mut json)?;
        Ok(Cow::Owned(json))
    }
}
