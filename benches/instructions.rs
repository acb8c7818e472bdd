//! The regression gate: how many instructions each stage takes a record, counted by valgrind, against the baseline that
//! stands in the repository. Time differs from run to run and from machine to machine; this does not.
//!
//! `make gate` compares: it fails when a stage takes over [`TOLERANCE`] more, and when it takes so much less, so that
//! the baseline keeps up. `make gate-baseline` writes what is measured. A name behind either picks stages:
//! `make gate STAGE=rules`. What each function took stands in the target directory, for `callgrind_annotate`.
//!
//! Valgrind shows programs a CPU of its own (AVX2, no AVX-512), so that run-time dispatch picks the same code on every
//! x86-64 machine that has AVX2. Another compiler or architecture has other counts: the baseline names the one that it was
//! made with, and under another the changes are shown and not judged.

mod stage;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};

use stage::{RECORDS, STAGES, Stage, Work};

/// Per cent.
const TOLERANCE: f64 = 3.0;

/// One line a stage.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.baseline");

/// Names what is counted to valgrind.
const COUNTED: &str = "--toggle-collect=*count_this*";

/// Libraries: compressors are not ours to watch.
const LEFT_OUT: &str = "compress/";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let flags: Vec<&str> = args.iter().map(String::as_str).filter(|arg| arg.starts_with("--")).collect();
    let name = args.iter().find(|arg| !arg.starts_with("--")).map_or("", String::as_str);
    let stages = STAGES.iter().filter(|(stage, _)| stage.contains(name) && !stage.starts_with(LEFT_OUT));
    if flags.contains(&"--test") {
        stages.for_each(try_out);
        return ExitCode::SUCCESS;
    }
    if flags.contains(&"--count") {
        STAGES.iter().filter(|(stage, _)| *stage == name).for_each(|(_, make)| run(make()));
        return ExitCode::SUCCESS;
    }
    match gate(stages, flags.contains(&"--write")) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// That it runs, without valgrind.
fn try_out((stage, make): &Stage) {
    let mut work = make();
    black_box((work.run)() + (work.run_floor)());
    println!("{stage}: {} bytes a run, beside {}", work.bytes, work.floor);
}

/// Once to warm up, once counted.
fn run(mut work: Work) {
    black_box((work.run)());
    count_this(&mut work);
}

/// What valgrind looks for by its name.
#[inline(never)]
fn count_this(work: &mut Work) {
    black_box((work.run)());
}

fn gate<'a>(stages: impl Iterator<Item = &'a Stage>, write: bool) -> Result<ExitCode, String> {
    let text = fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}"))?;
    let mut baseline = read(&text)?;
    let compiler = compiler()?;
    println!("{:<22} {:>12} {:>12} {:>9}", "instructions a record", "baseline", "now", "change");
    let mut off = Vec::new();
    for (stage, _) in stages {
        let now = count(stage)?;
        let Some(before) = baseline.insert(stage.to_string(), now) else {
            println!("{stage:<22} {:>12} {now:>12.1} {:>9}", "-", "new");
            off.push(*stage);
            continue;
        };
        let change = (now / before - 1.0) * 100.0;
        println!("{stage:<22} {before:>12.1} {now:>12.1} {change:>+8.2}%");
        if change.abs() > TOLERANCE {
            off.push(*stage);
        }
    }
    if write {
        baseline.retain(|stage, _| STAGES.iter().any(|(known, _)| known == stage));
        fs::write(BASELINE, written(&compiler, &baseline)).map_err(|error| format!("{BASELINE}: {error}"))?;
        println!("written to {BASELINE}");
        return Ok(ExitCode::SUCCESS);
    }
    if off.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !text.contains(&compiler) {
        println!(
            "the baseline was made by another compiler than {compiler}, which counts otherwise: shown, not judged"
        );
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "more than {TOLERANCE} % off the baseline: {}\nmend it; if it is meant, or has become less, let `make \
         gate-baseline` write what is measured and commit it with its reason",
        off.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// Instructions a record, by valgrind.
fn count(stage: &str) -> Result<f64, String> {
    let me = env::current_exe().map_err(|error| error.to_string())?;
    let folder = me.parent().unwrap_or(Path::new(".")).join("instructions");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let out = folder.join(format!("{}.out", stage.replace('/', "-")));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", COUNTED]).arg(format!("--callgrind-out-file={}", out.display()));
    // What stands in the environment moves the stack.
    valgrind.arg(me).args(["--count", stage]).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    let done =
        valgrind.output().map_err(|error| format!("valgrind does not start ({error}): apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let collected =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().parse::<u64>());
    match collected {
        Some(Ok(0)) => Err(format!("{stage}: valgrind found nothing to count: is the bench stripped of its names?")),
        Some(Ok(count)) if done.status.success() => Ok(count as f64 / RECORDS as f64),
        _ => Err(format!("{stage}: valgrind ended with {}:\n{said}", done.status)),
    }
}

/// The compiler's own name, such as `rustc 1.94.1 (…) x86_64-unknown-linux-gnu`.
fn compiler() -> Result<String, String> {
    let said = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?.stdout;
    let said = String::from_utf8_lossy(&said);
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    Ok(format!("{} {host}", said.lines().next().unwrap_or_default()))
}

fn read(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let parsed = line.split_once(' ').and_then(|(name, count)| Some((name.into(), count.trim().parse().ok()?)));
            parsed.ok_or_else(|| format!("{BASELINE}: no stage and number: {line}"))
        })
        .collect()
}

fn written(compiler: &str, counts: &BTreeMap<String, f64>) -> String {
    let head = format!("# Instructions a record, by `make gate-baseline`; {compiler}\n");
    counts.iter().fold(head, |text, (stage, count)| text + &format!("{stage:<22} {count:>10.1}\n"))
}
