//! A Forward tag, and what FireLens puts into it: `<container>-firelens-<task id>`.

use std::sync::Arc;

use memchr::memmem;

const FIRELENS: &str = "-firelens-";

/// A tag, shared by the records that carry it. Bytes that are not UTF-8 have become U+FFFD.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Arc<Inner>);

#[derive(PartialEq, Eq, Hash)]
struct Inner {
    text: Box<str>,
    /// Where the last `-firelens-` begins.
    split: Option<usize>,
}

impl Tag {
    /// A tag from the bytes of a frame.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let text: Box<str> = String::from_utf8_lossy(bytes).into();
        let split = memmem::rfind(text.as_bytes(), FIRELENS.as_bytes());
        Self(Arc::new(Inner { text, split }))
    }

    /// The whole tag.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The container's name in a FireLens tag, else empty.
    pub fn container(&self) -> &str {
        self.0.split.map_or("", |at| &self.0.text[..at])
    }

    /// The task's id in a FireLens tag, else empty.
    pub fn task_id(&self) -> &str {
        self.0.split.map_or("", |at| &self.0.text[at + FIRELENS.len()..])
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tag({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_firelens_tag_at_its_last_marker() {
        let tag = Tag::from("app-firelens-x-firelens-0123");
        assert_eq!((tag.container(), tag.task_id()), ("app-firelens-x", "0123"));
        let plain = Tag::from("nginx.access");
        assert_eq!((plain.container(), plain.task_id()), ("", ""));
    }

    #[test]
    fn replaces_what_is_not_utf8() {
        assert_eq!(Tag::from_bytes(b"a\xffb").as_str(), "a\u{fffd}b");
    }
}
