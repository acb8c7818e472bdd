//! What a GB of logs costs: the binary as a user runs it, between a sender and sinks that are processes of their own.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time and has threads of its own")]

mod chunks;
mod machine;
mod mark;
mod measure;
mod payload;
mod router;
mod scenario;
mod sender;
mod sink;

use scenario::Scenario;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sender") => return sender::run(&args[2]),
        Some("sink") => return sink::run(args[2].parse().ok()),
        _ => {}
    }
    let m = measure::measure(&Scenario::split("split", 5_000_000), 7).unwrap();
    println!("{m:#?} {}", m.cpu_per_gb());
}
