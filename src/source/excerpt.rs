//! The beginning of bytes that make no record: for people who want to know what their sender sent.

/// The beginning of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// At most [`Excerpt::MAX`] of them.
    pub bytes: Box<[u8]>,
    /// How many there were, as far as they were read.
    pub len: u64,
}

impl Excerpt {
    /// Enough to recognise a protocol or a bug of a sender, and more than most records have.
    pub const MAX: usize = 64 << 10;

    /// The beginning of these.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes[..bytes.len().min(Self::MAX)].into(), len: bytes.len() as u64 }
    }
}
