//! What a sink writes of a record, for people to read: its line or its events, and what happened to them on the way.

use crate::config::plan::SinkKind;
use crate::encode::entries::{MAX_MESSAGE, entries};
use crate::encode::{Encoder, Notes};
use crate::record::Record;
use crate::record::json::unescape;
use crate::terminal::harmless;

/// Characters of a text that are shown.
const SHOWN: usize = 2000;

/// Each text, and what there is to say of them.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) texts: Vec<String>,
    pub(crate) remarks: Vec<&'static str>,
}

impl Written {
    /// What a sink of this kind writes.
    pub(crate) fn by(kind: &SinkKind, record: &Record<'_>) -> Self {
        let (mut encoder, mut out) = (kind.encoder(), Vec::new());
        let notes = encoder.encode(record, &mut out);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (texts, too_long) = match encoder {
            Encoder::Ndjson(_) if out.is_empty() => (Vec::new(), false),
            Encoder::Ndjson(_) => (vec![text(out.trim_ascii_end())], false),
            Encoder::Entries(_) => (
                entries(&out).map(|entry| text(&unescape(entry.escaped))).collect(),
                entries(&out).any(|entry| entry.message_len as usize > MAX_MESSAGE),
            ),
        };
        Self { texts, remarks: remarks(notes, too_long) }
    }
}

fn remarks(notes: Notes, too_long: bool) -> Vec<&'static str> {
    let Notes { invalid_utf8: _, duplicate_keys, not_finite: _, malformed, truncated, split } = notes;
    let all = [
        (malformed > 0, "it is nested too deeply to be written: it is dropped, and counted as `malformed`"),
        (duplicate_keys > 0, "keys that stood twice, or were `time` or `tag`, were dropped or renamed"),
        (split > 0, "it is longer than an event of CloudWatch Logs may be, and split"),
        (truncated > 0, "it is longer than an event of CloudWatch Logs may be, and cut"),
        (too_long, "it is longer than an event of CloudWatch Logs may be: it goes to the dead letters"),
    ];
    all.into_iter().filter_map(|(holds, remark)| holds.then_some(remark)).collect()
}

/// A text of a record, not longer than is read.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => harmless(text),
        Some((end, _)) => format!("{} … ({} bytes in all)", harmless(&text[..end]), text.len()),
    }
}
