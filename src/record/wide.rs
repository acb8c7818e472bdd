//! Text in steps of sixteen bytes: which of them may not stand in a JSON string as they are.
//!
//! On x86-64 that is a handful of SSE2 instructions, which every such processor has, so that nothing needs to be
//! detected; elsewhere it is two words of eight bytes. Both give the same answer, to which tests hold them; the fuzz target
//! `encoder` holds what is made of it to serde_json. The only file with `unsafe`.

/// Bytes that are looked at together.
pub(crate) const STEP: usize = 16;

/// A bit for each byte, the first in the lowest: quotes, backslashes and what is below U+0020.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(
    unsafe_code,
    reason = "twice as fast as `words::specials`: 185 against 365 ns for the JSON of a log line of 330 bytes"
)]
pub(crate) fn specials(step: &[u8; STEP]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86-64, and the one load is of the sixteen bytes that `step` borrows, at any alignment.
    unsafe {
        let bytes = _mm_loadu_si128(step.as_ptr().cast());
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
    }
}

/// A bit for each byte, the first in the lowest: quotes, backslashes and what is below U+0020.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn specials(step: &[u8; STEP]) -> u32 {
    words::specials(step)
}

/// The same in words of eight bytes, for processors without SSE2.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    use super::STEP;

    /// All but the highest bit of each byte.
    const LOW: u64 = !splat(0x80);

    /// All bytes of a word the same.
    const fn splat(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }

    /// The highest bit of each byte that is another one. Exact, since no sum carries into the next byte.
    fn differs(word: u64, byte: u8) -> u64 {
        let word = word ^ splat(byte);
        ((word & LOW) + LOW) | word
    }

    /// A bit for each byte whose highest bit is not set in what `others` makes of it.
    fn bits(step: &[u8; STEP], others: impl Fn(u64) -> u64) -> u32 {
        /// Brings the highest bits of all bytes together.
        const GATHER: u64 = 0x0002_0408_1020_4081;
        let bits = |word| ((!others(u64::from_le_bytes(word)) & !LOW).wrapping_mul(GATHER) >> 56) as u32;
        let [low, high] = *step.as_chunks::<8>().0 else { unreachable!("sixteen bytes are two words") };
        bits(low) | bits(high) << 8
    }

    /// The highest bit of each byte that is no control character.
    fn no_control(word: u64) -> u64 {
        ((word & LOW) + splat(0x60)) | word
    }

    pub(super) fn specials(step: &[u8; STEP]) -> u32 {
        bits(step, |word| no_control(word) & differs(word, b'"') & differs(word, b'\\'))
    }

    pub(super) fn look(step: &[u8; STEP]) -> super::Look {
        super::Look {
            quotes: bits(step, |word| differs(word, b'"')),
            odd: bits(step, |word| no_control(word) & differs(word, b'\\')),
            high: bits(step, |word| !word),
        }
    }
}

/// Bytes whose marks fill a word.
pub(crate) const BLOCK: usize = 4 * STEP;

/// The [`specials`] of a block.
#[inline(always)]
pub(crate) fn specials_of(block: &[u8; BLOCK]) -> u64 {
    let (steps, _) = block.as_chunks();
    steps.iter().rev().fold(0, |word, step| word << STEP | u64::from(specials(step)))
}

/// What a text has beside quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// A backslash, or something below U+0020.
    pub(crate) odd: bool,
    /// Nothing but ASCII.
    pub(crate) ascii: bool,
}

/// Marks the quotes of a text, a word for each of its blocks, the first byte in the lowest bit.
pub(crate) fn mark_quotes(text: &[u8], marks: &mut Vec<u64>) -> Seen {
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    marks.clear();
    marks.reserve(blocks.len() + 1);
    let (mut odd, mut high) = (0, 0);
    let mut mark = |block: &[u8; BLOCK]| {
        let mut word = 0;
        for (n, step) in block.as_chunks::<STEP>().0.iter().enumerate() {
            let found = look(step);
            word |= u64::from(found.quotes) << (n * STEP);
            odd |= found.odd;
            high |= found.high;
        }
        marks.push(word);
    };
    blocks.iter().for_each(&mut mark);
    if !tail.is_empty() {
        // Spaces are nothing special.
        let mut block = [b' '; BLOCK];
        block[..tail.len()].copy_from_slice(tail);
        mark(&block);
    }
    Seen { odd: odd != 0, ascii: high == 0 }
}

/// A bit for each byte of a step, the first in the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    quotes: u32,
    /// Backslashes and what is below U+0020.
    odd: u32,
    /// What is beyond ASCII.
    high: u32,
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "a third of the instructions of `words::look`")]
fn look(step: &[u8; STEP]) -> Look {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: as for `specials`.
    unsafe {
        let bytes = _mm_loadu_si128(step.as_ptr().cast());
        let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
        Look {
            quotes: _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8))) as u32,
            odd: _mm_movemask_epi8(_mm_or_si128(slash, control)) as u32,
            high: _mm_movemask_epi8(bytes) as u32,
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn look(step: &[u8; STEP]) -> Look {
    words::look(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(step: &[u8; STEP]) -> u32 {
        let bit = |(at, byte): (usize, &u8)| u32::from(matches!(byte, b'"' | b'\\' | 0..0x20)) << at;
        step.iter().enumerate().map(bit).sum()
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..STEP {
                let mut step = [b'a'; STEP];
                step[at] = byte;
                let want = one_by_one(&step);
                assert_eq!([specials(&step), words::specials(&step)], [want; 2], "{byte} at {at}");
                let bit = |is: bool| u32::from(is) << at;
                let odd = bit(byte == b'\\' || byte < 0x20);
                let want = Look { quotes: bit(byte == b'"'), odd, high: bit(byte >= 0x80) };
                assert_eq!([look(&step), words::look(&step)], [want; 2], "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn both_ways_say_what_a_loop_says(step: [u8; STEP], dense in prop::array::uniform16(0x1e..0x24_u8)) {
            for step in [step, dense] {
                prop_assert_eq!(specials(&step), one_by_one(&step));
                prop_assert_eq!(words::specials(&step), one_by_one(&step));
                prop_assert_eq!(words::look(&step), look(&step));
            }
        }

        #[test]
        fn marks_every_quote_of_a_text(bytes in prop::collection::vec(prop_oneof![0x20..0x80_u8, 0x1e..0x24_u8, any::<u8>()], 0..200)) {
            let mut marks = vec![7; 3];
            let seen = mark_quotes(&bytes, &mut marks);
            let want: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'"').collect();
            let marked = |at: &usize| marks[at / BLOCK] >> (at % BLOCK) & 1 == 1;
            prop_assert_eq!((0..marks.len() * BLOCK).filter(marked).collect::<Vec<_>>(), want);
            let odd = bytes.iter().any(|byte| *byte == b'\\' || *byte < 0x20);
            prop_assert_eq!(seen, Seen { odd, ascii: bytes.is_ascii() });
        }
    }
}
