//! A connection over a pipe in memory, with the clock paused: what takes minutes is tested in no time.

use std::convert::Infallible;
use std::sync::Mutex;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;
use crate::record::RecordBatch;

/// Takes everything; keeps the number of records and the buffers' sizes.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<Mutex<usize>>);

impl Counting {
    fn taken(&self) -> usize {
        *self.0.lock().expect("no panic under it")
    }
}

impl Intake for Counting {
    fn take(&self, batch: RecordBatch) {
        *self.0.lock().expect("no panic under it") += batch.records.len();
    }

    async fn room(&self) {}

    fn refuse(&self, _: &'static str, _: u64, _: u64) {}
}

fn shared(ack: AckMode) -> Shared {
    Shared {
        clock: Clock::start(),
        ack,
        frame_bound: 1 << 20,
        inflated_bound: 1 << 20,
        frame_time: Duration::from_secs(30),
        stats: Arc::default(),
        budget: Arc::new(Budget::new(1 << 20)),
        activity: Arc::default(),
        busy: Arc::default(),
    }
}

struct Bench {
    taken: Counting,
    peer: DuplexStream,
    stage: watch::Sender<Stage>,
    task: tokio::task::JoinHandle<End>,
}

impl Bench {
    /// A connection whose pipe holds so many bytes each way.
    fn start(ack: AckMode, pipe: usize) -> Self {
        let (ours, peer) = duplex(pipe);
        let (reader, writer) = tokio::io::split(ours);
        let (shared, intake) = (shared(ack), Counting::default());
        let taken = intake.clone();
        let (stage, receiver) = watch::channel(Stage::Reading);
        let task = tokio::spawn(async move {
            let end = run(reader, writer, &shared, &intake, "peer", None::<Infallible>, receiver).await;
            assert_eq!(shared.busy.load(Ordering::Relaxed), 0);
            end
        });
        Self { taken, peer, stage, task }
    }
}

/// `["t", 1, {}]`
const FRAME: [u8; 5] = [0x93, 0xa1, b't', 0x01, 0x80];

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_is_enough_for_a_frame_within_its_time() {
    let mut bench = Bench::start(AckMode::Received, 64);
    for _ in 0..20 {
        for byte in FRAME {
            bench.peer.write_all(&[byte]).await.expect("it reads");
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(bench.taken.taken(), 20);
    drop(bench.peer);
    assert!(matches!(bench.task.await.expect("no panic"), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_is_not_enough_for_a_long_frame() {
    let mut bench = Bench::start(AckMode::Received, 64);
    let begun = Instant::now();
    let frame = [&FRAME[..4], &[0x81, 0xd9, 200], &[b'x'; 200], &[0x01]].concat();
    bench.peer.write_all(&FRAME).await.expect("it reads");
    for byte in frame {
        if bench.peer.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(matches!(bench.task.await.expect("no panic"), End::FrameTime));
    assert!(begun.elapsed() < Duration::from_secs(32), "{:?}", begun.elapsed());
    assert_eq!(bench.taken.taken(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_quiet_for_days_is_not_closed() {
    let mut bench = Bench::start(AckMode::Received, 64);
    for _ in 0..3 {
        bench.peer.write_all(&FRAME).await.expect("it reads");
        sleep(Duration::from_secs(86_400)).await;
    }
    assert_eq!(bench.taken.taken(), 3);
    bench.stage.send_replace(Stage::AcksOnly);
    assert!(matches!(bench.task.await.expect("no panic"), End::Drained));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_its_acks_is_left_in_the_end() {
    let mut bench = Bench::start(AckMode::Received, 4096);
    let token = [b'x'; 200];
    let frame = [&[0x93, 0xa1, b't', 0x90, 0x81, 0xa5][..], b"chunk", &[0xd9, 200], &token].concat();
    let mut sent = 0;
    while bench.peer.write_all(&frame).await.is_ok() {
        sent += 1;
        assert!(sent < 100_000, "it goes on for ever");
    }
    assert!(matches!(bench.task.await.expect("no panic"), End::AcksUnread));
    assert!(sent > 200, "only {sent} chunks were read");
}

#[tokio::test]
async fn what_was_sent_is_read_though_the_acks_cannot_be_written() {
    let (near, mut peer) = duplex(1 << 20);
    let (reader, _) = tokio::io::split(near);
    // The writing half leads nowhere.
    let (writer, far) = duplex(16);
    drop(far);
    let asking = [&[0x93, 0xa1, b't', 0x90, 0x81, 0xa5][..], b"chunk", &[0xa1, b'c']].concat();
    let (shared, intake) = (shared(AckMode::Received), Counting::default());
    let (_stage, receiver) = watch::channel(Stage::Reading);
    let feeding = async {
        for _ in 0..10 {
            peer.write_all(&[&asking[..], &FRAME].concat()).await.expect("it reads");
            tokio::task::yield_now().await;
        }
        drop(peer);
    };
    let (end, ()) = tokio::join!(run(reader, writer, &shared, &intake, "peer", (), receiver), feeding);
    assert!(matches!(end, End::Closed), "{end}");
    assert_eq!(intake.taken(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_keeps_a_small_buffer() {
    let (ours, mut peer) = duplex(1 << 20);
    let (shared, intake) = (shared(AckMode::Received), Counting::default());
    let mut reading = Reading::new(ours, &shared, &intake, "peer", Arc::default());
    let frames = FRAME.repeat(200_000);
    let feeding = async {
        peer.write_all(&frames).await.expect("it reads");
        sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        end = reading.run() => panic!("{end}"),
        () = feeding => {}
    }
    assert_eq!(intake.taken(), 200_000);
    assert!(reading.buf.capacity() <= 2 * READ_MIN, "{}", reading.buf.capacity());
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_fills_one_buffer_and_is_paid_for_as_it_comes() {
    let (ours, mut peer) = duplex(1 << 20);
    let (shared, intake) = (shared(AckMode::Received), Counting::default());
    let mut reading = Reading::new(ours, &shared, &intake, "peer", Arc::default());
    let text = vec![b'x'; 900 << 10];
    let frame = [&FRAME[..4], &[0x81, 0xc6], &(text.len() as u32).to_be_bytes(), &text, &[0x01]].concat();
    let feeding = async {
        peer.write_all(&frame[..300 << 10]).await.expect("it reads");
        sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        end = reading.run() => panic!("{end}"),
        () = feeding => {}
    }
    assert!(reading.wide && reading.buf.capacity() >= 1 << 20, "{}", reading.buf.capacity());
    assert!(shared.budget.taken() < 700 << 10, "{}", shared.budget.taken());
    let feeding = async {
        peer.write_all(&frame[300 << 10..]).await.expect("it reads");
        sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        end = reading.run() => panic!("{end}"),
        () = feeding => {}
    }
    assert_eq!((intake.taken(), reading.wide, shared.budget.taken()), (1, false, 0));
    assert!(shared.budget.peak() <= (1 << 20) + READ_MIN, "{}", shared.budget.peak());
}

/// Holds every ticket, as a sink that is down.
#[derive(Clone, Debug, Default)]
struct Holding(Arc<Mutex<Vec<RecordBatch>>>);

impl Intake for Holding {
    fn take(&self, batch: RecordBatch) {
        self.0.lock().expect("no panic under it").push(batch);
    }

    async fn room(&self) {}

    fn refuse(&self, _: &'static str, _: u64, _: u64) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_left_does_not_hold_its_place_until_a_dead_sink_works_again() {
    let (shared, intake) = (shared(AckMode::Delivered), Holding::default());
    let (ours, mut peer) = duplex(1 << 10);
    let (reader, writer) = tokio::io::split(ours);
    let asking = [&[0x94, 0xa1, b't', 0x01, 0x80, 0x81, 0xa5][..], b"chunk", &[0xa1, b'c']].concat();
    peer.write_all(&asking).await.expect("it reads");
    peer.shutdown().await.expect("open");
    let (_stage, receiver) = watch::channel(Stage::Reading);
    let end = timeout(Duration::from_secs(3600), run(reader, writer, &shared, &intake, "peer", (), receiver)).await;
    assert!(matches!(end, Ok(End::Closed)), "{end:?}");
    assert_eq!(intake.0.lock().expect("no panic under it").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn time_spent_waiting_for_the_budget_is_not_the_peer_s() {
    let (ours, mut peer) = duplex(1 << 20);
    let (reader, writer) = tokio::io::split(ours);
    let (shared, intake) = (shared(AckMode::Received), Counting::default());
    let (mut all, mut overdraft) = (Lease::new(Arc::clone(&shared.budget)), Lease::new(Arc::clone(&shared.budget)));
    all.grow(1 << 20).await;
    overdraft.grow(1).await;
    let text = vec![b'x'; 200 << 10];
    let head = [&FRAME[..4], &[0x81, 0xc6], &(text.len() as u32).to_be_bytes()].concat();
    let (_stage, receiver) = watch::channel(Stage::Reading);
    let feeding = async {
        peer.write_all(&[&head[..], &text].concat()).await.expect("the pipe holds it");
        sleep(Duration::from_secs(300)).await;
        assert_eq!((shared.budget.waiting(), shared.busy.load(Ordering::Relaxed)), (1, 1));
        drop((all, overdraft));
        sleep(Duration::from_secs(20)).await;
        peer.write_all(&[0x01]).await.expect("it reads on");
        drop(peer);
    };
    let (end, ()) = tokio::join!(run(reader, writer, &shared, &intake, "peer", (), receiver), feeding);
    assert!(matches!(end, End::Closed), "{end}");
    assert_eq!((intake.taken(), shared.budget.taken()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_little_has_a_small_buffer_from_the_start() {
    let (ours, mut peer) = duplex(1 << 20);
    let (shared, intake) = (shared(AckMode::Received), Counting::default());
    let mut reading = Reading::new(ours, &shared, &intake, "peer", Arc::default());
    let feeding = async {
        sleep(Duration::from_millis(1)).await;
        peer.write_all(&FRAME).await.expect("it reads");
        sleep(Duration::from_millis(1)).await;
    };
    tokio::select! {
        end = reading.run() => panic!("{end}"),
        () = feeding => {}
    }
    assert_eq!(intake.taken(), 1);
    assert!(reading.buf.capacity() <= QUIET, "{}", reading.buf.capacity());
}
