//! A record written as JSON, as the msgpack that a source would hand on.
//!
//! Keys keep their order and numbers their kind: integers stay integers (beyond 64 bits they become floats, which is
//! what msgpack has for them).

use serde_json::{Map, Number, Value};

/// Appends the msgpack of a map.
pub(crate) fn write_map(map: &Map<String, Value>, out: &mut Vec<u8>) {
    write_len(map.len(), out, [(0x80, 15), (0xde, u16::MAX.into()), (0xdf, u32::MAX.into())]);
    for (key, value) in map {
        write_text(key, out);
        write(value, out);
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            write_len(items.len(), out, [(0x90, 15), (0xdc, u16::MAX.into()), (0xdd, u32::MAX.into())]);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Object(map) => write_map(map, out),
    }
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(int) = number.as_u64() {
        match u8::try_from(int) {
            Ok(small) if small < 0x80 => out.push(small),
            _ => write_marked(0xcf, int.to_be_bytes(), out),
        }
    } else if let Some(int) = number.as_i64() {
        write_marked(0xd3, int.to_be_bytes(), out);
    } else {
        write_marked(0xcb, number.as_f64().unwrap_or(f64::NAN).to_be_bytes(), out);
    }
}

fn write_marked<const N: usize>(marker: u8, bytes: [u8; N], out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(&bytes);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_len(text.len(), out, [(0xa0, 31), (0xda, u16::MAX.into()), (0xdb, u32::MAX.into())]);
    out.extend_from_slice(text.as_bytes());
}

/// A marker with its length: inside the marker's own bits, in 16 bits, or in 32.
fn write_len(len: usize, out: &mut Vec<u8>, [(fix, most_fix), (two, most_two), (four, _)]: [(u8, u64); 3]) {
    // A JSON text of 4 GiB does not come through a config or a terminal; both are bounded before.
    let len = u32::try_from(len).expect("texts and lists are bounded in length where they are read");
    if u64::from(len) <= most_fix {
        out.push(fix | len as u8);
    } else if u64::from(len) <= most_two {
        write_marked(two, (len as u16).to_be_bytes(), out);
    } else {
        write_marked(four, len.to_be_bytes(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_decoder_reads_it_back_in_order() {
        let long = "ü".repeat(40_000);
        let text = format!(
            r#"{{"z": 1, "a": -5, "big": 18446744073709551615, "f": 1.5, "n": null, "t": [true, false],
               "deep": {{"x": {{"y": "é"}}}}, "s32": "{}", "long": "{long}", "many": [{}]}}"#,
            "x".repeat(32),
            vec!["127, 128"; 20].join(",")
        );
        let map: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
        let mut bytes = Vec::new();
        write_map(&map, &mut bytes);
        let mut rest = bytes.as_slice();
        let decoded = rmpv::decode::read_value(&mut rest).expect("msgpack");
        assert!(rest.is_empty());
        assert_eq!(to_json(decoded).to_string(), Value::Object(map).to_string());
    }

    fn to_json(value: rmpv::Value) -> Value {
        match value {
            rmpv::Value::Nil => Value::Null,
            rmpv::Value::Boolean(value) => value.into(),
            rmpv::Value::Integer(int) => {
                int.as_u64().map(Value::from).or(int.as_i64().map(Value::from)).expect("64 bits")
            }
            rmpv::Value::F64(float) => float.into(),
            rmpv::Value::String(text) => text.into_str().expect("UTF-8").into(),
            rmpv::Value::Array(items) => items.into_iter().map(to_json).collect(),
            rmpv::Value::Map(entries) => Value::Object(
                entries.into_iter().map(|(key, value)| (key.as_str().expect("text").into(), to_json(value))).collect(),
            ),
            other => panic!("no JSON: {other}"),
        }
    }
}
