//! When an object is closed: by stored size, age, pressure, a waiting ack or the drain. Pure decisions, no clock.

use std::sync::Arc;
use std::time::Duration;

use super::{Limits, MAX_PARTS};
use crate::encode::{Moment, Partition, checksum};

/// In a drain, an object waits so long for its last blocks to be compressed: milliseconds, unless that failed.
const LAST_BLOCKS: Duration = Duration::from_secs(1);

/// By up to this part of their age objects are closed earlier, those of each process by a part of its own: a fleet whose
/// prefix has an hour begins all its objects in one second, and must not put them in one.
const SPREAD: f64 = 0.1;

/// What objects wait on average, as a part of `object.age`.
pub(crate) const MEAN_AGE: f64 = 1.0 - SPREAD / 2.0;

/// How long the objects of a writer wait.
pub(super) fn own_age(age: Duration, writer: &str) -> Duration {
    age.mul_f64(1.0 - SPREAD * f64::from(checksum(writer.as_bytes())) / f64::from(u32::MAX))
}

/// What closed an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedBy {
    /// Nothing more comes in.
    Drain,
    /// It has reached its size as stored.
    Size,
    /// A sender has waited long enough.
    Ack,
    /// Its first record is old enough.
    Age,
    /// The queue is three quarters full.
    Pressure,
    /// The sink goes on with other settings.
    Reload,
}

impl ClosedBy {
    /// As the metrics name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Size => "size",
            Self::Ack => "ack",
            Self::Age => "age",
            Self::Pressure => "pressure",
            Self::Reload => "reload",
        }
    }
}

/// An object as it would be if it were closed now: what is begun of it, and what waits in the queue.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) partition: Arc<Partition>,
    /// When its first record was routed.
    pub(super) opened: Moment,
    /// When the first record that a sender waits for was routed.
    pub(super) awaited: Option<Moment>,
    /// Bytes that wait in the queue, ready to be taken.
    pub(super) ready: u64,
    /// Whether more of it is being compressed.
    pub(super) unready: bool,
    /// Bytes that were taken and stay in memory until the next part goes out.
    pub(super) pending: u64,
    /// Bytes that are out of memory, in confirmed parts.
    pub(super) sent: u64,
    /// Confirmed parts.
    pub(super) parts: usize,
}

/// What to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before this moment, unless more comes in.
    Wait(Moment),
    /// Take so many bytes and send them as a part; the object stays open.
    Part(u64),
    /// Take so many bytes and end the object.
    Close(u64, ClosedBy),
}

/// When objects are closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutter {
    pub(super) size: u64,
    pub(super) age: Duration,
    pub(super) ack_wait: Duration,
    pub(super) limits: Limits,
    /// Nothing goes out before an object is closed: its blocks are on disk until it is confirmed.
    pub(super) whole: bool,
}

impl Cutter {
    /// What to do with an object now. A backlog goes out part by part, whatever the reason; only the last is a close.
    /// `draining` is since when the process drains.
    pub(super) fn verdict(&self, object: &Candidate, now: Moment, draining: Option<Moment>) -> Verdict {
        match self.reason(object, now, draining) {
            Ok(reason) => self.close(object, reason),
            Err(_) if !self.whole && self.takes(object) > self.limits.part => Verdict::Part(self.limits.part),
            Err(due) => Verdict::Wait(due),
        }
    }

    /// Closes an object, or takes a step towards it.
    pub(super) fn close(&self, object: &Candidate, reason: ClosedBy) -> Verdict {
        let (bytes, part) = (self.takes(object), self.limits.part);
        if self.whole {
            return Verdict::Close(bytes, reason);
        }
        if bytes > part && object.parts + 1 < MAX_PARTS {
            return Verdict::Part(part);
        }
        Verdict::Close(bytes.min(part), reason)
    }

    /// Why it is closed now, or when it will be.
    fn reason(&self, object: &Candidate, now: Moment, draining: Option<Moment>) -> Result<ClosedBy, Moment> {
        if object.pending + object.sent + object.ready >= self.size || object.parts + 1 >= MAX_PARTS {
            return Ok(ClosedBy::Size);
        }
        if let Some(since) = draining {
            let until = since.saturating_add(LAST_BLOCKS);
            return if object.unready && now < until { Err(until) } else { Ok(ClosedBy::Drain) };
        }
        let aged = object.opened.saturating_add(self.age);
        let acked = object.awaited.map_or(Moment::MAX, |since| since.saturating_add(self.ack_wait));
        match () {
            () if acked <= now => Ok(ClosedBy::Ack),
            () if aged <= now => Ok(ClosedBy::Age),
            () => Err(aged.min(acked)),
        }
    }

    /// How much of what waits belongs to this object.
    fn takes(&self, object: &Candidate) -> u64 {
        object.ready.min(self.size.saturating_sub(object.pending + object.sent))
    }
}

/// Whether so many waiting bytes call for closing another object: from three quarters of the bound on, until half of
/// it waits. The gap keeps a queue that hovers there from being cut into crumbs.
pub(super) fn is_pressed(used: u64, waiting: u64, bound: u64) -> bool {
    used >= bound / 4 * 3 && waiting > bound / 2
}

#[cfg(test)]
mod tests {
    use super::super::LIMITS;
    use super::*;

    const MIB: u64 = 1 << 20;
    const PART: u64 = LIMITS.part;
    const CUTTER: Cutter = Cutter {
        size: 64 * MIB,
        age: Duration::from_secs(300),
        ack_wait: Duration::from_secs(10),
        limits: LIMITS,
        whole: false,
    };

    fn object(ready: u64, sent: u64) -> Candidate {
        let partition = Arc::new(Partition::Whole);
        let opened = Duration::from_secs(100);
        Candidate { partition, opened, awaited: None, ready, unready: false, pending: 0, sent, parts: 0 }
    }

    #[test]
    fn processes_wait_for_times_of_their_own() {
        let age = Duration::from_secs(300);
        let ages: Vec<_> = (0..100).map(|writer| own_age(age, &format!("{writer:08x}")).as_secs_f64()).collect();
        let mean = ages.iter().sum::<f64>() / 100.0;
        assert!(ages.iter().all(|own| (270.0..=300.0).contains(own)), "{ages:?}");
        assert!((mean / 300.0 - MEAN_AGE).abs() < 0.01, "{mean}");
        assert_eq!(own_age(age, "w"), own_age(age, "w"));
    }

    #[test]
    fn an_object_waits_for_its_age() {
        let at = |secs| CUTTER.verdict(&object(MIB, 0), Duration::from_secs(secs), None);
        assert_eq!(at(101), Verdict::Wait(Duration::from_secs(400)));
        assert_eq!(at(400), Verdict::Close(MIB, ClosedBy::Age));
    }

    #[test]
    fn an_object_that_a_sender_waits_for_is_closed_sooner() {
        let awaited = Candidate { awaited: Some(Duration::from_secs(200)), ..object(MIB, 0) };
        let at = |secs| CUTTER.verdict(&awaited, Duration::from_secs(secs), None);
        assert_eq!(at(205), Verdict::Wait(Duration::from_secs(210)));
        assert_eq!(at(210), Verdict::Close(MIB, ClosedBy::Ack));
    }

    #[test]
    fn parts_go_out_as_they_fill_and_the_last_one_closes() {
        let now = Duration::from_secs(101);
        let verdict = |ready, sent| CUTTER.verdict(&object(ready, sent), now, None);
        assert_eq!(verdict(8 * MIB, 0), Verdict::Wait(Duration::from_secs(400)), "one request, so far");
        assert_eq!(verdict(8 * MIB + 1, 0), Verdict::Part(PART));
        assert_eq!(verdict(80 * MIB, 16 * MIB), Verdict::Part(PART));
        assert_eq!(verdict(80 * MIB, 60 * MIB), Verdict::Close(4 * MIB, ClosedBy::Size));
        assert_eq!(verdict(0, 64 * MIB), Verdict::Close(0, ClosedBy::Size));
    }

    #[test]
    fn a_drain_closes_everything_a_backlog_part_by_part() {
        let now = Duration::from_secs(101);
        let drain = |object: &Candidate, now| CUTTER.verdict(object, now, Some(Duration::from_secs(101)));
        assert_eq!(drain(&object(5, 0), now), Verdict::Close(5, ClosedBy::Drain));
        assert_eq!(drain(&object(20 * MIB, 0), now), Verdict::Part(PART));
        let compressing = Candidate { unready: true, ..object(5, 0) };
        let later = Duration::from_secs(102);
        assert_eq!(drain(&compressing, now), Verdict::Wait(later));
        assert_eq!(drain(&compressing, later), Verdict::Close(5, ClosedBy::Drain));
    }

    #[test]
    fn a_whole_object_goes_out_in_one_piece_when_it_is_closed() {
        let whole = Cutter { whole: true, ..CUTTER };
        let at = |secs, ready| whole.verdict(&object(ready, 0), Duration::from_secs(secs), None);
        assert_eq!(at(101, 20 * MIB), Verdict::Wait(Duration::from_secs(400)));
        assert_eq!(at(101, 80 * MIB), Verdict::Close(64 * MIB, ClosedBy::Size));
        assert_eq!(at(400, 20 * MIB), Verdict::Close(20 * MIB, ClosedBy::Age));
    }

    #[test]
    fn an_object_of_the_most_parts_is_closed() {
        let verdict = |ready| {
            let long = Candidate { parts: MAX_PARTS - 1, ..object(ready, 0) };
            CUTTER.verdict(&long, Duration::from_secs(101), None)
        };
        assert_eq!(verdict(1), Verdict::Close(1, ClosedBy::Size));
        assert_eq!(verdict(20 * MIB), Verdict::Close(PART, ClosedBy::Size));
    }

    #[test]
    fn pressure_begins_at_three_quarters_and_ends_when_half_waits() {
        assert!(!is_pressed(74, 74, 100));
        assert!(is_pressed(75, 75, 100));
        assert!(is_pressed(100, 51, 100));
        assert!(!is_pressed(100, 50, 100), "the rest is on its way");
    }
}
