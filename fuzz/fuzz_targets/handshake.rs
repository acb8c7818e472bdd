//! Any bytes as a PING, in any split: no panic, and nobody is let in who does not know the key. Whoever does is let in,
//! and no longer when one byte says something else.

#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA512, digest};
use libfuzzer_sys::fuzz_target;
use logweir::record::msgpack::{Reader, Value, write};
use logweir::source::forward::handshake::{Challenge, Keys, MAX_PING, Refusal};

const KEY: &[u8] = b"the key";

fn keys(shared_key: &[u8]) -> Keys {
    let config = serde_json::json!({
        "shared_key": String::from_utf8_lossy(shared_key), "self_hostname": "weir",
        "users": [{"username": "ann", "password": "a"}],
    });
    Keys::new(&serde_json::from_value(config).expect("an auth config"))
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| keys(KEY));
static OTHERS: LazyLock<Keys> = LazyLock::new(|| keys(b"another key"));

/// The texts of a message, maps and arrays flattened.
fn texts(message: &[u8]) -> Vec<&[u8]> {
    let mut reader = Reader::new(message);
    let values = std::iter::from_fn(|| reader.read().ok());
    values.filter_map(Value::text).collect()
}

fn sha512(parts: [&[u8]; 4]) -> Vec<u8> {
    let digest = digest(&SHA512, &parts.concat());
    digest.as_ref().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// The PING of Ann, who knows the key.
fn ping(challenge: &Challenge<'_>, hostname: &[u8], salt: &[u8]) -> Vec<u8> {
    let helo = challenge.helo();
    let [_, _, nonce, _, user_salt, _] = texts(&helo)[..] else { panic!("not the texts of a HELO") };
    let mut out = Vec::new();
    write::array(&mut out, 6);
    write::str(&mut out, b"PING");
    write::str(&mut out, hostname);
    write::str(&mut out, salt);
    write::str(&mut out, &sha512([salt, hostname, nonce, KEY]));
    write::str(&mut out, b"ann");
    write::str(&mut out, &sha512([user_salt, b"ann", b"a", b""]));
    out
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (size, at, bytes) = input;
    let bytes = &bytes[..bytes.len().min(MAX_PING)];
    let challenge = KEYS.challenge().expect("random numbers");

    let whole = challenge.answer(bytes);
    assert!(!matches!(whole, Ok(Some(_))), "let in without the key");
    let mut end = 0;
    let pieces = loop {
        end = (end + usize::from(size) + 1).min(bytes.len());
        match challenge.answer(&bytes[..end]) {
            Ok(None) if end < bytes.len() => {}
            answer => break answer,
        }
    };
    // What lies behind a PING or a first byte is seen with it or not at all.
    if !matches!(whole, Err(Refusal::Early | Refusal::Tls)) {
        assert_eq!(pieces, whole);
    }

    let (hostname, salt) = bytes[..bytes.len().min(MAX_PING / 2)].split_at(bytes.len().min(MAX_PING / 2) / 2);
    let right = ping(&challenge, hostname, salt);
    assert!(matches!(challenge.answer(&right), Ok(Some(_))));
    let other = OTHERS.challenge().expect("random numbers");
    assert_eq!(other.answer(&ping(&other, hostname, salt)), Err(Refusal::SharedKey));
    let mut changed = right.clone();
    changed[usize::from(at) % right.len()] ^= size.max(1);
    // A string may turn into binary, which says the same; the array's header may not change.
    let same = changed[0] == right[0] && texts(&changed) == texts(&right);
    assert_eq!(matches!(challenge.answer(&changed), Ok(Some(_))), same);
});
