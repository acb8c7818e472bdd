//! Frames built by hand and by `rmpv`, in every mode, whole and in pieces.

use std::io::Write as _;

use proptest::prelude::*;
use rmpv::Value as V;

use super::*;
use crate::record::msgpack::write;

const RECEIVED: UnixNanos = 42;

/// What came out of a stream of bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Tag, time and map of each record.
    pub(crate) records: Vec<(String, UnixNanos, Vec<u8>)>,
    /// Each token, and how many records had come when it was due.
    pub(crate) acks: Vec<(Vec<u8>, usize)>,
    pub(crate) tally: Tally,
    pub(crate) batches: usize,
    pub(crate) error: Option<Malformed>,
    /// Whether the bytes ended in the middle of a frame.
    pub(crate) partial: bool,
}

impl Seen {
    /// Without what depends on how the bytes were cut into reads.
    fn whole(mut self) -> Self {
        self.batches = 0;
        // How much of a frame was known when it was refused.
        if let Some(Malformed::FrameTooLarge { found, .. }) = &mut self.error {
            *found = 0;
        }
        // After an error nothing more is fed.
        self.partial &= self.error.is_none();
        self
    }

    fn times(&self) -> Vec<UnixNanos> {
        self.records.iter().map(|(_, time, _)| *time).collect()
    }
}

fn see(pieces: &[&[u8]]) -> Seen {
    see_within(pieces, 8 << 20, 64 << 20)
}

fn see_within(pieces: &[&[u8]], frame: u64, inflated: u64) -> Seen {
    let mut frames = Frames::new(frame, inflated);
    let (mut buf, mut seen, mut chunk) = (BytesMut::new(), Seen::default(), None);
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match frames.next(&mut buf, RECEIVED) {
                Ok(Some(Found::Chunk(token))) => assert!(chunk.replace(token).is_none(), "chunks do not overlap"),
                Ok(Some(Found::Records(batch))) => {
                    assert!(batch.is_sound(), "{batch:?}");
                    assert!(batch.records.len() <= MAX_RECORDS);
                    seen.batches += 1;
                    for &span in &batch.records {
                        seen.records.push((batch.tag.as_str().into(), span.time, batch.map(span).to_vec()));
                    }
                }
                Ok(Some(Found::Grow(_))) => {}
                Ok(Some(Found::End)) => {
                    seen.acks.push((chunk.take().expect("a chunk is open").into(), seen.records.len()));
                }
                Ok(None) => break,
                Err(error) => {
                    seen.error = Some(error.clone());
                    assert_eq!(frames.next(&mut buf, RECEIVED).err(), Some(error), "errors stay");
                    break;
                }
            }
        }
        if seen.error.is_some() {
            break;
        }
        assert!(frames.wanted(&buf) > 0 || !frames.is_partial(&buf), "a partial frame wants more");
    }
    seen.tally = frames.take_tally();
    seen.partial = frames.is_partial(&buf);
    seen
}

fn bytes(value: &V) -> Vec<u8> {
    let mut out = Vec::new();
    rmpv::encode::write_value(&mut out, value).expect("a Vec takes it");
    out
}

fn map(pairs: &[(&str, &str)]) -> V {
    V::Map(pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect())
}

fn event_time(seconds: u32, nanos: u32) -> V {
    V::Ext(0, [seconds.to_be_bytes(), nanos.to_be_bytes()].concat())
}

fn line(text: &str) -> V {
    map(&[("log", text), ("source", "stdout")])
}

fn entry(text: &str) -> V {
    V::Array(vec![event_time(7, 5), line(text)])
}

fn packed(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| bytes(&entry(text))).collect()
}

fn message(tag: &str, text: &str) -> Vec<u8> {
    bytes(&V::Array(vec![tag.into(), event_time(7, 5), line(text), V::Map(vec![])]))
}

fn option(pairs: Vec<(&str, V)>) -> V {
    V::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("a Vec takes it");
    encoder.finish().expect("a Vec takes it")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 1).expect("a slice can be read")
}

fn frame_of(payload: V, option_pairs: Vec<(&str, V)>) -> Vec<u8> {
    bytes(&V::Array(vec!["t".into(), payload, option(option_pairs)]))
}

fn logs(seen: &Seen) -> Vec<Vec<u8>> {
    seen.records.iter().map(|(_, _, map)| map.clone()).collect()
}

fn maps(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| bytes(&line(text))).collect()
}

#[test]
fn messages_of_one_tag_become_one_batch() {
    let stream = [message("a", "1"), message("a", "2"), message("a", "3"), message("b", "4"), message("b", "5")];
    let seen = see(&[&stream.concat()]);
    assert_eq!(seen.batches, 2);
    assert_eq!(logs(&seen), maps(&["1", "2", "3", "4", "5"]));
    assert_eq!(seen.times(), [7_000_000_005; 5]);
    assert_eq!(seen.records.iter().map(|r| r.0.as_str()).collect::<String>(), "aaabb");
}

#[test]
fn every_mode_gives_the_same_records() {
    let plain = packed(&["1", "2"]);
    let entries = V::Array(vec![entry("1"), entry("2")]);
    let twice = |pack: fn(&[u8]) -> Vec<u8>| [pack(&packed(&["1"])), pack(&packed(&["2"]))].concat();
    let frames = [
        bytes(&V::Array(vec!["t".into(), entries.clone()])),
        frame_of(entries, vec![("size", 2.into())]),
        frame_of(V::Binary(plain.clone()), vec![]),
        frame_of(V::Binary(plain.clone()), vec![("compressed", "text".into())]),
        frame_of(V::Binary(gzip(&plain)), vec![("compressed", "gzip".into())]),
        frame_of(V::Binary(zstd(&plain)), vec![("compressed", "zstd".into())]),
        // The bytes win over what the option says.
        frame_of(V::Binary(gzip(&plain)), vec![("compressed", "zstd".into())]),
        frame_of(V::Binary(zstd(&plain)), vec![]),
        frame_of(V::Binary(plain.clone()), vec![("compressed", "gzip".into())]),
        // Several members.
        frame_of(V::Binary(twice(gzip)), vec![("compressed", "gzip".into())]),
        frame_of(V::Binary(twice(zstd)), vec![("compressed", "zstd".into())]),
    ];
    for frame in frames {
        let seen = see(&[&frame]);
        assert_eq!(logs(&seen), maps(&["1", "2"]), "{frame:x?}");
        assert_eq!(seen.times(), [7_000_000_005; 2]);
        assert_eq!((seen.tally.frames, seen.error), (1, None));
    }
}

#[test]
fn packed_entries_may_be_a_string_that_is_not_utf8() {
    let mut frame = Vec::new();
    write::array(&mut frame, 3);
    write::str(&mut frame, b"t");
    let mut record = vec![0x92, 0x01, 0x81, 0xa3];
    record.extend_from_slice(b"log\xa2\xff\xfe");
    write::str(&mut frame, &record);
    frame.push(0xc0);
    let seen = see(&[&frame]);
    assert_eq!(logs(&seen), [&record[2..]]);
}

#[test]
fn a_frame_asks_for_an_ack_with_its_own_bytes() {
    let as_bin = V::Binary(b"c2".to_vec());
    let stream = [
        message("t", "0"),
        bytes(&V::Array(vec!["t".into(), 1.into(), line("1"), option(vec![("chunk", "c1\n".into())])])),
        frame_of(V::Binary(packed(&["2", "3"])), vec![("chunk", as_bin.clone())]),
        frame_of(V::Binary(gzip(&packed(&["4"]))), vec![("chunk", "c3".into())]),
        frame_of(V::Array(vec![]), vec![("chunk", "c4".into())]),
        frame_of(V::Binary(vec![]), vec![("chunk", "c5".into())]),
        frame_of(V::Array(vec![]), vec![("chunk", V::Nil)]),
        message("t", "5"),
    ];
    let seen = see(&[&stream.concat()]);
    let due = [("c1\n".into(), 2), (as_bin, 4), ("c3".into(), 5), ("c4".into(), 5), ("c5".into(), 5)];
    assert_eq!(seen.acks, due.map(|(token, records)| (bytes(&token), records)));
    assert_eq!(logs(&seen), maps(&["0", "1", "2", "3", "4", "5"]));
    assert_eq!(seen.error, None);
}

#[test]
fn a_frame_of_metrics_is_refused_and_acked() {
    let entries = V::Array(vec![entry("1")]);
    let frame = frame_of(entries.clone(), vec![("fluent_signal", 1.into()), ("chunk", "c".into())]);
    let logs_frame = frame_of(entries, vec![("fluent_signal", 0.into())]);
    let seen = see(&[&[frame.clone(), logs_frame].concat()]);
    assert_eq!(seen.tally.not_logs, (1, frame.len() as u64));
    assert_eq!((seen.records.len(), seen.acks.len()), (1, 1));
}

#[test]
fn what_is_no_record_is_counted_and_the_rest_goes_on() {
    let good = entry("good");
    let start = V::Array(vec![V::Array(vec![event_time(u32::MAX, 0), map(&[])]), map(&[("resource", "x")])]);
    let v2 = V::Array(vec![V::Array(vec![event_time(7, 5), map(&[])]), line("v2")]);
    let entries = vec![
        good.clone(),
        V::Array(vec![1.into(), "no map".into()]),
        V::Array(vec![1.into(), V::Array(vec![])]),
        V::Array(vec![1.into()]),
        V::Nil,
        "no entry".into(),
        start,
        v2,
        V::Array(vec![V::Nil, line("no time")]),
        V::Array(vec![1.into(), line("more"), 1.into(), "ignored".into()]),
        good,
    ];
    let packed: Vec<u8> = entries.iter().flat_map(bytes).collect();
    for payload in [V::Array(entries), V::Binary(packed.clone()), V::Binary(zstd(&packed))] {
        let seen = see(&[&frame_of(payload, vec![])]);
        assert_eq!(logs(&seen), maps(&["good", "v2", "no time", "more", "good"]));
        assert_eq!(seen.times(), [7_000_000_005, 7_000_000_005, RECEIVED, 1_000_000_000, 7_000_000_005]);
        let expected = Tally {
            frames: 1,
            times_replaced: 1,
            group_markers: 1,
            not_a_map: (2, 8),
            not_an_entry: (3, 2 + 1 + 9),
            excerpts: seen.tally.excerpts.clone(),
            ..Tally::default()
        };
        let excerpts = seen.tally.excerpts.iter().map(|(reason, excerpt)| (*reason, excerpt.len));
        let refused =
            [("not_a_map", 7), ("not_a_map", 1), ("not_an_entry", 2), ("not_an_entry", 1), ("not_an_entry", 9)];
        assert_eq!(excerpts.collect::<Vec<_>>(), refused);
        assert_eq!((seen.tally, seen.error), (expected, None));
    }
}

#[test]
fn heartbeats_between_frames_mean_nothing() {
    let stream = [&[0xc0][..], &message("t", "1"), &[0xc0, 0xc0], &message("t", "2"), &[0xc0]].concat();
    let seen = see(&[&stream]);
    assert_eq!((logs(&seen), seen.tally.heartbeats, seen.partial), (maps(&["1", "2"]), 4, false));
}

#[test]
fn what_was_whole_before_bad_bytes_is_kept() {
    let good = message("t", "1");
    let cut = [packed(&["2", "3"]), vec![0x92, 0x01]].concat();
    let broken_gzip = {
        let mut gzip = gzip(&packed(&["2", "3"]));
        let end = gzip.len() - 6;
        gzip[end] ^= 0xff;
        gzip
    };
    for (bad, reason, kept) in [
        (vec![0xc1], "malformed_msgpack", 1),
        (b"GET / HTTP/1.1\r\n".to_vec(), "not_a_frame", 1),
        (b"{\"tag\":1}".to_vec(), "not_a_frame", 1),
        (vec![0x90], "short_frame", 1),
        (vec![0x91, 0xa1, b't'], "short_frame", 1),
        (vec![0x92, 0xa1, b't', 0x01], "short_frame", 1),
        (vec![0x93, 0x01], "tag_not_a_string", 1),
        (vec![0x93, 0xc0], "tag_not_a_string", 1),
        (vec![0x94, 0xa1, b't', 0x01, 0x81, 0xa1, b'k', 0xc1], "malformed_msgpack", 1),
        (bytes(&V::Array(vec!["x".repeat(65536).into(), 1.into(), line("x")])), "tag_too_long", 1),
        (frame_of(V::Binary(cut.clone()), vec![]), "cut_entries", 3),
        (frame_of(V::Binary(gzip(&cut)), vec![]), "cut_entries", 3),
        (frame_of(V::Binary(broken_gzip), vec![]), "bad_compression", 3),
        (frame_of(V::Binary(packed(&["2"])), vec![("compressed", "lz4".into())]), "unknown_compression", 1),
        (frame_of(V::Array(vec![]), vec![("chunk", "x".repeat(2000).into())]), "chunk_too_long", 1),
    ] {
        let seen = see(&[&[good.clone(), bad.clone()].concat()]);
        assert_eq!(seen.error.as_ref().map(Malformed::reason), Some(reason), "{bad:x?}");
        assert_eq!((seen.records.len(), seen.acks.len()), (kept, 0), "{reason}");
    }
}

#[test]
fn a_frame_above_the_bound_is_refused_before_its_bytes_come() {
    let bound = 1 << 20;
    for start in [
        // An array of 4 billion.
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0x92, 0xa1, b't', 0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0x93, 0xa1, b't', 0x01, 0xdf, 0xff, 0xff, 0xff, 0xff],
        // A payload, a tag and a record of 2 MiB.
        vec![0x92, 0xa1, b't', 0xc6, 0, 0x20, 0, 0],
        vec![0x92, 0xdb, 0, 0x20, 0, 0],
        vec![0x93, 0xa1, b't', 0x01, 0x81, 0xa1, b'k', 0xdb, 0, 0x20, 0, 0],
    ] {
        let seen = see_within(&[&start], bound, bound);
        assert_eq!(seen.error.as_ref().map(Malformed::reason), Some("frame_too_large"), "{start:x?}");
    }
    let text = "x".repeat(bound as usize);
    assert!(matches!(see_within(&[&message("t", &text)], bound, bound).error, Some(Malformed::FrameTooLarge { .. })));
    let at_bound = message("t", &text[..1000]);
    assert_eq!(see_within(&[&at_bound], at_bound.len() as u64, bound).records.len(), 1);
    assert!(see_within(&[&at_bound], at_bound.len() as u64 - 1, bound).error.is_some());
}

#[test]
fn bombs_end_the_connection_after_what_came_before() {
    let records = packed(&["x".repeat(500).as_str()]).repeat(1000);
    let bomb = [records.clone(), vec![0u8; 4 << 20]].concat();
    for pack in [gzip, zstd] {
        let frame = frame_of(V::Binary(pack(&bomb)), vec![("chunk", "c".into())]);
        assert!(frame.len() < 64 << 10);
        let seen = see_within(&[&frame], 1 << 20, 1 << 20);
        assert_eq!(seen.error, Some(Malformed::Bomb { bound: 1 << 20 }));
        assert_eq!(seen.records.len(), 1000);
        assert_eq!(seen.acks, []);
    }
}

#[test]
fn a_frame_that_inflates_to_what_are_no_records_ends_before_it_takes_long() {
    let records = packed(&["1", "2"]);
    let frame = frame_of(V::Binary(zstd(&[records, vec![0u8; 4 << 20]].concat())), vec![]);
    let seen = see_within(&[&frame], 1 << 20, 64 << 20);
    assert_eq!((seen.records.len(), seen.error.as_ref().map(Malformed::reason)), (2, Some("no_entries")));
}

#[test]
fn a_zstd_frame_that_declares_a_huge_window_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("a level");
    encoder.window_log(27).expect("a window");
    encoder.write_all(&packed(&["1"])).expect("a Vec takes it");
    let frame = frame_of(V::Binary(encoder.finish().expect("a Vec takes it")), vec![]);
    assert_eq!(see(&[&frame]).error.as_ref().map(Malformed::reason), Some("bad_compression"));
}

#[test]
fn an_entry_may_be_larger_than_a_window_but_not_than_a_frame() {
    let large = packed(&["x".repeat(700_000).as_str(), "2"]);
    let frame = frame_of(V::Binary(zstd(&large)), vec![]);
    let seen = see(&[&frame]);
    assert_eq!((seen.records.len(), seen.error), (2, None));
    let seen = see_within(&[&frame], 300_000, 8 << 20);
    assert_eq!(seen.error.as_ref().map(Malformed::reason), Some("frame_too_large"));
}

#[test]
fn nesting_of_10_000_levels_ends_the_connection_without_recursion_to_match() {
    for marker in [0x91u8, 0x81] {
        let deep = vec![marker; 10_000];
        let frame = [&[0x93, 0xa1, b't', 0x01, 0x81, 0xa1, b'k'][..], &deep].concat();
        assert_eq!(see(&[&frame]).error.as_ref().map(Malformed::reason), Some("too_deep"));
        let frame = frame_of(V::Binary([&[0x92, 0x01, 0x81, 0xa1, b'k'][..], &deep].concat()), vec![]);
        assert_eq!(see(&[&frame]).error.as_ref().map(Malformed::reason), Some("too_deep"));
    }
}

#[test]
fn tags_are_data() {
    for tag in ["../../etc/passwd", "a\0b", "", &"x".repeat(4000)] {
        let seen = see(&[&message(tag, "1")]);
        assert_eq!(seen.records[0].0, tag);
    }
}

#[test]
fn a_frame_of_tiny_records_is_cut_into_batches() {
    let count = 3 * MAX_RECORDS + 1;
    let seen = see(&[&frame_of(V::Binary([0x92, 0x01, 0x80].repeat(count)), vec![("chunk", "c".into())])]);
    assert_eq!((seen.records.len(), seen.batches), (count, 4));
    assert_eq!(seen.acks[0].1, count);
}

/// A stream with frames of every mode, some good, some odd.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let record = prop_oneof![
        4 => "[a-z]{0,40}".prop_map(|text| line(&text)),
        1 => any::<u8>().prop_map(V::from),
        1 => Just(V::Map(vec![("nested".into(), V::Array(vec![map(&[("a", "b")]), V::Nil]))])),
    ];
    let time = prop_oneof![
        4 => any::<(u32, u32)>().prop_map(|(s, n)| event_time(s, n)),
        1 => any::<u64>().prop_map(V::from),
        1 => any::<f64>().prop_map(V::from),
        1 => Just(V::Nil),
        1 => any::<(u32, u32)>().prop_map(|(s, n)| V::Array(vec![event_time(s, n), map(&[("m", "x")])])),
    ];
    let entries = prop::collection::vec((time.clone(), record.clone()), 0..6)
        .prop_map(|entries| entries.into_iter().map(|(time, record)| V::Array(vec![time, record])).collect::<Vec<_>>());
    let options = prop_oneof![
        2 => Just(None),
        1 => Just(Some(V::Nil)),
        1 => "[a-z]{1,8}".prop_map(|chunk| Some(option(vec![("size", 1.into()), ("chunk", chunk.into())]))),
    ];
    let frame =
        ("[ab]", 0..5u8, time, record, entries, options).prop_map(|(tag, mode, time, record, entries, option)| {
            let packed = || entries.iter().flat_map(bytes).collect::<Vec<u8>>();
            let mut frame: Vec<V> = vec![tag.into()];
            match mode {
                0 if !time.is_array() => frame.extend([time, record]),
                1 => frame.push(V::Binary(packed())),
                2 => frame.push(V::Binary(gzip(&packed()))),
                3 => frame.push(V::Binary(zstd(&packed()))),
                _ => frame.push(V::Array(entries)),
            }
            frame.extend(option);
            bytes(&V::Array(frame))
        });
    prop::collection::vec(frame, 1..8).prop_map(|frames| frames.concat())
}

/// Cuts a stream at the given places.
fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_records(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = see(&[&stream]).whole();
        prop_assert_eq!(&whole.error, &None);
        prop_assert_eq!(&see(&cut(&stream, &cuts)).whole(), &whole);
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(see(&bytewise).whole(), whole);
    }

    #[test]
    fn a_stream_that_is_cut_or_changed_anywhere_gives_the_same_in_any_split(
        mut stream in stream(),
        at in any::<prop::sample::Index>(),
        flip in any::<u8>(),
        end in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let at = at.index(stream.len());
        stream[at] ^= flip;
        stream.truncate(end.index(stream.len() + 1));
        let bound = 1 << 16;
        let whole = see_within(&[&stream], bound, bound).whole();
        prop_assert_eq!(see_within(&cut(&stream, &cuts), bound, bound).whole(), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        see_within(&[&bytes], 1 << 16, 1 << 16);
        let framed = [&[0x93, 0xa1, b't'][..], &bytes].concat();
        see_within(&[&framed], 1 << 16, 1 << 16);
    }
}

#[test]
fn a_frame_truncated_at_every_offset_waits_for_the_rest() {
    let frame = frame_of(V::Array(vec![entry("1"), entry("2")]), vec![("chunk", "c".into())]);
    for end in 1..frame.len() {
        let seen = see(&[&frame[..end]]);
        assert_eq!((seen.records.len(), seen.error, seen.partial), (0, None, true), "cut at {end}");
        assert_eq!(see(&[&frame[..end], &frame[end..]]).records.len(), 2);
    }
}

#[test]
fn a_frame_of_long_records_is_cut_into_batches_of_bounded_length() {
    let record = [&[0x92, 0x01, 0x81, 0xa1, b'k', 0xc5, 0xff, 0xff][..], &[b'x'; 65_535]].concat();
    let entries = record.repeat(100);
    let head = [&[0x92, 0xa1, b't', 0xc6], &(entries.len() as u32).to_be_bytes()[..]].concat();
    let mut buf = BytesMut::from(&[head, entries].concat()[..]);
    let (mut frames, mut records) = (Frames::new(64 << 20, 64 << 20), 0);
    while let Some(found) = frames.next(&mut buf, 0).expect("it is well formed") {
        if let Found::Records(batch) = found {
            let len: u64 = batch.records.iter().map(|span| u64::from(span.len)).sum();
            assert!(len <= (MAX_BYTES + record.len()) as u64, "{len}");
            records += batch.records.len();
        }
    }
    assert_eq!(records, 100);
}
