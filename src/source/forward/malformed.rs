//! What ends a connection: bytes that no reading makes sense of, and bounds that a peer has overrun.

use thiserror::Error;

use crate::record::msgpack;

/// Why a connection's bytes cannot be read on. What was complete before them has been taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Not even msgpack.
    #[error("malformed msgpack: {0}")]
    Msgpack(#[from] msgpack::Error),
    /// The top-level value is no array.
    #[error("expected a forward frame (a msgpack array), found {0:?}; is the peer speaking another protocol?")]
    NotAFrame(msgpack::Kind),
    /// The first bytes of a TLS handshake, where none is expected.
    #[error("the peer speaks TLS, and this address does not; listen on tls://, or switch TLS off at the peer")]
    Tls,
    /// The frame has too few elements to be any mode.
    #[error("a frame of {0} elements; a tag and entries, or a tag, a time and a record, are needed")]
    Short(u32),
    /// The first element is no string.
    #[error("the tag is no string but {0:?}")]
    Tag(msgpack::Kind),
    /// The tag is longer than any real one.
    #[error("a tag of {0} bytes; at most {max} are accepted", max = super::MAX_TAG)]
    TagTooLong(usize),
    /// The frame is, or declares to be, longer than the bound.
    #[error("a frame of at least {found} bytes; `limits.frame` is {bound}")]
    FrameTooLarge {
        /// What is known of its length.
        found: u64,
        /// The bound.
        bound: u64,
    },
    /// The chunk token is longer than any real one.
    #[error("a chunk token of {0} bytes; at most {max} are accepted", max = super::MAX_CHUNK)]
    ChunkTooLong(usize),
    /// Packed entries end in the middle of one.
    #[error("packed entries end in the middle of an entry")]
    CutEntries,
    /// The option names a compression that is not known, and the bytes do not show one.
    #[error("unknown compression {0:?}; gzip, zstd and text are accepted")]
    Compression(String),
    /// The compressed bytes are broken.
    #[error("compressed entries cannot be inflated: {0}")]
    Inflate(String),
    /// The compressed bytes hold hardly any records.
    #[error("{0} values in one frame that are no records")]
    NoEntries(u64),
    /// The compressed bytes inflate to more than the bound.
    #[error("compressed entries inflate to more than `limits.inflated`, {bound} bytes")]
    Bomb {
        /// The bound.
        bound: u64,
    },
}

impl Malformed {
    /// A Prometheus label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Msgpack(msgpack::Error::TooDeep) => "too_deep",
            Self::Msgpack(_) => "malformed_msgpack",
            Self::NotAFrame(_) => "not_a_frame",
            Self::Tls => "tls_on_plain",
            Self::Short(_) => "short_frame",
            Self::Tag(_) => "tag_not_a_string",
            Self::TagTooLong(_) => "tag_too_long",
            Self::FrameTooLarge { .. } => "frame_too_large",
            Self::ChunkTooLong(_) => "chunk_too_long",
            Self::CutEntries => "cut_entries",
            Self::Compression(_) => "unknown_compression",
            Self::Inflate(_) => "bad_compression",
            Self::NoEntries(_) => "no_entries",
            Self::Bomb { .. } => "inflated_too_large",
        }
    }
}
