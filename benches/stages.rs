//! Each stage in criterion's hands, its floor beside it: how long a run takes, and whether that has changed since the
//! last time on this machine. On a machine that is shared, see `floors` and `instructions`.

mod stage;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn stages(criterion: &mut Criterion) {
    for (name, make) in stage::STAGES {
        let mut work = make();
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(work.bytes as u64));
        group.bench_function("logweir", |bencher| bencher.iter(&mut work.run));
        group.bench_function(format!("floor: {}", work.floor), |bencher| bencher.iter(&mut work.run_floor));
        group.finish();
    }
}

criterion_group!(all, stages);
criterion_main!(all);
