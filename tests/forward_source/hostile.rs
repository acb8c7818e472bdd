//! Peers that send rubbish, too much, too slowly or never read: each gets a clear end, counted by its reason, and a
//! well-behaved connection beside it notices nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::support::*;

/// A connection that goes on sending and being acked, whatever its neighbours do.
struct Neighbour {
    client: Client,
    sent: usize,
}

impl Neighbour {
    fn of(source: &Source) -> Self {
        Self { client: source.connect(), sent: 0 }
    }

    fn goes_on(&mut self) {
        self.sent += 1;
        let chunk = self.sent.to_string();
        self.client.send(&asking("fine", &chunk));
        self.client.expect(&ack(&chunk));
    }
}

fn small() -> serde_json::Value {
    json!({"limits": {"frame": "64KiB", "inflated": "256KiB", "frame_time": "200ms"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_bytes_ends_only_its_own_connection() {
    let source = Source::start(small());
    let mut neighbour = Neighbour::of(&source);
    let bomb = |packed: Vec<u8>| {
        let mut frame = vec![0x93, 0xa1, b't', 0xc6];
        frame.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        [frame, packed, vec![0x80]].concat()
    };
    let zeros = vec![0u8; 4 << 20];
    let gzipped = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&zeros).expect("a Vec takes it");
        encoder.finish().expect("a Vec takes it")
    };
    let nested = [&[0x93, 0xa1, b't', 0x01, 0x81, 0xa1, b'k'][..], &[0x91; 10_000]].concat();
    for (bad, reason) in [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "not_a_frame"),
        (vec![0xc1], "malformed_msgpack"),
        (vec![0xdd, 0xff, 0xff, 0xff, 0xff], "frame_too_large"),
        (vec![0x93, 0xa1, b't', 0x01, 0xdf, 0xff, 0xff, 0xff, 0xff], "frame_too_large"),
        (message("t", &"x".repeat(100 << 10)), "frame_too_large"),
        (message(&"x".repeat(60_000), "x"), "tag_too_long"),
        (nested, "too_deep"),
        (bomb(gzipped), "inflated_too_large"),
        (bomb(zstd::encode_all(&zeros[..], 1).expect("a slice can be read")), "inflated_too_large"),
    ] {
        let before = source.stats.ended().get(reason).copied().unwrap_or(0);
        let mut client = source.connect();
        // The source may have seen enough before all is sent.
        let _ = client.0.write_all(&bad);
        source.wait_for_end(reason, before + 1).await;
        client.expect_end();
        neighbour.goes_on();
    }
    // The bombs of zeros were entries that are no arrays: refused, never taken.
    assert_eq!(source.collector.logs(), vec!["fine"; neighbour.sent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_cut_at_any_offset_is_counted_and_nothing_of_it_taken() {
    let source = Source::start(small());
    let mut neighbour = Neighbour::of(&source);
    let frame = asking("cut", "c");
    for end in 1..frame.len() {
        let mut client = source.connect();
        client.send(&frame[..end]);
        client.0.shutdown(Shutdown::Write).expect("an open stream");
        client.expect_end();
    }
    source.wait_for_end("cut_frame", frame.len() as u64 - 1).await;
    neighbour.goes_on();
    assert_eq!(source.collector.logs(), ["fine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_any_type_at_any_position_ends_or_is_counted() {
    let source = Source::start(small());
    let mut neighbour = Neighbour::of(&source);
    let values: [&[u8]; 13] = [
        &[0xc0],
        &[0xc3],
        &[0x05],
        &[0xff],
        &[0xca, 0, 0, 0, 0],
        &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
        &[0xa1, b'x'],
        &[0xc4, 1, 0xff],
        &[0x90],
        &[0x92, 0x01, 0x80],
        &[0x80],
        &[0x81, 0xc0, 0xc0],
        &[0xd4, 5, 0],
    ];
    let good: [&[u8]; 4] = [&[0xa1, b't'], &[0x01], &[0x81, 0xa1, b'k', 0x01], &[0x80]];
    for position in 0..4 {
        for value in values {
            let mut parts = good;
            parts[position] = value;
            let mut client = source.connect();
            client.send(&[&[0x94][..], &parts.concat()].concat());
            client.0.shutdown(Shutdown::Write).expect("an open stream");
            client.expect_end();
        }
    }
    eventually(|| source.stats.open.get() == 1).await;
    neighbour.goes_on();
    let ended = source.stats.ended();
    // 11 of the values are no tag. As time, two texts are packed entries of one string, one array an entry list.
    assert_eq!(ended.get("tag_not_a_string"), Some(&11));
    assert!(ended.keys().all(|reason| ["tag_not_a_string", "cut_entries", "malformed_msgpack"].contains(reason)));
    // 11 of the values are no record.
    assert_eq!(source.collector.refused()["not_a_map"].0, 11);
    assert_eq!(ended.get("panic"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_maps_are_refused_and_acked() {
    let source = Source::start(small());
    let mut client = source.connect();
    let mut frame = vec![0x93, 0xa1, b't', 0x93];
    frame.extend_from_slice(
        &[&[0x92, 0x01][..], &line("1"), &[0x92, 0x01, 0xa1, b'x', 0x92, 0x01], &line("2")].concat(),
    );
    frame.extend_from_slice(&[&[0x81, 0xa5][..], b"chunk", &[0xa1, b'c']].concat());
    client.send(&frame);
    client.expect(&ack("c"));
    assert_eq!(source.collector.logs(), ["1", "2"]);
    assert_eq!(source.collector.refused()["not_a_map"], (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_never_finished_ends_and_a_quiet_connection_does_not() {
    let source = Source::start(small());
    let mut neighbour = Neighbour::of(&source);
    neighbour.goes_on();
    let mut slow = source.connect();
    slow.send(&message("t", "slow")[..5]);
    source.wait_for_end("frame_time", 1).await;
    slow.expect_end();
    // Longer quiet than a frame may take.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    neighbour.goes_on();
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_any_bytes_are_data() {
    let source = Source::start(small());
    let mut client = source.connect();
    let tags = ["../../../etc/passwd", "a\0b", "", "a/b\\c", "\u{202e}"];
    tags.iter().for_each(|tag| client.send(&message(tag, "x")));
    let taken = source.collector.wait_for(tags.len()).await;
    assert_eq!(taken.iter().map(|taken| &*taken.tag).collect::<Vec<_>>(), tags);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_1970_and_2100_are_kept() {
    let source = Source::start(small());
    let mut client = source.connect();
    let frame = |time: &[u8]| [&[0x93, 0xa1, b't'][..], time, &line("x")].concat();
    client.send(&frame(&[0x01]));
    client.send(&frame(&[0xd7, 0, 0xf4, 0x86, 0x57, 0, 0, 0, 0, 9]));
    client.send(&frame(&[0x00]));
    let taken = source.collector.wait_for(3).await;
    assert_eq!((taken[0].time, taken[1].time), (1_000_000_000, 4_102_444_800_000_000_009));
    assert!(taken[2].time > 1_600_000_000_000_000_000, "the time of receipt stands in for 0");
    assert_eq!(source.stats.times_replaced.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_quiet_connections_are_held() {
    let source = Source::start(json!({}));
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..900 {
        clients.push(source.connect().0);
    }
    eventually(|| source.stats.open.get() == 900).await;
    let mut neighbour = Neighbour::of(&source);
    neighbour.goes_on();
    for client in &mut clients {
        client.write_all(&asking("x", "y")).expect("it reads");
    }
    for client in &mut clients {
        let mut got = [0; 7];
        client.read_exact(&mut got).expect("an ack");
    }
    assert_eq!(source.collector.taken().len(), 901);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_large_frames_at_once_share_the_budget_and_all_arrive() {
    const FRAME: usize = 800 << 10;
    let source = Source::start(json!({"limits": {"frame": "1MiB"}}));
    let mut neighbour = Neighbour::of(&source);
    let frame = Arc::new(message("large", &"x".repeat(FRAME)));
    let go_on = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let mut peers = JoinSet::new();
    for _ in 0..20 {
        let (address, frame) = (source.tcp(), Arc::clone(&frame));
        let (go_on, begun) = (Arc::clone(&go_on), Arc::clone(&begun));
        peers.spawn(async move {
            let mut peer = tokio::net::TcpStream::connect(address).await.expect("it listens");
            // Enough that the small buffer cannot hold it, and the sockets can.
            let (head, tail) = frame.split_at(96 << 10);
            peer.write_all(head).await.expect("it reads");
            begun.fetch_add(1, Ordering::Relaxed);
            go_on.acquire().await.expect("it is open").forget();
            peer.write_all(tail).await.expect("it reads");
            peer
        });
    }
    eventually(|| begun.load(Ordering::Relaxed) == 20 && source.budget.waiting() > 0).await;
    (0..20).for_each(|_| neighbour.goes_on());
    go_on.add_permits(20);
    let mut open = Vec::new();
    while let Some(peer) = peers.join_next().await {
        open.push(peer.expect("no panic"));
        neighbour.goes_on();
    }
    let taken = source.collector.wait_for(20 + neighbour.sent).await;
    assert_eq!(taken.iter().filter(|taken| taken.tag == "large" && taken.map.len() > FRAME).count(), 20);
    // Never more than the budget and what one frame needs.
    assert!(source.budget.peak() <= BUDGET + (1 << 20) + (8 << 10), "{}", source.budget.peak());
    assert!(source.budget.peak() > BUDGET / 2, "it was used: {}", source.budget.peak());
    drop(open);
    eventually(|| source.stats.open.get() == 1).await;
    assert_eq!((source.budget.waiting(), source.stats.ended().len()), (0, 0));
    // The neighbour may hold what its reads have grown to.
    drop(neighbour);
    eventually(|| source.budget.taken() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_never_finished_do_not_hold_the_budget_for_ever() {
    let source = Source::start(json!({"limits": {"frame": "1MiB", "frame_time": "200ms"}}));
    let frame = message("large", &"x".repeat(900 << 10));
    let hostile: Vec<_> = (0..6)
        .map(|_| {
            let (address, head) = (source.tcp(), frame[..600 << 10].to_vec());
            std::thread::spawn(move || {
                let mut peer = TcpStream::connect(address).expect("it listens");
                let _ = peer.write_all(&head);
                // Held open until the source has had enough of it.
                let _ = peer.read(&mut [0; 16]);
            })
        })
        .collect();
    source.wait_for_end("frame_time", 6).await;
    let mut client = source.connect();
    client.send(&frame);
    source.collector.wait_for(1).await;
    drop(client);
    eventually(|| source.budget.taken() == 0).await;
    hostile.into_iter().for_each(|peer| peer.join().expect("no panic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_frame_takes_from_the_budget_and_gives_it_back() {
    let source = Source::start(json!({}));
    let entry = [&[0x92, 0x01][..], &line("small")].concat();
    let packed = zstd::encode_all(&entry[..], 1).expect("a slice can be read");
    let mut frame = vec![0x93, 0xa1, b't', 0xc6];
    frame.extend_from_slice(&(packed.len() as u32).to_be_bytes());
    frame.extend_from_slice(&packed);
    frame.push(0x80);
    let mut client = source.connect();
    client.send(&frame);
    source.collector.wait_for(1).await;
    eventually(|| source.budget.taken() == 0).await;
    assert!(source.budget.peak() > 8 << 20, "the window of zstd: {}", source.budget.peak());
}
