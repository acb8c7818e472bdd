//! The records of a block as lines of JSON, whatever sink the block was for.
//!
//! Blocks of objects are NDJSON already, perhaps compressed: their own magic says how. Those of CloudWatch Logs are
//! entries, and each becomes an object with the members `time`, `log_group`, `log_stream` and `message`.

use std::io::{self, BufReader, Read, Write};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::encode::Partition;
use crate::encode::entries::entries;

/// Largest zstd window as a power of two: ours have 8 MiB at most.
const WINDOW_LOG: u32 = 23;

/// Writes the lines of a block. Never more than `plain_len` bytes are inflated, nor held at a time.
pub(super) fn write(partition: &Partition, data: &[u8], plain_len: u64, out: &mut dyn Write) -> io::Result<()> {
    if let Partition::Stream { group, stream } = partition {
        return write_entries(group, stream, data, out);
    }
    match data {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data)?;
            decoder.window_log_max(WINDOW_LOG)?;
            inflate(decoder, plain_len, out)
        }
        [0x1f, 0x8b, ..] => inflate(flate2::bufread::MultiGzDecoder::new(data), plain_len, out),
        plain => out.write_all(plain),
    }
}

fn inflate(decoder: impl Read, plain_len: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut bounded = BufReader::new(decoder.take(plain_len));
    let written = io::copy(&mut bounded, out)?;
    let more = bounded.into_inner().into_inner().read(&mut [0])?;
    if written < plain_len || more > 0 {
        return Err(io::Error::other("the block inflates to another length than it was sealed with"));
    }
    Ok(())
}

fn write_entries(group: &str, stream: &str, data: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(io::Error::other);
    let (group, stream) = (quoted(group)?, quoted(stream)?);
    for entry in entries(data) {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(entry.millis) * 1_000_000).ok();
        let time = time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| entry.millis.to_string());
        write!(out, "{{\"time\":\"{time}\",\"log_group\":{group},\"log_stream\":{stream},\"message\":\"")?;
        out.write_all(entry.escaped)?;
        out.write_all(b"\"}\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::entries::EntryEncoder;
    use crate::encode::{Compression, Message};
    use crate::record::{Record, Tag};

    const LINES: &[u8] = b"{\"log\":\"a\"}\n{\"log\":\"b\"}\n";

    fn written(partition: &Partition, data: &[u8], plain_len: u64) -> io::Result<String> {
        let mut out = Vec::new();
        write(partition, data, plain_len, &mut out)?;
        Ok(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn lines_come_back_however_they_were_compressed() {
        for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(1)] {
            let data = compression.compress(LINES);
            let lines = written(&Partition::Whole, &data, LINES.len() as u64).expect("whole");
            assert_eq!(lines.as_bytes(), LINES, "{compression}");
        }
    }

    #[test]
    fn no_more_is_inflated_than_the_block_was_sealed_with() {
        let plain = vec![b' '; 10 << 20];
        for compression in [Compression::Gzip(6), Compression::Zstd(1)] {
            let data = compression.compress(&plain);
            let mut out = Vec::new();
            write(&Partition::Whole, &data, 1000, &mut out).expect_err("longer than it says");
            assert_eq!(out.len(), 1000, "{compression}");
            written(&Partition::Whole, &data, 11 << 20).expect_err("shorter than it says");
        }
    }

    #[test]
    fn an_entry_is_an_object_with_its_group_and_stream() {
        // {"log": "say \"hi\""}
        let map = b"\x81\xa3log\xa8say \"hi\"";
        let tag = Tag::from("t");
        let record = Record {
            tag: &tag,
            source: "s",
            time: 1_790_000_000_123_000_000,
            received: 2,
            map,
            ecs: None,
            json: Default::default(),
        };
        let mut block = Vec::new();
        EntryEncoder::new(Message::Log).encode(&record, &mut block);
        let stream = Partition::Stream { group: "/ecs/a".into(), stream: "a/1".into() };
        assert_eq!(
            written(&stream, &block, 0).expect("whole"),
            "{\"time\":\"2026-09-21T14:13:20.123Z\",\"log_group\":\"/ecs/a\",\"log_stream\":\"a/1\",\
             \"message\":\"say \\\"hi\\\"\"}\n"
        );
    }
}
