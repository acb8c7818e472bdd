//! Who is let in and who is not.

use super::*;

fn keys(users: serde_json::Value) -> Keys {
    let config = serde_json::json!({"shared_key": "s3cret", "self_hostname": "weir", "users": users});
    Keys::new(&serde_json::from_value(config).expect("an auth config"))
}

fn two_users() -> Keys {
    keys(serde_json::json!([{"username": "ann", "password": "a"}, {"username": "bob", "password": "b"}]))
}

/// A challenge whose random numbers are known.
fn challenge(keys: &Keys) -> Challenge<'_> {
    Challenge { keys, nonce: "n0nce".into(), salt: "s4lt".into() }
}

fn ping(texts: [&str; 5]) -> Vec<u8> {
    let mut out = vec![0x96];
    write::str(&mut out, b"PING");
    texts.iter().for_each(|text| write::str(&mut out, text.as_bytes()));
    out
}

/// The PING of a peer that knows the key and the user.
fn right(key: &str, user: &str, password: &str) -> Vec<u8> {
    let digest = sha512([b"salt", b"peer", b"n0nce", key.as_bytes()]);
    let user_digest = sha512([b"s4lt", user.as_bytes(), password.as_bytes()]);
    ping(["peer", "salt", &digest, user, &user_digest])
}

#[test]
fn the_digest_is_sha_512_in_lower_case_hex() {
    let abc = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
               2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    assert_eq!(sha512([b"a", b"", b"bc"]), abc);
}

#[test]
fn who_knows_the_key_is_let_in_and_gets_our_proof() {
    let keys = keys(serde_json::json!([]));
    let answer = challenge(&keys).answer(&right("s3cret", "", "")).expect("the key is right");
    let proof = sha512([b"salt", b"weir", b"n0nce", b"s3cret"]);
    assert_eq!(answer, Some(pong(true, "", "weir", &proof)));
}

#[test]
fn who_does_not_is_refused() {
    let without = keys(serde_json::json!([]));
    let with = two_users();
    let digest = sha512([b"salt", b"peer", b"n0nce", b"s3cret"]);
    for (keys, bytes, refusal) in [
        (&without, right("S3cret", "", ""), Refusal::SharedKey),
        (&without, ping(["peer", "salt", "", "", ""]), Refusal::SharedKey),
        (&without, ping(["peer", "salt", &digest[..127], "", ""]), Refusal::SharedKey),
        (&without, ping(["peer2", "salt", &digest, "", ""]), Refusal::SharedKey),
        (&without, ping(["peer", "salt", &digest.to_uppercase(), "", ""]), Refusal::SharedKey),
        (&with, ping(["peer", "salt", &digest, "", ""]), Refusal::User),
        (&with, right("s3cret", "ann", "b"), Refusal::User),
        (&with, right("s3cret", "eve", "a"), Refusal::User),
        (&with, right("wrong", "ann", "a"), Refusal::SharedKey),
        (&without, [right("s3cret", "", ""), vec![0xc0]].concat(), Refusal::Early),
        (&without, vec![0x92, 0xa3, b'a', b'p', b'p'], Refusal::NoHandshake),
        (&without, vec![0x16, 3, 1, 2, 0], Refusal::Tls),
        (&without, vec![0xc1], Refusal::NoHandshake),
        (&without, vec![0x92, 0xa4, b'P', b'I', b'N', b'G', 0x90], Refusal::Malformed),
        (&without, vec![0x96, 0xa4, b'P', b'I', b'N', b'G', 0x90], Refusal::Malformed),
        (&without, ping(["peer", &"x".repeat(MAX_PING), "", "", ""])[..MAX_PING].to_vec(), Refusal::TooLong),
    ] {
        assert_eq!(challenge(keys).answer(&bytes), Err(refusal), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn every_user_is_let_in_with_the_own_password() {
    let keys = two_users();
    for (user, password) in [("ann", "a"), ("bob", "b")] {
        let answer = challenge(&keys).answer(&right("s3cret", user, password));
        assert!(matches!(answer, Ok(Some(_))), "{user}: {answer:?}");
    }
}

#[test]
fn a_ping_in_pieces_waits_for_its_end() {
    let keys = two_users();
    let whole = right("s3cret", "ann", "a");
    for end in 0..whole.len() {
        assert_eq!(challenge(&keys).answer(&whole[..end]), Ok(None), "{end}");
    }
}

#[test]
fn no_challenge_is_like_another_and_none_shows_a_secret() {
    let keys = two_users();
    let (one, other) = (keys.challenge().expect("random"), keys.challenge().expect("random"));
    assert_ne!(one.helo(), other.helo());
    assert_ne!((&one.nonce, &one.nonce), (&one.salt, &other.nonce));
    assert!(!format!("{one:?}").contains("s3cret"), "{one:?}");
}
