//! Compression of a block: a zstd frame or gzip member of its own, with one shared context a thread.
//!
//! Frames and members are independent, so blocks one after the other are a legal file. zstd frames carry their content's
//! size and no checksum (the block has its own), a window of 8 MiB at most (Java's decoders refuse more) and are never
//! skippable frames, which some readers take for the end.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;

use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use zstd::zstd_safe::CParameter;

use super::BLOCK_SIZE;

const ACCEPTED: &str = "accepted are zstd, {zstd: 1} to {zstd: 19}, gzip, {gzip: 1} to {gzip: 9} and none";
/// Above 19 windows grow beyond 8 MiB.
const ZSTD_LEVELS: std::ops::RangeInclusive<i64> = 1..=19;
const ZSTD_DEFAULT: u8 = 1;
const GZIP_LEVELS: std::ops::RangeInclusive<i64> = 1..=9;
/// libdeflate's own default, faster than zlib's 6 and smaller.
const GZIP_DEFAULT: u8 = 6;
/// A thread keeps no larger buffer than this from one block to the next.
const KEPT: usize = 1 << 20;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 1 to 9.
    Gzip(u8),
    /// zstd, level 1 to 19.
    Zstd(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(ZSTD_DEFAULT)
    }
}

impl Compression {
    /// What follows a key's name: `ndjson.zst`, …; here the last part: `.zst`, `.gz` or nothing.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => ".gz",
            Self::Zstd(_) => ".zst",
        }
    }

    /// What a name with this ending promises, at the usual level.
    pub fn of(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, "zst")) => Self::Zstd(ZSTD_DEFAULT),
            Some((_, "gz")) => Self::Gzip(GZIP_DEFAULT),
            _ => Self::None,
        }
    }

    /// Whether a block of 256 KiB takes a millisecond at most, on a core of some years ago: gzip takes as much at its
    /// lowest level, and the higher levels of zstd take several.
    pub fn is_quick(self) -> bool {
        matches!(self, Self::Zstd(..=3))
    }

    /// One frame, member, or the bytes themselves.
    pub fn compress(self, plain: &[u8]) -> Bytes {
        match self {
            Self::None => Bytes::copy_from_slice(plain),
            Self::Gzip(level) => CONTEXT.with_borrow_mut(|context| context.gzip(level, plain)),
            Self::Zstd(level) => CONTEXT.with_borrow_mut(|context| context.zstd(level, plain)),
        }
    }
}

/// The lines of a block, `plain_len` bytes or fewer. How it is compressed is told by its first bytes, which no line begins
/// with: its sink's config may have changed since.
pub fn decompress(stored: &Bytes, plain_len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(plain_len).map_err(io::Error::other)?;
    match stored[..] {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::bulk::decompress(stored, len).map(Bytes::from),
        [0x1f, 0x8b, ..] => {
            let mut plain = vec![0; len];
            let wrote = libdeflater::Decompressor::new().gzip_decompress(stored, &mut plain);
            plain.truncate(wrote.map_err(|error| io::Error::other(error.to_string()))?);
            Ok(plain.into())
        }
        _ => Ok(stored.clone()),
    }
}

thread_local! {
    static CONTEXT: RefCell<Context> = const { RefCell::new(Context { zstd: None, gzip: None, buffer: Vec::new() }) };
}

/// What a thread compresses with; made when first used, and anew when the level changes.
struct Context {
    zstd: Option<(u8, zstd::bulk::Compressor<'static>)>,
    gzip: Option<(u8, libdeflater::Compressor)>,
    /// The result while its length is not known; what is handed on has exactly its own size.
    buffer: Vec<u8>,
}

/// The level as zstd has it, but for level 1: log lines share long strings, and looking only for matches of 7 bytes and
/// more finds those in 3 to 6 % less time, with a ratio from 0.4 % worse to 1.5 % better (blocks of 16 to 256 KiB, five
/// kinds of logs). A table of 64 KiB instead of 128 costs at most 0.7 % of ratio, and shares the cache with the router's
/// other work: some 8 % less CPU for all of it where sender and sinks run beside. The window is that of a block: for the
/// line by which blocks are larger, zstd would take the next size, and with it (from a window of 2^19 on) the other of its
/// two ways to compare candidates, which takes a third more time on logs.
fn zstd(level: u8) -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level.into())?;
    if level == 1 {
        compressor.set_parameter(CParameter::MinMatch(7))?;
        compressor.set_parameter(CParameter::HashLog(14))?;
        compressor.set_parameter(CParameter::WindowLog(BLOCK_SIZE.ilog2()))?;
    }
    Ok(compressor)
}

impl Context {
    fn zstd(&mut self, level: u8, plain: &[u8]) -> Bytes {
        let level = level.clamp(*ZSTD_LEVELS.start() as u8, *ZSTD_LEVELS.end() as u8);
        let compressor = match &mut self.zstd {
            Some((same, compressor)) if *same == level => compressor,
            other => &mut other.insert((level, zstd(level).expect("zstd knows levels 1 to 19"))).1,
        };
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, &mut self.buffer).expect("the buffer holds the bound of a frame");
        self.take()
    }

    fn gzip(&mut self, level: u8, plain: &[u8]) -> Bytes {
        let level = level.clamp(*GZIP_LEVELS.start() as u8, *GZIP_LEVELS.end() as u8);
        let compressor = match &mut self.gzip {
            Some((same, compressor)) if *same == level => compressor,
            other => {
                let known = libdeflater::CompressionLvl::new(level.into()).expect("libdeflate knows levels 1 to 12");
                &mut other.insert((level, libdeflater::Compressor::new(known))).1
            }
        };
        self.buffer.resize(compressor.gzip_compress_bound(plain.len()), 0);
        let len = compressor.gzip_compress(plain, &mut self.buffer).expect("the buffer holds the bound of a member");
        self.buffer.truncate(len);
        self.take()
    }

    fn take(&mut self) -> Bytes {
        let bytes = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        bytes
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip(level) => write!(f, "gzip {level}"),
            Self::Zstd(level) => write!(f, "zstd {level}"),
        }
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Compression;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a compression ({ACCEPTED})")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Compression, E> {
        match name {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip(GZIP_DEFAULT)),
            "zstd" => Ok(Compression::Zstd(ZSTD_DEFAULT)),
            _ => Err(E::custom(format!("`{name}` is no compression; {ACCEPTED}"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Compression, A::Error> {
        let Some((name, level)) = map.next_entry::<String, i64>()? else {
            return Err(A::Error::custom(format!("no compression is named; {ACCEPTED}")));
        };
        if let Some(second) = map.next_key::<String>()? {
            return Err(A::Error::custom(format!("`{name}` and `{second}` are two compressions; {ACCEPTED}")));
        }
        match name.as_str() {
            "gzip" if GZIP_LEVELS.contains(&level) => Ok(Compression::Gzip(level as u8)),
            "zstd" if ZSTD_LEVELS.contains(&level) => Ok(Compression::Zstd(level as u8)),
            "gzip" | "zstd" => Err(A::Error::custom(format!("{name} has no level {level}; {ACCEPTED}"))),
            _ => Err(A::Error::custom(format!("`{name}` is no compression with a level; {ACCEPTED}"))),
        }
    }
}

impl JsonSchema for Compression {
    fn schema_name() -> Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let level = |name: &str, levels: std::ops::RangeInclusive<i64>| {
            json_schema!({
                "type": "object",
                "properties": {name: {"type": "integer", "minimum": levels.start(), "maximum": levels.end()}},
                "required": [name],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "zstd, gzip or none; with a level {zstd: 1} to {zstd: 19}, {gzip: 1} to {gzip: 9}",
            "anyOf": [
                {"type": "string", "enum": ["zstd", "gzip", "none"]},
                level("zstd", ZSTD_LEVELS),
                level("gzip", GZIP_LEVELS),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn decompress(compression: Compression, stored: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.extend_from_slice(stored),
            Compression::Gzip(_) => {
                flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut plain).unwrap();
            }
            Compression::Zstd(_) => {
                zstd::stream::read::Decoder::new(stored).unwrap().read_to_end(&mut plain).unwrap();
            }
        }
        plain
    }

    fn any_compression() -> impl Strategy<Value = Compression> {
        prop_oneof![
            Just(Compression::None),
            (1..=9_u8).prop_map(Compression::Gzip),
            (1..=12_u8).prop_map(Compression::Zstd),
            Just(Compression::Zstd(19)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn concatenated_blocks_decode_to_concatenated_lines(
            compression in any_compression(),
            blocks in prop::collection::vec("[a-f\n]{0,2000}", 1..6),
        ) {
            let stored: Vec<u8> = blocks.iter().flat_map(|plain| compression.compress(plain.as_bytes())).collect();
            prop_assert_eq!(decompress(compression, &stored), blocks.concat().into_bytes());
        }
    }

    #[test]
    fn a_thread_may_change_its_level_and_codec() {
        let plain = b"{\"log\":\"the same text again and again\"}\n".repeat(3000);
        for compression in [1, 19, 3, 1].map(Compression::Zstd).into_iter().chain([9, 1].map(Compression::Gzip)) {
            let stored = compression.compress(&plain);
            assert!(stored.len() < plain.len() / 10, "{compression}");
            let again = super::decompress(&stored, plain.len() as u64).expect("a whole block");
            assert_eq!(again, plain, "{compression}");
            assert!(super::decompress(&stored, plain.len() as u64 - 1).is_err(), "{compression}: more than it may be");
            assert!(super::decompress(&stored.slice(..stored.len() - 1), plain.len() as u64).is_err(), "{compression}");
            assert_eq!(decompress(compression, &stored), plain, "{compression}");
        }
    }

    #[test]
    fn frames_tell_their_size_and_keep_the_window_that_java_decoders_take() {
        let stored = Compression::Zstd(19).compress(&vec![b'x'; 20 << 20]);
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&stored).unwrap(), Some(20 << 20));
        // RFC 8878 3.1.1.1: bit 5 is the single-segment flag, bit 2 the checksum flag, the window's byte comes next.
        let descriptor = stored[4];
        assert_eq!(descriptor & 0b10_0100, 0);
        let (exponent, mantissa) = (u64::from(stored[5] >> 3), u64::from(stored[5] & 7));
        let base = 1_u64 << (10 + exponent);
        assert!(base + base / 8 * mantissa <= 8 << 20);
    }

    #[test]
    fn what_is_larger_than_a_window_is_compressed_as_well() {
        let mut rng = fastrand::Rng::with_seed(1);
        let plain: Vec<u8> = (0..3 * BLOCK_SIZE).map(|_| rng.u8(b'a'..b'e')).collect();
        let stored = Compression::Zstd(1).compress(&plain);
        // RFC 8878 3.1.1.1.2: the window's byte comes behind the descriptor of a frame that is no single segment.
        assert_eq!((stored[4] & 0b10_0000, stored[5]), (0, (18 - 10) << 3));
        assert_eq!(super::decompress(&stored, plain.len() as u64).expect("a whole block"), plain);
    }

    #[test]
    fn reads_what_the_config_may_say() {
        let read = |json: &str| serde_json::from_str::<Compression>(json).map_err(|e| e.to_string());
        assert_eq!(read(r#""zstd""#), Ok(Compression::Zstd(1)));
        assert_eq!(read(r#"{"zstd": 3}"#), Ok(Compression::Zstd(3)));
        assert_eq!(read(r#""gzip""#), Ok(Compression::Gzip(6)));
        assert_eq!(read(r#"{"gzip": 9}"#), Ok(Compression::Gzip(9)));
        assert_eq!(read(r#""none""#), Ok(Compression::None));
        for (wrong, what) in [
            (r#""lz4""#, "`lz4` is no compression"),
            (r#"{"zstd": 20}"#, "zstd has no level 20"),
            (r#"{"gzip": 0}"#, "gzip has no level 0"),
            (r#"{"none": 1}"#, "`none` is no compression with a level"),
            (r#"{"zstd": 1, "gzip": 1}"#, "two compressions"),
            ("{}", "no compression is named"),
            ("7", "invalid type"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(what) && error.contains("{zstd: 19}"), "{error}");
        }
    }
}
