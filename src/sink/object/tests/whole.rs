//! Objects whose blocks are on disk: whole, once, and the same again after a kill.

use super::*;
use crate::spool::disk::files::RealDirectory;
use crate::spool::disk::{Anchor, Limits as DiskLimits};

/// A bench with its queue in this directory, and the task that writes there.
struct OnDisk {
    bench: Bench,
    keeper: JoinHandle<()>,
}

impl OnDisk {
    fn start(path: &std::path::Path, store: Fake, setting: Setting) -> Self {
        Self::limited(path, store, setting, DiskLimits::of(64 << 20))
    }

    fn limited(path: &std::path::Path, store: Fake, setting: Setting, limits: DiskLimits) -> Self {
        let clock = Clock::start();
        let config = QueueConfig { bound: setting.bound, when_full: setting.when_full };
        let ledger = Arc::new(Ledger::new([], [], ["archive"]));
        let anchor = Anchor { moment: clock.now(), unix: clock.unix() };
        let directory = Arc::new(RealDirectory::make(path).expect("a directory can be made"));
        let synced = watch::Sender::new(());
        let queue = Queue::open(0, config, ledger, directory, limits, anchor, synced).expect("it opens");
        let keeper = tokio::spawn(Arc::clone(&queue).keep());
        Self { bench: Bench::with(queue, store, clock, setting), keeper }
    }

    /// The process is killed.
    async fn kill(self) -> (Fake, Vec<(Arc<Partition>, u64, Bytes)>) {
        self.bench.driver.abort();
        let _ = self.bench.driver.await;
        self.bench.queue.close();
        self.keeper.await.expect("it ends");
        (self.bench.store, self.bench.pushed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_goes_out_in_parts_that_are_read_from_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut on_disk = OnDisk::start(dir.path(), Fake::default(), Setting { limits: SMALL, ..Setting::default() });
    for _ in 0..10 {
        on_disk.bench.push("a/", 100);
    }
    on_disk.bench.pass(60).await;
    assert_eq!(on_disk.bench.sizes(), [1000]);
    let calls = on_disk.bench.calls();
    assert_eq!(calls.iter().filter(|(api, _)| *api == "part").map(|(_, len)| *len).collect::<Vec<_>>(), [100; 10]);
    assert_eq!(on_disk.bench.queue.fill_level().0, 0);
    on_disk.bench.drain().await;
    assert_eq!(on_disk.bench.lines("a/"), on_disk.bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_ten_minutes_gets_everything_once_and_nothing_stays_in_memory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut on_disk = OnDisk::start(dir.path(), Fake::default(), Setting { bound: 2000, ..Setting::default() });
    let bench = &mut on_disk.bench;
    bench.store.world().down = Some("");
    for _ in 0..60 {
        for _ in 0..5 {
            bench.push("a/", 100);
            bench.push("b/", 70);
        }
        bench.pass(10).await;
        bench.queue.durable().await;
        assert!(bench.queue.fill_level().0 <= 2000 && !bench.queue.is_blocking());
    }
    assert_eq!(bench.book().delivered.records, 0);
    bench.store.world().down = None;
    bench.pass(300).await;
    bench.drain().await;
    for prefix in ["a/", "b/"] {
        assert_eq!(bench.lines(prefix), bench.expected(prefix));
    }
    assert_eq!(bench.book().delivered.records, 600);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_a_kill_interrupted_is_made_again_with_the_same_key_and_bytes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setting = || Setting { limits: SMALL, compression: Compression::Zstd(1), size: 400, ..Setting::default() };
    // Killed at each second of an object that takes some ten requests of a second each.
    for second in 0..12 {
        let path = dir.path().join(second.to_string());
        let mut on_disk = OnDisk::start(&path, Fake::default(), setting());
        push_noise(&mut on_disk.bench, 30);
        on_disk.bench.pass(second).await;
        let (store, pushed) = on_disk.kill().await;
        let next = Fake::default();
        next_process(&path, next.clone(), setting()).await;
        check_once(&[store, next], &pushed, &format!("killed at second {second}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_partition_that_holds_segments_is_closed_before_the_disk_is_full() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let limits = DiskLimits { segment: 1000, quota: 16_000 };
    let setting = Setting { size: 1000, ..Setting::default() };
    let mut on_disk = OnDisk::limited(dir.path(), Fake::default(), setting, limits);
    let bench = &mut on_disk.bench;
    for _ in 0..200 {
        bench.push("busy/", 300);
        bench.push("quiet/", 10);
        bench.pass(1).await;
        bench.queue.durable().await;
        assert!(!bench.queue.disk().expect("a disk").full, "its store works");
    }
    bench.drain().await;
    for prefix in ["busy/", "quiet/"] {
        assert_eq!(bench.lines(prefix), bench.expected(prefix));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_other_settings_took_over_keeps_its_key_though_a_kill_comes_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setting = || Setting { limits: SMALL, compression: Compression::Zstd(1), size: 400, ..Setting::default() };
    let mut repeated = 0;
    for (second, after) in (0..12).flat_map(|second| [0, 1, 3, 7, 60].map(|after| (second, after))) {
        let case = format!("taken over at second {second}, killed {after} s later");
        let path = dir.path().join(format!("{second}-{after}"));
        let OnDisk { mut bench, keeper } = OnDisk::start(&path, Fake::default(), setting());
        push_noise(&mut bench, 30);
        bench.pass(second).await;
        bench.store.world().unheard = true;
        bench.phase.send_replace(Phase::HandedOver);
        (&mut bench.driver).await.expect("it ends");
        assert_eq!(bench.book().dropped.len(), 0, "{case}");
        let (first, pushed) = (bench.store.clone(), std::mem::take(&mut bench.pushed));
        let bench = Bench::with(Arc::clone(&bench.queue), Fake::default(), bench.clock, setting());
        bench.pass(after).await;
        let (second, _) = OnDisk { bench, keeper }.kill().await;
        let third = Fake::default();
        next_process(&path, third.clone(), setting()).await;
        let stores = [first, second, third];
        let all: usize = stores.iter().map(|store| store.world().objects.len()).sum();
        repeated += all - check_once(&stores, &pushed, &case);
    }
    assert!(repeated > 0, "no object was there when it was sent again");
}

/// Lines that do not become smaller.
fn push_noise(bench: &mut Bench, lines: usize) {
    for at in 0..lines {
        let line = format!("{at:0>60}{:032x}\n", u128::from(fastrand::u64(..)) << 7).into();
        bench.push_line("a/", line, Compression::Zstd(1), Tickets::none());
    }
}

/// The next start with this directory, to its end. What is in another store already is made again here: that is in the
/// place of the store's answer to `If-None-Match`.
async fn next_process(path: &std::path::Path, store: Fake, setting: Setting) {
    let mut next = OnDisk::start(path, store, Setting { writer: "v", ..setting });
    next.bench.pass(60).await;
    next.bench.drain().await;
}

/// Checks that objects of one key are the same, and that each line stands once in all of them; how many there are.
fn check_once(stores: &[Fake], pushed: &[(Arc<Partition>, u64, Bytes)], case: &str) -> usize {
    let mut all = BTreeMap::new();
    for (key, object) in stores.iter().flat_map(|store| store.world().objects.clone()) {
        if let Some(same) = all.insert(key.clone(), object.clone()) {
            assert_eq!(same, object, "{key}, {case}");
        }
    }
    let mut lines = Vec::new();
    for object in all.values() {
        let decoder = zstd::stream::read::Decoder::new(&object[..]).expect("frames");
        std::io::Read::read_to_end(&mut std::io::Read::take(decoder, 1 << 20), &mut lines).expect("whole frames");
    }
    let expected: Vec<u8> = pushed.iter().flat_map(|(.., plain)| plain.to_vec()).collect();
    let sorted = |text: &[u8]| {
        let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&lines), sorted(&expected), "{case}");
    all.len()
}
