//! The encoders against a reference: rmpv reads the record, serde_json reads what was written.

use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use rmpv::Value as Pack;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::entries::{CUT_MARK, EntryEncoder, MAX_MESSAGE, Message, Oversize, entries};
use super::ndjson::{LogJson, NdjsonEncoder};
use super::{Encoder, Fields, Notes};
use crate::record::msgpack::{Reader, write};
use crate::record::{EcsMetadata, Record, Tag, UnixNanos};

/// The members of a JSON object in their order, equal keys included.
#[derive(Debug, PartialEq)]
struct Pairs(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Pairs {
    /// The last of equal keys stands, at its own place.
    fn push(&mut self, key: String, value: Json, notes: &mut Notes) {
        if let Some(earlier) = self.0.iter().position(|(k, _)| *k == key) {
            self.0.remove(earlier);
            notes.duplicate_keys += 1;
        }
        self.0.push((key, value));
    }
}

fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let text: String = bits
        .as_bytes()
        .chunks(6)
        .map(|six| {
            let six = format!("{:0<6}", std::str::from_utf8(six).unwrap());
            digits[usize::from_str_radix(&six, 2).unwrap()] as char
        })
        .collect();
    format!("{text:=<0$}", text.len().div_ceil(4) * 4)
}

fn moment(seconds: i128, nanos: i128) -> Option<String> {
    let time = seconds * 1_000_000_000 + nanos;
    (nanos < 1_000_000_000 && i64::try_from(time).is_ok())
        .then(|| format!("{:.9}", jiff::Timestamp::from_nanosecond(time).unwrap()))
}

fn ext(kind: i8, data: &[u8]) -> Json {
    let number = |bytes: &[u8]| bytes.iter().fold(0_i128, |sum, &b| sum << 8 | i128::from(b));
    let time = match (kind, data.len()) {
        (0, 8) => moment(number(&data[..4]), number(&data[4..])),
        (-1, 4) => moment(number(data), 0),
        (-1, 8) => moment(number(data) & 0x3_ffff_ffff, number(data) >> 34),
        (-1, 12) => moment(i128::from(number(&data[4..]) as i64), number(&data[..4])),
        _ => None,
    };
    time.map_or_else(|| serde_json::json!({"type": kind, "data": base64(data)}), Json::String)
}

fn text(bytes: &[u8], notes: &mut Notes) -> String {
    notes.invalid_utf8 += u64::from(std::str::from_utf8(bytes).is_err());
    String::from_utf8_lossy(bytes).into_owned()
}

fn float(value: f64, notes: &mut Notes) -> Json {
    notes.not_finite += u64::from(!value.is_finite());
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn json(value: &Pack, notes: &mut Notes) -> Json {
    json_in(value, false, notes)
}

fn json_in(value: &Pack, in_key: bool, notes: &mut Notes) -> Json {
    match value {
        Pack::Nil => Json::Null,
        Pack::Boolean(b) => (*b).into(),
        Pack::Integer(n) => n.as_u64().map_or_else(|| n.as_i64().unwrap().into(), Json::from),
        Pack::F32(n) if n.is_finite() => serde_json::from_str(&serde_json::to_string(n).unwrap()).unwrap(),
        Pack::F32(n) => float((*n).into(), notes),
        Pack::F64(n) => float(*n, notes),
        Pack::String(s) => text(s.as_bytes(), notes).into(),
        Pack::Binary(b) => String::from_utf8(b.clone()).unwrap_or_else(|_| base64(b)).into(),
        Pack::Array(items) => items.iter().map(|item| json_in(item, in_key, notes)).collect(),
        Pack::Map(pairs) => {
            let mut object = Pairs(Vec::new());
            for (key, value) in pairs {
                let key = key_text(key, in_key, notes);
                let value = json_in(value, in_key, notes);
                object.push(key, value, notes);
            }
            Json::Object(object.0.into_iter().collect::<Map<_, _>>())
        }
        Pack::Ext(kind, data) => ext(*kind, data),
    }
}

fn key_text(key: &Pack, in_key: bool, notes: &mut Notes) -> String {
    if in_key && matches!(key, Pack::Array(_) | Pack::Map(_)) {
        let mut packed = Vec::new();
        pack(key, &mut packed);
        return base64(&packed);
    }
    match json_in(key, true, notes) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn embedded(value: &Pack) -> Option<Pairs> {
    let bytes = match value {
        Pack::String(s) => s.as_bytes(),
        Pack::Binary(b) => b,
        _ => return None,
    };
    serde_json::from_slice(bytes).ok()
}

/// What a line must hold, and what must be noted.
fn line(record: &Record<'_>, pairs: &[(Pack, Pack)], mode: LogJson) -> (Pairs, Notes) {
    let (mut line, mut notes) = (Pairs(Vec::new()), Notes::default());
    let time = moment(0, 0).map(|_| format!("{:.9}", jiff::Timestamp::from_nanosecond(record.time.into()).unwrap()));
    line.0.push(("time".into(), time.into()));
    line.0.push(("tag".into(), record.tag.as_str().into()));
    let push = |line: &mut Pairs, notes: &mut Notes, key: String, value: Json| {
        let renamed = key == "time" || key == "tag";
        notes.duplicate_keys += u64::from(renamed);
        line.push(if renamed { format!("record_{key}") } else { key }, value, notes);
    };
    let mut lifted = None;
    for (key, value) in pairs {
        let key = key_text(key, false, &mut notes);
        let found = embedded(value).filter(|_| key == "log" && mode != LogJson::Raw);
        let is_log = key == "log";
        let value = match &found {
            None => json(value, &mut notes),
            Some(found) => Json::Object(found.0.iter().cloned().collect()),
        };
        push(&mut line, &mut notes, key, value);
        if is_log {
            lifted = found;
        }
    }
    if let Some(members) = lifted.filter(|_| mode == LogJson::Lift) {
        line.0.retain(|(key, _)| key != "log");
        for (key, value) in members.0 {
            push(&mut line, &mut notes, key, value);
        }
    }
    for (key, value) in record.ecs.iter().flat_map(|ecs| ecs.fields()) {
        if !value.is_empty() && line.0.iter().all(|(k, _)| k != key) {
            line.0.push((key.into(), value.into()));
        }
    }
    (line, notes)
}

fn any_json() -> impl Strategy<Value = Json> + Clone {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1e30..1e30).prop_map(Json::from),
        "(?s).{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((any_key_text(), inner), 0..5)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_key_text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        prop::sample::select(vec!["time", "tag", "log", "a", "b", "ecs_cluster", "record_tag", "1", "null", "a\"b\n"])
            .prop_map(String::from),
        "[a-d]{0,2}",
        "(?s).{0,5}",
    ]
}

/// Texts of `log`: JSON objects in one line or several, what is nearly one, and anything.
fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let object = prop::collection::vec((any_key_text(), any_json()), 0..6)
        .prop_map(|pairs| Json::Object(pairs.into_iter().collect()));
    // Equal keys, which no tree holds.
    let pairs = prop::collection::vec((any_key_text(), any_json()), 0..6).prop_map(|pairs| {
        let members: Vec<String> = pairs.iter().map(|(k, v)| format!("{} :\r\n{v}", Json::from(k.as_str()))).collect();
        format!(" {{{}}}\n", members.join(",\t"))
    });
    let text = prop_oneof![
        object.clone().prop_map(|json| json.to_string()),
        object.clone().prop_map(|json| serde_json::to_string_pretty(&json).unwrap()),
        pairs,
        (object, 0..100_usize).prop_map(|(json, cut)| json.to_string().chars().take(cut).collect()),
        any_json().prop_map(|json| json.to_string()),
        "(?s)[{\"].{0,40}",
    ];
    prop_oneof![6 => text.prop_map(String::into_bytes), 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn str_of(bytes: Vec<u8>) -> Pack {
    // rmpv makes a str of bytes that are no UTF-8 only when it reads one.
    let mut packed = Vec::new();
    write::str(&mut packed, &bytes);
    rmpv::decode::read_value(&mut packed.as_slice()).unwrap()
}

fn any_pack() -> impl Strategy<Value = Pack> {
    let leaf = prop_oneof![
        Just(Pack::Nil),
        any::<bool>().prop_map(Pack::from),
        any::<i64>().prop_map(Pack::from),
        any::<u64>().prop_map(Pack::from),
        (-200..300_i64).prop_map(Pack::from),
        // Beyond these the exponent of an f32 is written where an f64 has none; see the test of all floats.
        (-1e5..1e5_f32).prop_map(Pack::F32),
        any::<f64>().prop_map(Pack::F64),
        Just(Pack::F64(f64::NAN)),
        Just(Pack::F32(f32::INFINITY)),
        any_key_text().prop_map(Pack::from),
        "(?s).{0,60}".prop_map(Pack::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(str_of),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Pack::Binary),
        "[a-c]{0,2}".prop_map(|text| Pack::Binary(text.into())),
        (any::<i8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Pack::Ext(kind, data)),
        (0..=1_i8, prop::sample::select(vec![4, 8, 12]), any::<[u8; 12]>())
            .prop_map(|(kind, len, data)| Pack::Ext(-kind, data[..len].to_vec())),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Pack::Array),
            prop::collection::vec((inner.clone(), inner), 0..6).prop_map(Pack::Map),
        ]
    })
}

fn any_pairs() -> impl Strategy<Value = Vec<(Pack, Pack)>> {
    let pair = prop_oneof![
        4 => (any_key_text().prop_map(Pack::from), any_pack()),
        3 => (Just(Pack::from("log")), any_log().prop_map(str_of)),
        1 => (any_pack(), any_pack()),
        1 => (Just(Pack::Binary(b"log".to_vec())), any_log().prop_map(Pack::Binary)),
    ];
    prop_oneof![4 => prop::collection::vec(pair.clone(), 0..8), 1 => prop::collection::vec(pair, 30..60)]
}

/// rmpv writes a str that is no UTF-8 as bin; senders do not.
fn pack(value: &Pack, out: &mut Vec<u8>) {
    match value {
        Pack::String(text) => write::str(out, text.as_bytes()),
        Pack::Array(items) => {
            write::array(out, items.len() as u32);
            items.iter().for_each(|item| pack(item, out));
        }
        Pack::Map(pairs) => {
            write::map(out, pairs.len() as u32);
            for (key, value) in pairs {
                pack(key, out);
                pack(value, out);
            }
        }
        other => rmpv::encode::write_value(out, other).unwrap(),
    }
}

fn packed(pairs: &[(Pack, Pack)]) -> Vec<u8> {
    let mut map = Vec::new();
    pack(&Pack::Map(pairs.to_vec()), &mut map);
    map
}

fn record<'a>(tag: &'a Tag, time: UnixNanos, map: &'a [u8], ecs: Option<&'a Arc<EcsMetadata>>) -> Record<'a> {
    Record { tag, source: "forward", time, received: time, map, ecs, json: Default::default() }
}

fn ecs() -> Arc<EcsMetadata> {
    Arc::new(EcsMetadata { cluster: "prod".into(), task_arn: "arn:aws:ecs:x".into(), task_definition: String::new() })
}

const MODES: [LogJson; 3] = [LogJson::Nest, LogJson::Lift, LogJson::Raw];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_line_says_what_the_reference_says(
        pairs in any_pairs(), tag in "(?s).{0,20}", time in any::<i64>(), with_ecs in any::<bool>(),
    ) {
        let (tag, map, ecs) = (Tag::from(tag.as_str()), packed(&pairs), ecs());
        let record = record(&tag, time, &map, with_ecs.then_some(&ecs));
        for mode in MODES {
            let mut out = b"before\n".to_vec();
            let notes = NdjsonEncoder::new(mode).encode(&record, &mut out);
            let text = out.strip_prefix(b"before\n").unwrap();
            prop_assert!(text.ends_with(b"\n") && !text[..text.len() - 1].iter().any(|b| matches!(b, b'\n' | b'\r')));
            let shown = String::from_utf8_lossy(text).into_owned();
            let got: Pairs = serde_json::from_slice(text)
                .map_err(|e| TestCaseError::fail(format!("{mode:?}: {e}: {shown}")))?;
            let (want, want_notes) = line(&record, &pairs, mode);
            prop_assert_eq!(got, want, "{:?}: {}", mode, shown);
            prop_assert_eq!(notes, want_notes, "{:?}: {}", mode, shown);
        }
    }

    #[test]
    fn floats_have_the_fewest_digits_of_their_width(short in any::<f32>(), long in any::<f64>()) {
        let pairs = [(Pack::from("s"), Pack::F32(short)), (Pack::from("l"), Pack::F64(long))];
        let line = encoded(LogJson::Nest, &packed(&pairs));
        let [short, long] = [serde_json::to_string(&short).unwrap(), serde_json::to_string(&long).unwrap()];
        prop_assert!(line.ends_with(&format!("\"s\":{short},\"l\":{long}}}\n")), "{line}");
    }

    #[test]
    fn a_used_encoder_writes_what_a_new_one_writes(records in prop::collection::vec(any_pairs(), 1..6)) {
        let tag = Tag::from("app");
        for mode in MODES {
            let mut used = NdjsonEncoder::new(mode);
            // Each twice: pairs that came before are written from memory.
            for pairs in records.iter().flat_map(|pairs| [pairs, pairs]) {
                let map = packed(pairs);
                let (mut got, mut want) = (Vec::new(), Vec::new());
                // A record that breaks off in the middle leaves nothing behind.
                let mut broken = Vec::new();
                let cut = record(&tag, 0, &map[..map.len() - 1], None);
                prop_assert_eq!(used.encode(&cut, &mut broken).malformed, 1);
                prop_assert!(broken.is_empty());
                let notes = used.encode(&record(&tag, 0, &map, None), &mut got);
                let fresh = NdjsonEncoder::new(mode).encode(&record(&tag, 0, &map, None), &mut want);
                prop_assert_eq!((got, notes), (want, fresh));
            }
        }
    }

    #[test]
    fn fields_that_are_left_out_are_as_if_they_had_never_been_there(
        pairs in any_pairs(), chosen in prop::collection::vec(any::<bool>(), 16), keep: bool,
    ) {
        let bytes = |key: &Pack| match key {
            Pack::String(text) => Some(text.as_bytes().to_vec()),
            Pack::Binary(bytes) => Some(bytes.clone()),
            _ => None,
        };
        let renamed = |key: String| if matches!(&*key, "time" | "tag") { format!("record_{key}") } else { key };
        let texts = pairs.iter().filter_map(|(key, _)| String::from_utf8(bytes(key)?).ok().map(renamed));
        let mut names: Vec<String> = texts.zip(&chosen).filter(|(_, chosen)| **chosen).map(|(key, _)| key).collect();
        names.push("no such field".into());
        names.sort();
        names.dedup();
        names.retain(|name| !name.is_empty());
        let named = |key: &Pack| {
            bytes(key).and_then(|key| String::from_utf8(key).ok()).map(renamed).is_some_and(|key| names.contains(&key))
        };
        let left: Vec<_> = pairs.iter().filter(|(key, _)| named(key) == keep).cloned().collect();
        let fields: Fields = serde_json::from_value(serde_json::json!({if keep { "keep" } else { "drop" }: names})).unwrap();
        let (tag, all, left) = (Tag::from("app"), packed(&pairs), packed(&left));
        for mode in MODES {
            let (mut got, mut want) = (Vec::new(), Vec::new());
            let notes = NdjsonEncoder::new(mode).with_fields(&fields).encode(&record(&tag, 0, &all, None), &mut got);
            let expected = NdjsonEncoder::new(mode).encode(&record(&tag, 0, &left, None), &mut want);
            prop_assert_eq!((String::from_utf8(got), notes), (String::from_utf8(want), expected));
        }
    }

    #[test]
    fn any_bytes_give_a_valid_line_or_nothing(
        map in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            (any_pairs(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(pairs, at, byte)| {
                let mut map = packed(&pairs);
                let at = at.index(map.len());
                map[at] = byte;
                map
            }),
        ],
    ) {
        let tag = Tag::from("app");
        let record = record(&tag, 0, &map, None);
        let whole = Reader::new(&map).skip().is_ok() && matches!(map[0], 0x80..=0x8f | 0xde | 0xdf);
        for mode in MODES {
            let mut out = Vec::new();
            let notes = Encoder::Ndjson(NdjsonEncoder::new(mode)).encode(&record, &mut out);
            prop_assert_eq!(notes.malformed, u64::from(!whole));
            if whole {
                prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
                prop_assert!(serde_json::from_slice::<Pairs>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
            } else {
                prop_assert!(out.is_empty());
            }
        }
        for message in [Message::Record, Message::Log] {
            let mut out = Vec::new();
            let notes = Encoder::Entries(EntryEncoder::new(message)).encode(&record, &mut out);
            prop_assert_eq!((notes.malformed, entries(&out).count()), (u64::from(!whole), usize::from(whole)));
        }
    }

    #[test]
    fn entries_hold_the_messages_of_their_records(
        records in prop::collection::vec((any_pairs(), any::<i64>()), 1..5), message in prop_oneof![
            Just(Message::Record), Just(Message::Log)
        ], cut in any::<prop::sample::Index>(),
    ) {
        let tag = Tag::from("app");
        let (mut encoder, mut block, mut want) = (EntryEncoder::new(message), Vec::new(), Vec::new());
        for (pairs, time) in &records {
            let map = packed(pairs);
            let record = record(&tag, *time, &map, None);
            encoder.encode(&record, &mut block);
            let log = pairs.iter().rev().find(|(k, _)| matches!(k, Pack::String(_) | Pack::Binary(_))
                && key_text(k, false, &mut Notes::default()) == "log");
            let text = match log {
                Some((_, Pack::String(s))) if message == Message::Log => String::from_utf8_lossy(s.as_bytes()).into(),
                Some((_, Pack::Binary(b))) if message == Message::Log => String::from_utf8_lossy(b).into_owned(),
                _ => {
                    let mut line = Vec::new();
                    NdjsonEncoder::new(LogJson::Nest).encode(&record, &mut line);
                    String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned()
                }
            };
            let text = if text.is_empty() { " ".into() } else { text };
            want.push((time.div_euclid(1_000_000).max(0), map.len() as u32, text));
        }
        let got: Vec<_> = entries(&block)
            .map(|entry| {
                let quoted = [b"\"", entry.escaped, b"\""].concat();
                let text: String = serde_json::from_slice(&quoted).expect("the inside of a JSON string");
                assert_eq!(entry.message_len as usize, text.len());
                (entry.millis, entry.source_len, text)
            })
            .collect();
        prop_assert_eq!(got, want);
        prop_assert!(entries(&block[..cut.index(block.len())]).count() < records.len());
    }
}

fn encoded(mode: LogJson, map: &[u8]) -> String {
    let mut out = Vec::new();
    let tag = Tag::from("app");
    assert_eq!(NdjsonEncoder::new(mode).encode(&record(&tag, 1, map, None), &mut out).malformed, 0);
    String::from_utf8(out).unwrap()
}

fn with_log(log: &str) -> Vec<u8> {
    packed(&[(Pack::from("source"), Pack::from("stdout")), (Pack::from("log"), Pack::from(log))])
}

#[test]
fn nest_keeps_each_digit_and_lift_brings_keys_to_the_top() {
    let map = with_log("{\"n\": 1.50, \"tag\":\"x\",\r\n\"source\":12345678901234567890123}");
    let head = r#"{"time":"1970-01-01T00:00:00.000000001Z","tag":"app","#;
    assert_eq!(
        encoded(LogJson::Nest, &map),
        format!(
            "{head}\"source\":\"stdout\",\"log\":{{\"n\": 1.50, \"tag\":\"x\",  \"source\":12345678901234567890123}}}}\n"
        )
    );
    assert_eq!(
        encoded(LogJson::Lift, &map),
        format!("{head}\"n\":1.50,\"record_tag\":\"x\",\"source\":12345678901234567890123}}\n")
    );
    let raw = r#""source":"stdout","log":"{\"n\": 1.50, \"tag\":\"x\",\r\n\"source\":12345678901234567890123}"}"#;
    assert_eq!(encoded(LogJson::Raw, &map), format!("{head}{raw}\n"));
}

#[test]
fn metadata_is_left_out_like_any_field() {
    let (tag, map, ecs) = (Tag::from("app"), with_log("x"), ecs());
    let written = |fields: &str| {
        let mut out = Vec::new();
        let fields: Fields = serde_json::from_str(fields).unwrap();
        NdjsonEncoder::new(LogJson::Nest).with_fields(&fields).encode(&record(&tag, 0, &map, Some(&ecs)), &mut out);
        String::from_utf8(out).unwrap()
    };
    let line = written(r#"{"drop": ["ecs_task_arn"]}"#);
    assert!(line.ends_with("\"log\":\"x\",\"ecs_cluster\":\"prod\"}\n"), "{line}");
    let line = written(r#"{"keep": ["log"]}"#);
    assert!(line.ends_with("\"tag\":\"app\",\"log\":\"x\"}\n"), "{line}");
}

#[test]
fn nesting_up_to_the_bound_is_written_and_beyond_it_refused() {
    for (depth, malformed) in [(63, 0), (64, 1), (10_000, 1)] {
        let mut map = vec![0x81, 0xa1, b'a'];
        map.extend(std::iter::repeat_n(0x91, depth));
        map.push(0xc0);
        let (tag, mut out) = (Tag::from("app"), Vec::new());
        assert_eq!(
            NdjsonEncoder::new(LogJson::Nest).encode(&record(&tag, 0, &map, None), &mut out).malformed,
            malformed
        );
        assert_eq!(out.is_empty(), malformed == 1);
    }
}

#[test]
fn maps_as_keys_of_maps_do_not_grow_with_each_level() {
    let mut map = vec![0x81];
    map.extend([0x81; 62]);
    map.extend([0xa1, b'"']);
    map.extend([1; 63]);
    assert!(Reader::new(&map).skip().is_ok());
    assert!(encoded(LogJson::Nest, &map).len() < 300);
}

#[test]
fn many_equal_keys_take_the_time_of_many_keys() {
    let pairs: Vec<(Pack, Pack)> =
        (0..50_000).map(|n| (Pack::from("log"), Pack::from(format!("{{\"n\":{n}}}")))).collect();
    let map = packed(&pairs);
    assert!(encoded(LogJson::Nest, &map).ends_with(",\"log\":{\"n\":49999}}\n"));
    assert!(encoded(LogJson::Lift, &map).ends_with("\"tag\":\"app\",\"n\":49999}\n"));
}

fn message(message: Message, map: &[u8]) -> (String, u32, Notes) {
    let (tag, mut out) = (Tag::from("app"), Vec::new());
    let mut encoder = EntryEncoder::new(message).with_oversize(Oversize::Truncate);
    let notes = encoder.encode(&record(&tag, 1_500_000, map, None), &mut out);
    let mut read = entries(&out);
    let entry = read.next().expect("one entry");
    assert!(read.next().is_none() && entry.millis == 1);
    let text = serde_json::from_slice(&[b"\"", entry.escaped, b"\""].concat()).expect("the inside of a JSON string");
    (text, entry.message_len, notes)
}

#[test]
fn embedded_metrics_pass_unchanged() {
    let emf = "{\"_aws\": {\"Timestamp\":1574109732004,\"CloudWatchMetrics\":[]},\n \"latency\": 1.0e2}";
    assert_eq!(message(Message::Log, &with_log(emf)).0, emf);
}

#[test]
fn an_empty_line_stays_a_blank_one() {
    assert_eq!(message(Message::Log, &with_log("")), (" ".into(), 1, Notes::default()));
}

#[test]
fn a_message_that_is_too_long_is_cut_between_characters() {
    for log in ["x".repeat(MAX_MESSAGE + 1), "あ".repeat(MAX_MESSAGE / 3 + 1), "\u{1}".repeat(2 * MAX_MESSAGE)] {
        let (text, len, notes) = message(Message::Log, &with_log(&log));
        assert!(text.ends_with(CUT_MARK) && log.starts_with(text.trim_end_matches(CUT_MARK)));
        assert!((MAX_MESSAGE - 3..=MAX_MESSAGE).contains(&text.len()) && len as usize == text.len());
        assert_eq!(notes.truncated, 1);
    }
    let (text, _, notes) = message(Message::Log, &with_log(&"x".repeat(MAX_MESSAGE)));
    assert_eq!((text.len(), notes.truncated), (MAX_MESSAGE, 0));
    assert_eq!(message(Message::Record, &with_log(&"x".repeat(MAX_MESSAGE))).2.truncated, 1);
}

#[test]
fn a_message_that_is_too_long_is_split_between_characters_and_nothing_of_it_is_lost() {
    let tag = Tag::from("app");
    for log in ["x".repeat(MAX_MESSAGE + 1), "あ".repeat(MAX_MESSAGE), "\"\\😀\u{1}".repeat(MAX_MESSAGE / 2)] {
        let (map, mut out) = (with_log(&log), Vec::new());
        let notes = EntryEncoder::new(Message::Log).encode(&record(&tag, 1_500_000, &map, None), &mut out);
        let pieces: Vec<_> = entries(&out).collect();
        let text = |escaped: &[u8]| -> String {
            serde_json::from_slice(&[b"\"", escaped, b"\""].concat())
                .expect("each piece is the inside of a JSON string")
        };
        assert_eq!(pieces.iter().map(|piece| text(piece.escaped)).collect::<String>(), log);
        assert!(pieces.iter().all(|piece| piece.millis == 1 && piece.message_len as usize <= MAX_MESSAGE));
        assert_eq!(pieces.len(), log.len().div_ceil(MAX_MESSAGE - 3));
        assert_eq!(pieces.iter().map(|piece| piece.source_len as usize).sum::<usize>(), map.len());
        assert!(!pieces[0].is_further_piece() && pieces[1..].iter().all(|piece| piece.is_further_piece()));
        assert_eq!((notes.split, notes.truncated), (1, 0));
    }
}

#[test]
fn a_message_that_is_too_long_stands_whole_on_its_way_to_the_dead_letters() {
    let (tag, log, mut out) = (Tag::from("app"), "x".repeat(3 * MAX_MESSAGE), Vec::new());
    let mut encoder = EntryEncoder::new(Message::Log).with_oversize(Oversize::Divert);
    let notes = encoder.encode(&record(&tag, 0, &with_log(&log), None), &mut out);
    let found: Vec<_> = entries(&out).map(|entry| entry.escaped).collect();
    assert_eq!((found, notes), (vec![log.as_bytes()], Notes::default()));
}
