//! Text as the inside of JSON strings: escaping in wide steps, U+FFFD for what is no UTF-8, base64 for what is no text.
//!
//! The escaped form of a text is unique (only `"`, `\` and characters below U+0020 are escaped, each in one way), so
//! two escaped keys are equal exactly if the keys are.

use crate::record::wide::{BLOCK, STEP, specials_of};

/// What a block may become: six bytes for each (`\u001f`), and a whole store behind the last.
const MOST: usize = 6 * BLOCK + STEP;

/// The escape of each byte in its low six bytes, its length in the highest byte; 0 for bytes that stand as they are.
const ESCAPES: [u64; 256] = escapes();

/// What [`text`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escaped {
    /// UTF-8 bytes of the text before escaping.
    pub(super) len: usize,
    /// Whether bytes that are no UTF-8 became U+FFFD.
    pub(super) replaced: bool,
}

/// Appends text that should be UTF-8, escaped; each sequence that is none becomes one U+FFFD (as the Unicode standard
/// recommends it, "substitution of maximal subparts").
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) -> Escaped {
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
        utf8(bytes, out);
        return Escaped { len: bytes.len(), replaced: false };
    }
    let mut len = 0;
    for chunk in bytes.utf8_chunks() {
        utf8(chunk.valid().as_bytes(), out);
        len += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
            len += '\u{fffd}'.len_utf8();
        }
    }
    Escaped { len, replaced: true }
}

/// Appends UTF-8 text, escaped.
pub(super) fn utf8(bytes: &[u8], out: &mut Vec<u8>) {
    // Most keys and short values have nothing to escape.
    if bytes.len() < BLOCK {
        let mut block = [b' '; BLOCK];
        block[..bytes.len()].copy_from_slice(bytes);
        if specials_of(&block) == 0 {
            return out.extend_from_slice(bytes);
        }
    }
    let mut end = out.len();
    let mut rest = bytes;
    while !rest.is_empty() {
        if out.len() < end + MOST {
            out.resize(end + rest.len() + rest.len() / 4 + MOST, 0);
        }
        let room = out[end..].first_chunk_mut().expect("there is room for a block");
        end += match rest.first_chunk() {
            Some(block) => escape_block(block, BLOCK, room),
            None => {
                // Spaces need no escape.
                let mut block = [b' '; BLOCK + STEP];
                let len = rest.len().min(BLOCK);
                block[..len].copy_from_slice(&rest[..len]);
                escape_block(&block, len, room)
            }
        };
        rest = &rest[rest.len().min(BLOCK)..];
    }
    out.truncate(end);
}

/// Writes the first `len` bytes of a block, escaped; returns how many bytes that took. Copies whole steps and goes on
/// within them: a copy of fixed length costs less than one of few bytes.
#[inline(always)]
fn escape_block(block: &[u8; BLOCK + STEP], len: usize, out: &mut [u8; MOST]) -> usize {
    let mut marks = specials_of(block.first_chunk().expect("a block is no shorter"));
    let (mut run, mut end) = (0, 0);
    loop {
        let at = (marks.trailing_zeros() as usize).min(len);
        let after = end + at - run;
        while end < after {
            out[end..end + STEP].copy_from_slice(&block[run..run + STEP]);
            (run, end) = (run + STEP, end + STEP);
        }
        end = after;
        if at == len {
            return end;
        }
        marks &= marks - 1;
        let escape = ESCAPES[usize::from(block[at])];
        out[end..end + 8].copy_from_slice(&escape.to_le_bytes());
        end += (escape >> 56) as usize;
        run = at + 1;
    }
}

const fn escapes() -> [u64; 256] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        let hex = [b'\\', b'u', b'0', b'0', HEX[byte >> 4], HEX[byte & 15], 0, 6];
        table[byte] = u64::from_le_bytes(hex);
        byte += 1;
    }
    let short: [(u8, u8); 7] = [(b'"', b'"'), (b'\\', b'\\'), (8, b'b'), (9, b't'), (10, b'n'), (12, b'f'), (13, b'r')];
    let mut i = 0;
    while i < short.len() {
        table[short[i].0 as usize] = u64::from_le_bytes([b'\\', short[i].1, 0, 0, 0, 0, 0, 2]);
        i += 1;
    }
    table
}

/// Appends bytes as base64 (RFC 4648 section 4, padded), which needs no escape.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escapes_as_serde_json_does(text in "(?s)[\\x00-\\x7f\u{80}-\u{10ffff}\"\\\\]{0,120}", pad in 0..40usize) {
            let text = "x".repeat(pad) + &text;
            let mut out = vec![b'"'];
            utf8(text.as_bytes(), &mut out);
            out.push(b'"');
            // serde_json escapes the same characters in the same way.
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn replaces_what_is_not_utf8_as_the_standard_library_does(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let lossy = String::from_utf8_lossy(&bytes);
            let (mut out, mut want) = (Vec::new(), Vec::new());
            let escaped = text(&bytes, &mut out);
            utf8(lossy.as_bytes(), &mut want);
            prop_assert_eq!(&out, &want);
            prop_assert_eq!(escaped.len, lossy.len());
            prop_assert_eq!(escaped.replaced, std::str::from_utf8(&bytes).is_err());
        }
    }

    #[test]
    fn escapes_every_byte_at_every_place() {
        for byte in 0..=0x7f_u8 {
            for place in 0..40 {
                let mut text = vec![b'a'; 40];
                text[place] = byte;
                let mut out = Vec::new();
                utf8(&text, &mut out);
                let quoted = format!("\"{}\"", String::from_utf8(out).unwrap());
                assert_eq!(quoted, serde_json::to_string(std::str::from_utf8(&text).unwrap()).unwrap());
            }
        }
    }

    #[test]
    fn writes_the_base64_of_rfc_4648() {
        let text = |bytes: &[u8]| {
            let mut out = Vec::new();
            base64(bytes, &mut out);
            String::from_utf8(out).unwrap()
        };
        let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|s| text(s.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(text(&[0xfb, 0xff]), "+/8=");
    }
}
