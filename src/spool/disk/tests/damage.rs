//! What a disk does to a spool that no crash explains: bits that change, reads that fail. What is damaged is lost and
//! told; all else comes back, and the segment is kept for people to look at.

use rustix::io::Errno;

use super::rig::{block, open};
use crate::encode::Count;
use crate::spool::disk::files::Directory;
use crate::spool::disk::frame::{MAGIC, PREAMBLE};
use crate::spool::disk::sim::{Crash, Disk};
use crate::spool::disk::{Commit, Ended, Location, Store, segment};

const SIZE: u16 = 40;

/// Five blocks in one segment; where they are.
fn five(disk: &Disk) -> (Store, Vec<Location>) {
    let (mut store, _) = open(disk);
    let blocks = (0..5).map(|sequence| block(sequence, SIZE, sequence)).collect();
    let done = store.commit(Commit { blocks, ..Commit::default() });
    assert_eq!((done.locations.len(), store.segments()), (5, 1));
    (store, done.locations)
}

fn end(store: &mut Store, sequences: &[u64]) {
    let ended =
        |sequence: &u64| Ended { segment: 0, sequence: *sequence, count: block(*sequence, SIZE, *sequence).meta.count };
    let ended = sequences.iter().map(ended).collect();
    let done = store.commit(Commit { ended, ..Commit::default() });
    assert!(done.journal_error.is_none());
}

fn refill_all(store: &mut Store) -> Vec<u64> {
    let mut sequences = Vec::new();
    while store.is_cold() {
        let refill = store.refill(1).expect("no read fails");
        assert_eq!(refill.lost, Count::default());
        for stored in refill.blocks {
            assert!(stored.location.read().is_some());
            sequences.push(stored.sequence);
        }
    }
    sequences
}

#[test]
fn a_damaged_block_is_stepped_over_and_its_segment_kept() {
    let disk = Disk::new(1);
    let (store, locations) = five(&disk);
    drop(store);
    let damaged = usize::try_from(locations[2].offset).expect("small");
    disk.rot(&segment::name(0), damaged);
    disk.restart(Crash::Process);
    let (mut store, recovered) = open(&disk);
    assert_eq!((recovered.blocks, recovered.damaged, recovered.torn), (4, SIZE.into(), 0));
    assert_eq!(refill_all(&mut store), [0, 1, 3, 4]);
    end(&mut store, &[0, 1, 3, 4]);
    let names = disk.names().expect("no read fails");
    assert!(names.contains(&format!("{}{}", segment::name(0), segment::DAMAGED)), "{names:?}");
}

#[test]
fn a_damaged_header_of_a_delivered_block_hides_no_other_block() {
    let disk = Disk::new(1);
    let (mut store, _) = five(&disk);
    end(&mut store, &[0, 1]);
    drop(store);
    disk.rot(&segment::name(0), MAGIC.len() + PREAMBLE);
    disk.restart(Crash::Process);
    let (mut store, recovered) = open(&disk);
    assert_eq!(recovered.blocks, 3);
    assert_eq!(refill_all(&mut store), [2, 3, 4]);
}

#[test]
fn a_block_that_rots_while_it_waits_is_noticed_when_it_is_read() {
    let disk = Disk::new(1);
    let (mut store, locations) = five(&disk);
    disk.rot(&segment::name(0), usize::try_from(locations[4].offset).expect("small") + 7);
    assert!(locations[3].read().is_some());
    assert!(locations[4].read().is_none());
    end(&mut store, &[0, 1, 2, 3, 4]);
    store.close().expect("no fault is set");
    let names = disk.names().expect("no read fails");
    assert!(names.contains(&format!("{}{}", segment::name(0), segment::DAMAGED)), "{names:?}");
}

#[test]
fn reading_back_is_tried_again_before_a_segment_is_given_up() {
    let disk = Disk::new(1);
    let (store, _) = five(&disk);
    drop(store);
    disk.restart(Crash::Process);
    let (mut store, recovered) = open(&disk);
    disk.fail_reads(2);
    for _ in 0..2 {
        store.refill(9).expect_err("reads fail");
    }
    assert_eq!(store.refill(2).expect("reads work again").blocks.len(), 2);

    disk.fail_reads(99);
    for _ in 0..3 {
        store.refill(9).expect_err("reads fail");
    }
    let given_up = store.refill(9).expect("it was tried often enough");
    assert_eq!((given_up.blocks.len(), given_up.lost_blocks), (0, 3));
    assert!(!store.is_cold() && given_up.lost.records < recovered.waiting.records);
}

#[test]
fn remains_of_a_failed_write_do_not_hide_the_one_that_was_confirmed() {
    let mut remains = 0;
    for seed in 0..100 {
        let disk = Disk::new(seed);
        let (mut store, _) = open(&disk);
        let blocks = |from, to| (from..to).map(|sequence| block(sequence, SIZE, sequence)).collect();
        assert_eq!(store.commit(Commit { blocks: blocks(0, 1), ..Commit::default() }).locations.len(), 1);
        // Two blocks are written to the same segment, then comes the sync.
        disk.fail(disk.operations() + 3, Errno::IO);
        assert!(store.commit(Commit { blocks: blocks(1, 3), ..Commit::default() }).error.is_some());
        assert_eq!(store.commit(Commit { blocks: blocks(1, 3), ..Commit::default() }).locations.len(), 2);
        drop(store);
        disk.restart(Crash::Machine);
        let (mut store, recovered) = open(&disk);
        remains += u32::from(recovered.torn + recovered.damaged > 0);
        assert_eq!(refill_all(&mut store), [0, 1, 2], "seed {seed}");
    }
    assert!(remains > 0, "the disk kept parts of the first writing at least once");
}
