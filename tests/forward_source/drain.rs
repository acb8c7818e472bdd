//! Drain: what a peer still sends is read, nothing is cut off, and the end comes when it is quiet or time is up.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use logweir::record::Outcome;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::support::*;

const QUIET: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_new_connections_and_ends_when_all_is_quiet() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fluent.sock");
    let unix = format!("unix://{}", path.display());
    let mut source = Source::start_at(&["tcp://127.0.0.1:0", &unix], json!({}));
    let mut open = source.connect();
    open.send(&message("t", "before"));
    source.collector.wait_for(1).await;
    source.control.drain(QUIET, Instant::now() + PATIENCE);
    let mut late = source.connect();
    for n in 0..5 {
        sleep(QUIET / 2).await;
        late.send(&message("t", &n.to_string()));
        open.send(&message("t", &n.to_string()));
    }
    timeout(PATIENCE, source.control.reading_over()).await.expect("it gets quiet");
    assert_eq!(source.collector.taken().len(), 11);
    assert!(UnixStream::connect(&path).is_err() && !path.exists(), "the socket is gone");
    open.expect_end();
    source.control.end();
    timeout(PATIENCE, source.task).await.expect("it ends").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_connections_ends() {
    let mut source = Source::start(json!({}));
    source.control.drain(PATIENCE / 5, Instant::now() + PATIENCE * 3);
    timeout(PATIENCE, source.control.reading_over()).await.expect("nobody is connected");
    timeout(PATIENCE, source.task).await.expect("it ends").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_stops_is_left_at_the_deadline() {
    let mut source = Source::start(json!({}));
    let mut client = source.connect();
    let sending = std::thread::spawn(move || {
        let frame = message("t", "again");
        while std::io::Write::write_all(&mut client.0, &frame).is_ok() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    source.collector.wait_for(10).await;
    source.control.drain(QUIET, Instant::now() + 2 * QUIET);
    timeout(PATIENCE, source.control.reading_over()).await.expect("the deadline comes");
    let taken = source.collector.taken().len();
    sending.join().expect("its connection was closed");
    assert_eq!(source.collector.taken().len(), taken, "nothing is taken after the reading is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_full_queues_and_gives_up_at_the_deadline() {
    let mut source = Source::start(json!({}));
    source.collector.fill_with(1);
    let mut client = source.connect();
    client.send(&message("t", "1"));
    source.collector.wait_for(1).await;
    client.send(&message("t", "2"));
    source.control.drain(QUIET, Instant::now() + PATIENCE);
    let early = timeout(3 * QUIET, source.control.reading_over()).await;
    assert!(early.is_err(), "a connection still has something to say");
    source.collector.set_room(true);
    timeout(PATIENCE, source.control.reading_over()).await.expect("it gets quiet");
    assert_eq!(source.collector.logs(), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_and_found_no_room_is_handed_over_at_the_deadline() {
    let mut source = Source::start(json!({}));
    source.collector.fill_with(1);
    let mut client = source.connect();
    client.send(&message("t", "1"));
    source.collector.wait_for(1).await;
    // Read only now, since the next read waits for room too.
    let mut other = source.connect();
    other.send(&[message("t", "2"), message("u", "3"), asking("4", "a")].concat());
    eventually(|| source.stats.wire_bytes.get() > 3 * message("t", "1").len() as u64).await;
    source.control.drain(QUIET, Instant::now() + 2 * QUIET);
    timeout(PATIENCE, source.control.reading_over()).await.expect("the deadline comes");
    assert_eq!(source.collector.logs(), ["1", "2", "3"], "the sender of the last one gets no ack and repeats it");
    assert_eq!(source.stats.frames.get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_go_out_after_the_reading_is_over() {
    let mut source = Source::start(json!({"ack": "delivered"}));
    source.collector.hold_tickets();
    let (mut one, mut two) = (source.connect(), source.connect());
    one.send(&asking("1", "a"));
    source.collector.wait_for(1).await;
    two.send(&asking("2", "b"));
    source.collector.wait_for(2).await;
    source.control.drain(QUIET, Instant::now() + PATIENCE);
    timeout(PATIENCE, source.control.reading_over()).await.expect("it is quiet");
    let mut held = source.collector.held();
    held.remove(0).settle(Outcome::Delivered);
    one.expect(&ack("a"));
    one.expect_end();
    two.expect_quiet();
    source.control.end();
    two.expect_end();
    timeout(PATIENCE, source.task).await.expect("it ends").expect("no panic");
}
