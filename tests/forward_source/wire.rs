//! What well-behaved peers send.

use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use serde_json::json;

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_many_containers_arrives_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let unix = format!("unix://{}/fluent.sock", dir.path().display());
    let source = Source::start_at(&[&unix, "tcp://127.0.0.1:0", "tcp://[::1]:0"], json!({}));
    let threads: Vec<_> = (0..8)
        .map(|container| {
            let path = dir.path().join("fluent.sock");
            std::thread::spawn(move || {
                let mut stream = UnixStream::connect(path).expect("it listens");
                for n in 0..2000 {
                    let frame = message(&format!("c{container}-firelens-0"), &format!("{n}"));
                    std::io::Write::write_all(&mut stream, &frame).expect("the source reads");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it writes all");
    }
    let taken = source.collector.wait_for(16_000).await;
    assert_eq!(taken.len(), 16_000);
    for container in 0..8 {
        let tag = format!("c{container}-firelens-0");
        let lines: Vec<_> = taken.iter().filter(|taken| taken.tag == tag).map(|taken| taken.map.clone()).collect();
        let expected: Vec<_> = (0..2000).map(|n| line(&n.to_string())).collect();
        assert_eq!(lines, expected);
    }
    assert!(taken.iter().all(|taken| taken.time == 0x6000_0000 * 1_000_000_000 + 1));
    eventually(|| source.stats.open.get() == 0).await;
    assert_eq!(source.stats.frames.get(), 16_000);
    assert_eq!(source.stats.ended(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_frame_comes_through_in_one_piece() {
    let source = Source::start(json!({}));
    let text = "x".repeat(5 << 20);
    let mut client = source.connect();
    client.send(&[message("t", "before"), message("t", &text), message("t", "after")].concat());
    source.collector.wait_for(3).await;
    assert_eq!(source.collector.logs(), ["before", &text, "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_heartbeats_are_answered_on_the_port_of_tcp() {
    let source = Source::start(json!({}));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    socket.connect(source.tcp()).expect("loopback");
    socket.send(b"hello there").expect("loopback");
    socket.send(b"\0").expect("loopback");
    let mut answer = [0; 8];
    let n = socket.recv(&mut answer).expect("an answer");
    assert_eq!(&answer[..n], b"\0");
    assert_eq!(source.stats.heartbeats.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_of_connections_without_data_are_normal() {
    let source = Source::start(json!({"limits": {"connections": 4}}));
    let mut client = source.connect();
    for _ in 0..500 {
        drop(source.connect());
    }
    client.send(&message("t", "1"));
    source.collector.wait_for(1).await;
    eventually(|| source.stats.connections.get() == 501 && source.stats.open.get() == 1).await;
    assert_eq!(source.stats.ended(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let source = Source::start_at(&["tcp://127.0.0.1:0", "tcp://[::1]:0"], json!({"limits": {"connections": 1}}));
    let mut first = source.connect();
    first.send(&message("t", "1"));
    source.collector.wait_for(1).await;
    let mut second = source.connect();
    second.send(&message("t", "2"));
    first.send(&message("t", "3"));
    source.collector.wait_for(2).await;
    assert_eq!((source.collector.logs(), source.stats.open.get()), (vec!["1".into(), "3".into()], 1));
    drop(first);
    source.collector.wait_for(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queues_stop_the_reading_and_close_nothing() {
    let source = Source::start(json!({}));
    source.collector.fill_with(1);
    let mut client = source.connect();
    client.send(&message("t", "1"));
    source.collector.wait_for(1).await;
    client.send(&message("t", "2"));
    client.expect_quiet();
    let mut other = source.connect();
    other.send(&message("t", "another"));
    other.expect_quiet();
    eventually(|| source.stats.open.get() == 2).await;
    assert_eq!(source.collector.logs(), ["1"], "what comes later stays in the socket");
    source.collector.set_room(true);
    source.collector.wait_for(3).await;
    drop(other);
    client.send(&message("t", "3"));
    source.collector.wait_for(4).await;
}
