//! The msgpack writer's few words: for acks, handshakes, joined records, benches and tests.

use crate::record::UnixNanos;

/// A boolean.
pub fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(0xc2 | u8::from(value));
}

/// Header of an array.
pub fn array(out: &mut Vec<u8>, len: u32) {
    header(out, len, 0x90, 0xdc);
}

/// Header of a map.
pub fn map(out: &mut Vec<u8>, len: u32) {
    header(out, len, 0x80, 0xde);
}

fn header(out: &mut Vec<u8>, len: u32, fix: u8, wide: u8) {
    match len {
        0..=15 => out.push(fix | len as u8),
        16..=0xffff => {
            out.push(wide);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(wide + 1);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// A string; its bytes need not be UTF-8.
pub fn str(out: &mut Vec<u8>, bytes: &[u8]) {
    str_header(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The header of a string of so many bytes, which the caller writes behind it.
pub fn str_header(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=31 => out.push(0xa0 | len as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// The Forward protocol's time: seconds and nanoseconds, unsigned 32 bits each.
pub fn event_time(out: &mut Vec<u8>, time: UnixNanos) {
    let (seconds, nanos) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&(seconds as u32).to_be_bytes());
    out.extend_from_slice(&(nanos as u32).to_be_bytes());
}

/// A non-negative integer in its shortest form.
pub fn uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
