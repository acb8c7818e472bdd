//! Text as the inside of JSON strings: escaping in wide steps, U+FFFD for what is no UTF-8, base64 for what is no text.
//!
//! The escaped form of a text is unique (only `"`, `\` and characters below U+0020 are escaped, each in one way), so
//! two escaped keys are equal exactly if the keys are.

/// Bytes that the scan looks at in one step; the loop over them is one that compilers turn into vector instructions.
const STEP: usize = 32;
/// The longest escape, `\u001f`.
const LONGEST: usize = 6;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = !HIGH;

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
    // Most text is ASCII to its end: then the one pass that looks for escapes is all it takes.
    let ascii = escape::<true>(bytes, out);
    let rest = &bytes[ascii..];
    if std::str::from_utf8(rest).is_ok() {
        utf8(rest, out);
        return Escaped { len: bytes.len(), replaced: false };
    }
    let mut len = ascii;
    for chunk in rest.utf8_chunks() {
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
    escape::<false>(bytes, out);
}

/// Escapes all bytes, or, if asked, up to the step that holds the first one that is not ASCII; returns how many.
#[inline]
fn escape<const ASCII_ONLY: bool>(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    out.reserve(bytes.len());
    let mut clean = 0; // where the run of bytes begins that need no escape and are not written yet
    let mut pos = 0;
    while let Some(step) = bytes[pos..].first_chunk::<STEP>() {
        if stops::<ASCII_ONLY>(step) {
            out.extend_from_slice(&bytes[clean..pos]);
            if ASCII_ONLY && !step.is_ascii() {
                return pos;
            }
            escape_step(step, out);
            clean = pos + STEP;
        }
        pos += STEP;
    }
    out.extend_from_slice(&bytes[clean..pos]);
    let tail = &bytes[pos..];
    if !tail.is_empty() {
        // Spaces need no escape; they are cut off again.
        let mut step = [b' '; STEP];
        step[..tail.len()].copy_from_slice(tail);
        if !stops::<ASCII_ONLY>(&step) {
            out.extend_from_slice(tail);
        } else if ASCII_ONLY && !step.is_ascii() {
            return pos;
        } else {
            escape_step(&step, out);
            out.truncate(out.len() - (STEP - tail.len()));
        }
    }
    bytes.len()
}

/// Whether a byte needs an escape, or, if asked, is not ASCII.
#[inline(always)]
fn stops<const ASCII_ONLY: bool>(step: &[u8; STEP]) -> bool {
    // As signed numbers, control characters and what is not ASCII are both below the space.
    let low = |b: u8| if ASCII_ONLY { (b as i8) < 0x20 } else { b < 0x20 };
    step.iter().fold(false, |found, &b| found | low(b) | (b == b'"') | (b == b'\\'))
}

/// Writes eight bytes at a time into a buffer on the stack: a store of fixed length costs less than a copy of few bytes.
fn escape_step(step: &[u8; STEP], out: &mut Vec<u8>) {
    let mut buf = [0; STEP * LONGEST + 8];
    let mut end = 0;
    let mut store = |at: usize, word: u64| buf[at..at + 8].copy_from_slice(&word.to_le_bytes());
    for word in step.as_chunks::<8>().0 {
        let mut word = u64::from_le_bytes(*word);
        let mut mask = special(word);
        let mut left = 8;
        while mask != 0 {
            store(end, word);
            let before = (mask.trailing_zeros() / 8) as usize;
            end += before;
            let escape = ESCAPES[(word >> (8 * before)) as u8 as usize];
            store(end, escape);
            end += (escape >> 56) as usize;
            // Two shifts: together they may be 64, which one must not be.
            word = (word >> (8 * before)) >> 8;
            mask = (mask >> (8 * before)) >> 8;
            left -= before + 1;
        }
        store(end, word);
        end += left;
    }
    out.extend_from_slice(&buf[..end]);
}

/// The high bit of each byte that needs an escape; exact, since no sum carries into the next byte.
const fn special(word: u64) -> u64 {
    let control = ((word & LOW) + 0x60 * ONES) | word;
    let quote = word ^ (b'"' as u64 * ONES);
    let quote = ((quote & LOW) + LOW) | quote;
    let slash = word ^ (b'\\' as u64 * ONES);
    let slash = ((slash & LOW) + LOW) | slash;
    !(control & quote & slash) & HIGH
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
