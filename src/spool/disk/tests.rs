//! What the store promises, on a disk that fails in every way that a disk may fail: against a model, with random steps
//! and faults; and one script in which each single operation is the one that fails or the last one.

mod damage;
mod rig;

use proptest::prelude::*;
use rustix::io::Errno;

use self::rig::Rig;
use super::sim::{Crash, Disk};

#[derive(Clone, Debug)]
enum Step {
    Append {
        sizes: Vec<u16>,
        cold: bool,
    },
    GiveUp,
    Read,
    Refill(usize),
    Cut(usize),
    Upload(usize),
    End {
        which: usize,
        many: usize,
    },
    Close,
    /// So many operations from here on, one fails.
    Fail(u64, Errno),
    /// So many operations from here on, the process dies.
    Die(u64),
    Crash(Crash),
}

use Step::{Append, Close, Cut, End, Fail, GiveUp, Read, Refill, Upload};

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![9 => 0..300_u16, 1 => 300..6_000_u16];
    let errors = prop_oneof![Just(Errno::IO), Just(Errno::NOSPC)];
    let crashes = || prop_oneof![Just(Crash::Process), Just(Crash::Machine)];
    prop_oneof![
        8 => (prop::collection::vec(sizes, 1..6), prop::bool::weighted(0.2))
            .prop_map(|(sizes, cold)| Append { sizes, cold }),
        1 => Just(GiveUp),
        1 => Just(Read),
        3 => (1..5_usize).prop_map(Refill),
        4 => (1..5_usize).prop_map(Cut),
        2 => (0..9_usize).prop_map(Upload),
        6 => (0..9_usize, 1..9_usize).prop_map(|(which, many)| End { which, many }),
        1 => Just(Close),
        3 => (1..9_u64, errors).prop_map(|(after, error)| Fail(after, error)),
        2 => (1..20_u64).prop_map(Step::Die),
        2 => crashes().prop_map(Step::Crash),
    ]
}

impl Rig {
    fn take_step(&mut self, step: &Step) {
        match step {
            Append { sizes, cold } => self.append(sizes, *cold),
            GiveUp => self.give_up(),
            Read => self.read(),
            Refill(most) => self.refill(*most),
            Cut(most) => self.cut(*most),
            Upload(which) => self.upload(*which),
            End { which, many } => self.end(*which, *many),
            Close => self.close(),
            Fail(after, error) => self.disk.fail(self.disk.operations() + after, *error),
            Step::Die(after) => self.disk.die(self.disk.operations() + after),
            Step::Crash(crash) => self.reopen(*crash),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_was_promised_holds_whatever_fails(
        seed in any::<u64>(),
        machine in any::<bool>(),
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let crash = if machine { Crash::Machine } else { Crash::Process };
        let mut rig = Rig::new(Disk::new(seed));
        for step in &steps {
            rig.take_step(step);
            if rig.disk.is_dead() {
                rig.reopen(crash);
            }
        }
        rig.reopen(crash);
        rig.finish();
    }
}

/// A day in the life of a queue: about a hundred steps, in which everything occurs.
fn script() -> Vec<Step> {
    let hot = |sizes: &[u16]| Append { sizes: sizes.into(), cold: false };
    let cold = |sizes: &[u16]| Append { sizes: sizes.into(), cold: true };
    let end = |which, many| End { which, many };
    let mut steps = Vec::new();
    for round in 0..6 {
        steps.extend([hot(&[200, 100, 250]), Cut(2), Upload(0), hot(&[90, 300]), Read, end(0, 1)]);
        steps.extend([Cut(3), hot(&[700]), end(9, 3), Upload(1), cold(&[100, 150, 200]), hot(&[50]), Refill(2)]);
        steps.extend([end(0, 4), Refill(9), Cut(2), end(1, 2), end(2, 9)]);
        if round % 2 == 1 {
            steps.extend([Close, Step::Crash(Crash::Process), Refill(1), hot(&[10]), Refill(99)]);
        }
    }
    steps
}

/// The script with a fault somewhere; what happens then is checked on the way.
fn play(seed: u64, crash: Crash, set: impl FnOnce(&Disk)) {
    let disk = Disk::new(seed);
    set(&disk);
    let mut rig = Rig::new(disk);
    for step in script() {
        if rig.disk.is_dead() {
            break;
        }
        rig.take_step(&step);
    }
    rig.reopen(crash);
    rig.finish();
}

fn operations_of_script() -> u64 {
    let mut rig = Rig::new(Disk::new(0));
    script().iter().for_each(|step| rig.take_step(step));
    let operations = rig.disk.operations();
    assert!(operations > 100, "{operations}");
    operations
}

#[test]
fn the_process_may_die_in_any_operation() {
    for operation in 1..=operations_of_script() {
        play(operation, Crash::Process, |disk| disk.die(operation));
    }
}

#[test]
fn the_machine_may_die_in_any_operation() {
    for operation in 1..=operations_of_script() {
        for seed in 0..3 {
            play(operation << 8 | seed, Crash::Machine, |disk| disk.die(operation));
        }
    }
}

#[test]
fn any_operation_may_fail_and_the_store_goes_on() {
    for operation in 1..=operations_of_script() {
        for (error, crash) in [(Errno::IO, Crash::Machine), (Errno::NOSPC, Crash::Process)] {
            play(operation, crash, |disk| disk.fail(operation, error));
        }
    }
}
