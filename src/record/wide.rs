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
    reason = "twice as fast as `by_words`: 185 against 365 ns for the JSON of a log line of 330 bytes"
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
    by_words(step)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn by_words(step: &[u8; STEP]) -> u32 {
    /// All bytes of a word the same.
    const fn splat(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    /// Brings the high bits of all bytes together.
    const GATHER: u64 = 0x0002_0408_1020_4081;
    // Exact, since no sum carries into the next byte.
    let bits = |word: u64| {
        let low = !splat(0x80);
        let differs = |word: u64| ((word & low) + low) | word;
        let control = ((word & low) + splat(0x60)) | word;
        let special = !(control & differs(word ^ splat(b'"')) & differs(word ^ splat(b'\\'))) & splat(0x80);
        (special.wrapping_mul(GATHER) >> 56) as u32
    };
    let [low, high] = *step.as_chunks::<8>().0 else { unreachable!("sixteen bytes are two words") };
    bits(u64::from_le_bytes(low)) | bits(u64::from_le_bytes(high)) << 8
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
                assert_eq!(
                    (specials(&step), by_words(&step)),
                    (one_by_one(&step), one_by_one(&step)),
                    "{byte} at {at}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn both_ways_say_what_a_loop_says(step: [u8; STEP], dense in prop::array::uniform16(0x1e..0x24_u8)) {
            for step in [step, dense] {
                prop_assert_eq!(specials(&step), one_by_one(&step));
                prop_assert_eq!(by_words(&step), one_by_one(&step));
            }
        }
    }
}
