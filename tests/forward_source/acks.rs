//! Acks: byte-exact, in order, many in flight, and only for what was taken.

use std::io::Write;
use std::net::Shutdown;

use logweir::record::Outcome;
use serde_json::json;

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_acked_with_its_own_bytes_once_it_was_taken() {
    let source = Source::start(json!({}));
    let mut client = source.connect();
    client.send(&[asking("1", "YQ==\n"), message("t", "2"), asking("3", "b")].concat());
    client.expect(&[ack("YQ==\n"), ack("b")].concat());
    assert_eq!(source.collector.logs(), ["1", "2", "3"]);
    // The token as binary, in a long header.
    let frame = [&[0x93, 0xa1, b't', 0x90, 0x81, 0xa5][..], b"chunk", &[0xc5, 0, 2, 0xff, 0xfe]].concat();
    client.send(&frame);
    client.expect(&[0x81, 0xa3, b'a', b'c', b'k', 0xc5, 0, 2, 0xff, 0xfe]);
    assert_eq!(source.stats.acks.get(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_acked_though_the_queues_are_full_then() {
    let source = Source::start(json!({}));
    source.collector.fill_with(1);
    let mut client = source.connect();
    client.send(&asking("1", "a"));
    client.expect(&ack("a"));
    client.send(&asking("2", "b"));
    client.expect_quiet();
    source.collector.set_room(true);
    client.expect(&ack("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_acks_come_in_order_when_their_records_are_delivered() {
    let source = Source::start(json!({"ack": "delivered"}));
    source.collector.hold_tickets();
    let mut client = source.connect();
    for (text, chunk) in [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")] {
        client.send(&asking(text, chunk));
    }
    source.collector.wait_for(4).await;
    let mut held = source.collector.held();
    assert_eq!(held.len(), 4);
    assert!(held.iter().all(|tickets| !tickets.is_empty()));
    let last = held.pop().expect("four");
    // The third is settled first, and waits for the first two.
    held.remove(2).settle(Outcome::Dropped);
    client.expect_quiet();
    held.remove(0).settle(Outcome::Delivered);
    client.expect(&ack("a"));
    // The second is lost: no ack, and it holds up nothing.
    held.remove(0).settle(Outcome::Lost);
    client.expect(&ack("c"));
    last.settle(Outcome::Delivered);
    client.expect(&ack("d"));
    assert_eq!((source.stats.acks.get(), source.stats.acks_withheld.get()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ticket_stands_for_all_windows_of_a_frame() {
    let source = Source::start(json!({"ack": "delivered"}));
    source.collector.hold_tickets();
    let entries = [0x92, 0x01, 0x80].repeat(20_000);
    let packed = zstd::encode_all(&entries[..], 1).expect("a slice can be read");
    let mut frame = vec![0x93, 0xa1, b't', 0xc5];
    frame.extend_from_slice(&(packed.len() as u16).to_be_bytes());
    frame.extend_from_slice(&packed);
    frame.extend_from_slice(&[&[0x81, 0xa5][..], b"chunk", &[0xa1, b'w']].concat());
    let mut client = source.connect();
    client.send(&frame);
    source.collector.wait_for(20_000).await;
    let mut held = source.collector.held();
    assert!(held.len() > 1, "the frame was several batches");
    let last = held.pop().expect("several");
    held.into_iter().for_each(|tickets| tickets.settle(Outcome::Delivered));
    client.expect_quiet();
    last.settle(Outcome::Delivered);
    client.expect(&ack("w"));
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_still_come_to_a_peer_that_has_nothing_more_to_send() {
    let source = Source::start(json!({"ack": "delivered"}));
    source.collector.hold_tickets();
    let mut client = source.connect();
    client.send(&asking("1", "a"));
    client.0.shutdown(Shutdown::Write).expect("an open stream");
    source.collector.wait_for(1).await;
    source.collector.held().into_iter().for_each(|tickets| tickets.settle(Outcome::Delivered));
    client.expect(&ack("a"));
    client.expect_end();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ack_comes_for_a_frame_that_broke_off() {
    let source = Source::start(json!({}));
    let mut client = source.connect();
    let mut cut = vec![0x93, 0xa1, b't', 0xc4, 5, 0x92, 0x01, 0x80, 0x92, 0x01];
    cut.extend_from_slice(&[&[0x81, 0xa5][..], b"chunk", &[0xa1, b'x']].concat());
    client.send(&[asking("1", "a"), cut].concat());
    client.expect(&ack("a"));
    client.expect_end();
    assert_eq!(source.collector.taken().len(), 2, "the whole entry before the cut one is kept");
    source.wait_for_end("cut_entries", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_acks_late_gets_them_all() {
    let source = Source::start(json!({}));
    let client = source.connect();
    let mut writer = client.0.try_clone().expect("a stream");
    let token = "x".repeat(200);
    // More acks than the socket's buffers hold, so that reading waits for the peer meanwhile.
    let count = 60_000;
    let frame = asking("", &token);
    let sending = std::thread::spawn(move || (0..count).for_each(|_| writer.write_all(&frame).expect("it reads")));
    eventually(|| source.stats.acks.get() > 1000).await;
    let reading = std::thread::spawn(move || {
        let mut client = client;
        (0..count).for_each(|_| client.expect(&ack(&token)));
    });
    sending.join().expect("all sent");
    reading.join().expect("all acked");
    assert_eq!(source.collector.taken().len(), count);
}
