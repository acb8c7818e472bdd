//! Docker's parts in every order, and what never comes whole.

use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::config::value::{Size, Span};
use crate::record::msgpack::write;
use crate::record::{Outcome, Ticket};

const SECOND: Duration = Duration::from_secs(1);

fn record(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, pairs.len() as u32);
    for (key, value) in pairs {
        write::str(&mut out, key.as_bytes());
        write::str(&mut out, value.as_bytes());
    }
    out
}

fn part(id: &str, ordinal: u32, last: bool, log: &str) -> Vec<u8> {
    part_of("stdout", id, ordinal, last, log)
}

fn part_of(source: &str, id: &str, ordinal: u32, last: bool, log: &str) -> Vec<u8> {
    record(&[
        ("partial_last", if last { "true" } else { "false" }),
        ("container_id", "c1"),
        ("partial_id", id),
        ("log", log),
        ("partial_message", "true"),
        ("source", source),
        ("partial_ordinal", &ordinal.to_string()),
    ])
}

fn line(log: &str) -> Vec<u8> {
    line_of("stdout", log)
}

fn line_of(source: &str, log: &str) -> Vec<u8> {
    record(&[("container_id", "c1"), ("log", log), ("source", source)])
}

fn plain(log: &str) -> Vec<u8> {
    record(&[("log", log)])
}

/// A batch of these maps, at times 1, 2, 3, …
fn batch(maps: &[Vec<u8>]) -> RecordBatch {
    let mut data = Vec::new();
    let mut records = Vec::new();
    for (map, time) in maps.iter().zip(1..) {
        // Something between the records, as in Message mode.
        data.push(0x94);
        records.push(RecordSpan { time, start: data.len() as u32, len: map.len() as u32 });
        data.extend_from_slice(map);
    }
    RecordBatch { tag: "t".into(), data: data.into(), records, received: 99, tickets: Tickets::none() }
}

/// A joiner, what it gave, and what it was given.
struct Bench {
    joiner: Joiner,
    out: Vec<RecordBatch>,
}

impl Bench {
    fn new() -> Self {
        Self::with(JoinConfig::default())
    }

    fn with(config: JoinConfig) -> Self {
        Self { joiner: Joiner::new(&config), out: Vec::new() }
    }

    fn join(&mut self, maps: &[Vec<u8>]) -> &mut Self {
        self.join_at(maps, Duration::ZERO)
    }

    fn join_at(&mut self, maps: &[Vec<u8>], now: Moment) -> &mut Self {
        self.joiner.join(batch(maps), now, &mut |batch| self.out.push(batch));
        self
    }

    fn expire(&mut self, now: Moment) -> &mut Self {
        self.joiner.expire(now, &mut |batch| self.out.push(batch));
        self
    }

    fn flush(&mut self) -> &mut Self {
        self.joiner.flush(&mut |batch| self.out.push(batch));
        self
    }

    /// The maps that came out since the last call.
    fn maps(&mut self) -> Vec<Vec<u8>> {
        let out = std::mem::take(&mut self.out);
        assert!(out.iter().all(RecordBatch::is_sound));
        out.iter().flat_map(|batch| batch.records.iter().map(|&span| batch.map(span).to_vec())).collect()
    }

    fn is_empty(&self) -> bool {
        assert_eq!(self.joiner.lines.len(), self.joiner.ages.len());
        assert_eq!(self.joiner.used, self.joiner.lines.values().map(Line::cost).sum::<usize>());
        self.joiner.lines.is_empty()
    }
}

#[test]
fn a_batch_without_parts_passes_untouched() {
    let mut bench = Bench::new();
    let given = batch(&[plain("1"), plain("2")]);
    bench.joiner.join(given.clone(), SECOND, &mut |batch| bench.out.push(batch));
    assert_eq!(bench.out.len(), 1);
    assert_eq!((bench.out[0].data.as_ptr(), &bench.out[0].records), (given.data.as_ptr(), &given.records));
}

#[test]
fn parts_become_one_record_with_the_first_part_s_time_and_keys() {
    let mut bench = Bench::new();
    bench.join(&[part("a", 1, false, "one "), part("a", 2, false, "two "), part("a", 3, true, "three")]);
    assert_eq!((bench.out[0].records[0].time, bench.out[0].received), (1, 99));
    assert_eq!(bench.maps(), [line("one two three")]);
    assert!(bench.is_empty());
    assert_eq!(bench.joiner.counts(), JoinCounts { parts: 3, joined: 1, ..JoinCounts::default() });
}

#[test]
fn other_records_keep_their_order_around_the_joined_one() {
    let mut bench = Bench::new();
    bench.join(&[plain("1"), part("a", 1, false, "x"), plain("2"), part("a", 2, true, "y"), plain("3"), plain("4")]);
    assert_eq!(bench.maps(), [plain("1"), plain("2"), line("xy"), plain("3"), plain("4")]);
}

#[test]
fn parts_come_in_any_order_and_any_number_of_batches() {
    let mut bench = Bench::new();
    for map in [part("a", 3, true, "3"), part("a", 1, false, "1"), part("a", 2, false, "2")] {
        assert_eq!(bench.maps(), Vec::<Vec<u8>>::new());
        bench.join(&[map]);
    }
    assert_eq!(bench.maps(), [line("123")]);
}

#[test]
fn lines_of_both_streams_and_of_several_ids_do_not_mix() {
    let mut bench = Bench::new();
    bench.join(&[
        part_of("stdout", "a", 1, false, "out "),
        part_of("stderr", "a", 1, false, "err "),
        part_of("stdout", "b", 1, false, "b "),
        part_of("stdout", "b", 2, true, "end"),
        part_of("stderr", "a", 2, true, "end"),
        part_of("stdout", "a", 2, true, "end"),
    ]);
    assert_eq!(bench.maps(), [line("b end"), line_of("stderr", "err end"), line("out end")]);
}

#[test]
fn a_single_part_and_an_empty_last_part_are_whole() {
    let mut bench = Bench::new();
    bench.join(&[part("a", 1, true, "short"), part("b", 1, false, "full"), part("b", 2, true, "")]);
    assert_eq!(bench.maps(), [line("short"), line("full")]);
    bench.join(&[part("c", 1, true, "")]);
    assert_eq!(bench.maps(), [line("")]);
}

#[test]
fn a_tail_without_its_last_part_is_let_go_in_time() {
    let mut bench = Bench::new();
    bench.join_at(&[part("a", 1, false, "the ")], SECOND);
    bench.join_at(&[part("a", 2, false, "tail")], 2 * SECOND);
    assert_eq!(bench.joiner.next_deadline(), Some(4 * SECOND));
    assert_eq!(bench.expire(3 * SECOND).maps(), Vec::<Vec<u8>>::new());
    assert_eq!(bench.expire(4 * SECOND).maps(), [line("the tail")]);
    assert!(bench.is_empty());
    assert_eq!((bench.joiner.next_deadline(), bench.joiner.counts().timeout), (None, 1));
}

#[test]
fn a_line_with_holes_is_let_go_with_what_is_there() {
    let mut bench = Bench::new();
    bench.join(&[part("a", 4, true, "4"), part("a", 2, false, "2")]);
    assert_eq!(bench.out.len(), 0);
    assert_eq!(bench.flush().maps(), [line("24")]);
    assert_eq!(bench.joiner.counts().flushed, 1);
}

#[test]
fn a_line_ends_at_its_bound_and_what_follows_begins_another_record() {
    let mut bench = Bench::with(JoinConfig { max_line: Size(10), ..JoinConfig::default() });
    bench.join(&[
        part("a", 1, false, "12345"),
        part("a", 2, false, "67890"),
        part("a", 3, false, "abc"),
        part("a", 4, true, "def"),
    ]);
    assert_eq!(bench.maps(), [line("1234567890"), line("abcdef")]);
    assert!(bench.is_empty());
    // A part above the bound stays whole; the empty last part is no record of its own.
    bench.join(&[part("b", 1, false, "123456789012"), part("b", 2, false, "x"), part("b", 3, true, "")]);
    assert_eq!(bench.maps(), [line("123456789012"), line("x")]);
    bench.join(&[part("c", 1, false, "1234567890"), part("c", 2, false, "x")]).join(&[part("c", 1, false, "late")]);
    assert_eq!(bench.maps(), [line("1234567890"), part("c", 1, false, "late")]);
    assert_eq!(bench.flush().maps(), [line("x")]);
    assert_eq!(bench.joiner.counts().max_line, 3);
}

#[test]
fn the_longest_waiting_lines_make_room() {
    let text = "x".repeat(1000);
    let mut bench = Bench::with(JoinConfig { buffer: Size(10_000), ..JoinConfig::default() });
    for n in 0..100 {
        bench.join_at(&[part(&n.to_string(), 1, false, &text)], n * Duration::from_millis(1));
        assert!(bench.joiner.used() <= 10_000);
    }
    let held = bench.joiner.lines.len();
    assert!((2..10).contains(&held), "{held}");
    assert_eq!(bench.maps().len(), 100 - held);
    assert_eq!(bench.joiner.counts().buffer, 100 - held as u64);
    assert_eq!(bench.flush().maps().len(), held);
}

#[test]
fn a_part_that_was_repeated_is_not_repeated() {
    let mut bench = Bench::new();
    bench.join(&[
        part("a", 1, false, "1"),
        part("a", 1, false, "1"),
        part("a", 1, false, "other"),
        part("a", 2, true, "2"),
    ]);
    assert_eq!(bench.maps(), [part("a", 1, false, "other"), line("12")]);
    assert_eq!(bench.joiner.counts().duplicate, 1);
}

#[test]
fn what_cannot_be_placed_passes_as_it_is() {
    let odd = [
        record(&[("partial_message", "true"), ("log", "no id")]),
        record(&[("partial_message", "true"), ("partial_id", "a"), ("log", "no ordinal")]),
        record(&[("partial_message", "true"), ("partial_id", "a"), ("partial_ordinal", "x"), ("log", "bad ordinal")]),
        record(&[("partial_message", "true"), ("partial_id", "a"), ("partial_ordinal", "1"), ("no", "log")]),
        record(&[("partial_message", "false"), ("partial_id", "a"), ("partial_ordinal", "1"), ("log", "x")]),
        record(&[("log", "talks about partial_message")]),
        part("a", 0, true, "ordinal 0"),
    ];
    let mut bench = Bench::new();
    assert_eq!(bench.join(&odd).maps(), odd);
    let mut off = Bench::with(JoinConfig { enabled: false, ..JoinConfig::default() });
    assert_eq!(off.join(&[part("a", 1, false, "x")]).maps(), [part("a", 1, false, "x")]);
}

#[test]
fn a_joined_record_holds_the_tickets_of_all_its_parts() {
    let (tx, rx) = mpsc::channel();
    let ticket = |name: &'static str| {
        let tx = tx.clone();
        Tickets::from(Ticket::new(move |outcome| tx.send((name, outcome)).expect("the test listens")))
    };
    let mut bench = Bench::new();
    for (n, name) in [(1, "first"), (2, "second")] {
        let mut batch = batch(&[part("a", n, n == 2, "x")]);
        batch.tickets = ticket(name);
        bench.joiner.join(batch, SECOND, &mut |batch| bench.out.push(batch));
        assert_eq!(rx.try_iter().count(), 0, "the part waits");
    }
    bench.out.pop().expect("one record").tickets.settle(Outcome::Dropped);
    let mut settled: Vec<_> = rx.try_iter().collect();
    settled.sort_unstable();
    assert_eq!(settled, [("first", Outcome::Dropped), ("second", Outcome::Dropped)]);

    let mut batch = batch(&[part("b", 1, false, "x")]);
    batch.tickets = ticket("never flushed");
    bench.joiner.join(batch, SECOND, &mut |_| panic!("it waits"));
    drop(bench);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [("never flushed", Outcome::Lost)]);
}

#[test]
fn config_values_are_the_designs() {
    let config = JoinConfig::default();
    assert_eq!((config.max_line, config.buffer, config.timeout), (Size::mib(1), Size::mib(4), Span::secs(2)));
}

proptest! {
    /// Lines of many ids, cut into parts, shuffled among other records: each text comes out once, in any batching.
    #[test]
    fn every_text_comes_out_once(
        lines in prop::collection::vec(prop::collection::vec("[a-z]{0,9}", 1..6), 1..8),
        others in prop::collection::vec("[A-Z]{1,5}", 0..8),
        seed in any::<u64>(),
        size in 1..10usize,
    ) {
        let mut given = Vec::new();
        for (id, parts) in lines.iter().enumerate() {
            for (index, text) in parts.iter().enumerate() {
                given.push(part(&id.to_string(), index as u32 + 1, index + 1 == parts.len(), text));
            }
        }
        given.extend(others.iter().map(|text| plain(text)));
        fastrand::Rng::with_seed(seed).shuffle(&mut given);
        let in_order: Vec<_> = given.iter().filter(|map| others.iter().any(|text| **map == plain(text))).cloned().collect();
        let mut bench = Bench::new();
        given.chunks(size).for_each(|maps| { bench.join(maps); });
        prop_assert!(bench.is_empty());
        let mut maps = bench.maps();
        let passed: Vec<_> = maps.extract_if(.., |map| others.iter().any(|text| *map == plain(text))).collect();
        prop_assert_eq!(passed, in_order);
        let mut expected: Vec<_> = lines.iter().map(|parts| line(&parts.concat())).collect();
        maps.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(maps, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..60),
        at in any::<prop::sample::Index>(),
        flip in any::<u8>(),
    ) {
        let mut changed = part("a", 1, false, "text");
        let at = at.index(changed.len());
        changed[at] ^= flip;
        let mut bench = Bench::new();
        bench.join(&[[b"partial_message", &bytes[..]].concat(), changed, part("a", 2, true, "end")]).flush();
    }
}

#[test]
fn a_part_with_an_id_that_no_docker_gives_passes_as_it_is() {
    let long = part(&"x".repeat(300), 1, false, "line");
    let mut joiner = Joiner::new(&JoinConfig::default());
    let mut out = Vec::new();
    joiner.join(batch(std::slice::from_ref(&long)), Duration::ZERO, &mut |batch| out.push(batch));
    assert_eq!((out.len(), joiner.used()), (1, 0), "its id would be memory that no bound sees");
}
