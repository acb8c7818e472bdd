//! Compression of a block: a zstd frame or gzip member of its own, with one shared context a thread.

use bytes::Bytes;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 1 to 12.
    Gzip(u8),
    /// zstd, level 1 to 19.
    Zstd(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl Compression {
    /// What follows a key's name: `ndjson.zst`, …; here the last part: `.zst`, `.gz` or nothing.
    pub fn extension(self) -> &'static str {
        todo!()
    }

    /// One frame, member, or the bytes themselves.
    pub fn compress(self, plain: &[u8]) -> Bytes {
        let _ = plain;
        todo!()
    }
}

impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        todo!()
    }
}

impl schemars::JsonSchema for Compression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        todo!()
    }
}
