//! Templates of names and prefixes: `{field}` and `%Y %m %d %H %M`.

use thiserror::Error;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template;

/// Why a text is no template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} at byte {at}")]
pub struct TemplateError {
    /// Offset in the text.
    pub at: usize,
    /// What was found and what is accepted.
    pub message: String,
}

impl Template {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let _ = text;
        todo!()
    }
}
