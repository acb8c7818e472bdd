//! Where dead letters are kept: a directory or a bucket, read object by object, line by line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::config::Plan;
use crate::config::plan::SinkKind;
use crate::encode::Template;
use crate::encode::template::Segment;
use crate::sink::s3::S3Config;

/// Longest line: a message of 64 MiB, each byte as its longest escape.
const MAX_LINE: u64 = 400 << 20;

/// What is called with each line; it says whether to go on.
pub(super) type EachLine<'a> = &'a mut dyn FnMut(&[u8]) -> anyhow::Result<bool>;

/// A directory or a bucket.
#[derive(Debug)]
pub(super) enum Place {
    /// Objects below a directory, and how their paths from there begin.
    Directory(PathBuf, String),
    /// Objects in a bucket, and how their keys begin.
    Bucket(Box<Bucket>),
}

/// How a bucket is reached.
#[derive(Debug)]
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "this build reads no buckets"))]
pub(super) struct Bucket {
    name: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: bool,
    role: (Option<String>, Option<String>),
}

impl Place {
    /// As on a command line: a directory, or `s3://bucket/prefix`.
    pub(super) fn named(place: &str) -> Self {
        let Some(rest) = place.strip_prefix("s3://") else { return Self::Directory(place.into(), String::new()) };
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Endpoints of one's own (MinIO, moto) rarely have a host name a bucket.
        let path_style =
            ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| std::env::var_os(name).is_some());
        Self::Bucket(Box::new(Bucket {
            name: name.into(),
            prefix: prefix.into(),
            region: None,
            endpoint: None,
            path_style,
            role: (None, None),
        }))
    }

    /// Where a config sends them.
    pub(super) fn of_plan(plan: &Plan) -> Result<Self, String> {
        let Some(letters) = &plan.dead_letters else {
            return Err(
                "the config has no `dead_letters`; name a directory or s3://bucket/prefix, or add for example \
                        `dead_letters: {to: archive}`"
                    .into(),
            );
        };
        let prefix = beginning(&letters.prefix);
        match &plan.sinks[letters.sink].kind {
            SinkKind::S3(S3Config { bucket, region, endpoint, path_style, role_arn, external_id, .. }) => {
                Ok(Self::Bucket(Box::new(Bucket {
                    name: bucket.clone(),
                    prefix,
                    region: region.clone(),
                    endpoint: endpoint.clone(),
                    path_style: *path_style,
                    role: (role_arn.clone(), external_id.clone()),
                })))
            }
            SinkKind::File(config) => Ok(Self::Directory(config.path.clone(), prefix)),
            SinkKind::CloudWatchLogs(_) | SinkKind::Stdout(_) => Err("its dead letters go nowhere".into()),
        }
    }

    /// Reads every line of every object, in the order of their names; returns how many objects were broken, which has
    /// been said.
    pub(super) fn read(&self, each: EachLine<'_>) -> anyhow::Result<u64> {
        match self {
            Self::Directory(root, prefix) => directory(root, prefix, each),
            #[cfg(feature = "aws")]
            Self::Bucket(bucket) => with_aws::bucket(bucket, each),
            #[cfg(not(feature = "aws"))]
            Self::Bucket(bucket) => {
                anyhow::bail!("this build has no AWS support, so it cannot read s3://{}", bucket.name)
            }
        }
    }
}

/// The text that a prefix begins with, before its first date.
fn beginning(template: &str) -> String {
    let template = Template::parse(template).expect("the plan has parsed this template before");
    let text = match template.segments().first() {
        Some(Segment::Text { text, .. }) => text.as_str(),
        _ => "",
    };
    text.trim_start_matches('/').to_owned()
}

fn directory(root: &Path, prefix: &str, each: EachLine<'_>) -> anyhow::Result<u64> {
    let (mut found, mut broken) = (Vec::new(), 0);
    files(root, &mut found).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", root.display()))?;
    found.sort();
    for path in found {
        let Ok(key) = path.strip_prefix(root) else { continue };
        let key = key.to_string_lossy();
        if !key.starts_with(prefix) || !is_object(&key) {
            continue;
        }
        let opened = File::open(&path).map_err(anyhow::Error::from);
        match opened.and_then(|file| lines(&key, file, each)) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => told(&path.to_string_lossy(), error, &mut broken)?,
        }
    }
    Ok(broken)
}

/// Files below a directory; what begins with a dot is not an object yet.
fn files(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Symbolic links are not followed: they could lead in a circle.
        let kind = entry.file_type()?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn is_object(key: &str) -> bool {
    [".ndjson", ".ndjson.zst", ".ndjson.gz"].iter().any(|end| key.ends_with(end))
}

/// A broken object is said and passed over; an error of whoever takes the lines is the end.
fn told(name: &str, error: anyhow::Error, broken: &mut u64) -> anyhow::Result<()> {
    match error.downcast::<Broken>() {
        Ok(Broken(error)) => {
            *broken += 1;
            eprintln!("warning: {name} cannot be read to its end: {error}");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// An object cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(io::Error);

/// The lines of an object by its extension; whether to go on.
fn lines(key: &str, body: impl Read, each: EachLine<'_>) -> anyhow::Result<bool> {
    let body = BufReader::new(body);
    let plain: Box<dyn Read + '_> = if key.ends_with(".zst") {
        Box::new(zstd::stream::read::Decoder::with_buffer(body).map_err(Broken)?)
    } else if key.ends_with(".gz") {
        Box::new(flate2::bufread::MultiGzDecoder::new(body))
    } else {
        Box::new(body)
    };
    let (mut plain, mut line) = (BufReader::new(plain), Vec::new());
    loop {
        line.clear();
        (&mut plain).take(MAX_LINE).read_until(b'\n', &mut line).map_err(Broken)?;
        match line.pop() {
            None => return Ok(true),
            Some(b'\n') if line.is_empty() => {}
            Some(b'\n') => {
                if !each(&line)? {
                    return Ok(false);
                }
            }
            Some(_) => {
                return Err(Broken(io::Error::other("it ends in the middle of a line, or has one too long")).into());
            }
        }
    }
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::io::{self, Read};
    use std::time::Duration;

    use aws_sdk_s3::primitives::ByteStream;
    use bytes::{Buf, Bytes};
    use tokio::runtime::{Builder, Runtime};

    use super::{Bucket, EachLine, is_object, lines, told};
    use crate::aws::{Access, Failure};

    /// A person waits, perhaps behind a slow line.
    const ATTEMPT: Duration = Duration::from_secs(60);

    pub(super) fn bucket(bucket: &Bucket, each: EachLine<'_>) -> anyhow::Result<u64> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(client(bucket)).map_err(anyhow::Error::msg)?;
        let (name, mut broken) = (&bucket.name, 0);
        let mut pages = client.list_objects_v2().bucket(name).prefix(&bucket.prefix).into_paginator().send();
        while let Some(page) = runtime.block_on(pages.next()) {
            let page = page.map_err(|error| refused(name, "s3:ListBucket", &Failure::of(&error)))?;
            for key in page.contents().iter().filter_map(|object| object.key()).filter(|key| is_object(key)) {
                let object = runtime.block_on(client.get_object().bucket(name).key(key).send());
                let object = object.map_err(|error| refused(name, "s3:GetObject", &Failure::of(&error)))?;
                let body = Body { runtime: &runtime, stream: object.body, chunk: Bytes::new() };
                match lines(key, body, each) {
                    Ok(true) => {}
                    Ok(false) => return Ok(broken),
                    Err(error) => told(&format!("s3://{name}/{key}"), error, &mut broken)?,
                }
            }
        }
        Ok(broken)
    }

    async fn client(bucket: &Bucket) -> Result<aws_sdk_s3::Client, String> {
        let access = Access {
            region: bucket.region.clone(),
            role_arn: bucket.role.0.clone(),
            external_id: bucket.role.1.clone(),
            attempt_timeout: ATTEMPT,
            credentials: None,
        };
        let shared = access.load().await?;
        let mut config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(bucket.path_style);
        if let Some(endpoint) = &bucket.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(aws_sdk_s3::Client::from_conf(config.build()))
    }

    /// An object as it comes in: it may be larger than the memory.
    struct Body<'a> {
        runtime: &'a Runtime,
        stream: ByteStream,
        chunk: Bytes,
    }

    impl Read for Body<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            while self.chunk.is_empty() {
                match self.runtime.block_on(self.stream.next()) {
                    Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                    None => return Ok(0),
                }
            }
            let len = out.len().min(self.chunk.len());
            self.chunk.copy_to_slice(&mut out[..len]);
            Ok(len)
        }
    }

    fn refused(bucket: &str, action: &str, failure: &Failure) -> anyhow::Error {
        anyhow::anyhow!("cannot read s3://{bucket}: {}; reading takes {action}", failure.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Compression;

    #[test]
    fn objects_of_every_compression_are_read_line_by_line_and_broken_ones_are_told() {
        let root = tempfile::tempdir().expect("a directory");
        let below = root.path().join("dead/dt=1");
        fs::create_dir_all(&below).expect("created");
        for (name, compression) in [
            ("a.ndjson", Compression::None),
            ("b.ndjson.zst", Compression::Zstd(1)),
            ("c.ndjson.gz", Compression::Gzip(6)),
        ] {
            // Two frames or members, as an object of two blocks has.
            let parts = ["1\n2\n", "3\n"].map(|text| compression.compress(text.as_bytes()));
            fs::write(below.join(name), parts.concat()).expect("written");
        }
        let cut = Compression::Zstd(1).compress(&b"4\n".repeat(1000));
        fs::write(below.join("d.ndjson.zst"), &cut[..cut.len() - 3]).expect("written");
        fs::write(below.join("e.txt"), "5\n").expect("written");
        fs::write(root.path().join("f.ndjson"), "6\n").expect("written");
        let mut seen = String::new();
        let mut each = |line: &[u8]| {
            seen.push_str(std::str::from_utf8(line).expect("text"));
            Ok(!seen.contains('4'))
        };
        let place = Place::Directory(root.path().into(), "dead/".into());
        assert_eq!(place.read(&mut each).expect("readable"), 1);
        assert_eq!(seen, "123123123");
    }

    #[test]
    fn a_place_is_a_directory_or_a_bucket() {
        assert!(
            matches!(Place::named("/var/x"), Place::Directory(path, prefix) if path == Path::new("/var/x") && prefix.is_empty())
        );
        assert!(
            matches!(Place::named("s3://b/a/c"), Place::Bucket(bucket) if bucket.name == "b" && bucket.prefix == "a/c")
        );
        assert_eq!(beginning("/dead-letters/dt=%Y/"), "dead-letters/dt=");
        assert_eq!(beginning("%Y/"), "");
    }
}
