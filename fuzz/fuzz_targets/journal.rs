//! Any bytes as a journal, and as entries whose lengths and checksums are right: no panic, and what is replayed is the
//! whole entries at the front.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir::encode::checksum;
use logweir::spool::disk::journal::replay;

fn check(bytes: &[u8]) {
    let (entries, whole) = replay(bytes);
    assert!(whole <= bytes.len());
    assert_eq!(replay(&bytes[..whole]), (entries, whole));
    assert_eq!(replay(&bytes[whole..]), (Vec::new(), 0));
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The first byte of each piece is its length.
    let (mut journal, mut rest) = (Vec::new(), bytes);
    while let Some((&len, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(usize::from(len).min(behind.len()));
        journal.extend((payload.len() as u32).to_le_bytes());
        journal.extend(checksum(payload).to_le_bytes());
        journal.extend(payload);
        rest = behind;
    }
    check(&journal);
});
