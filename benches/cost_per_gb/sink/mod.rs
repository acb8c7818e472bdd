//! The sinks: S3 and CloudWatch Logs on loopback, in a process of their own.
//!
//! While the clock runs they do as little as a server can: read a request, keep its body, answer. They check nothing then;
//! what came is decoded and looked at afterwards. They speak plain HTTP; what TLS would cost is some 0.1 CPU seconds per
//! GB *sent* (AES-GCM), a tenth of that per GB of log text.
//!
//! Commands come as lines on stdin: `open` lifts the throttle, `verify` with its question as JSON closes the books and
//! answers with an account of all that arrived, and then `calls` with the scenario with what bare library calls on it
//! take.

mod decode;
mod http;
mod sample;
mod store;
mod verify;

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

pub(crate) use verify::{Arrived, Question};

use crate::scenario::Scenario;
use store::Store;

/// Runs the sinks: the address on stdout, then commands on stdin. `throttle` is in bytes of bodies a second.
pub(crate) fn run(throttle: Option<f64>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    let store = Arc::new(Store::new(throttle));
    let serving = Arc::clone(&store);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = Arc::clone(&serving);
            // An error is the router's end of the connection; what is missing will be seen.
            thread::spawn(move || http::serve(stream, |request| store.answer(request)));
        }
    });
    let mut closed = None;
    for line in io::stdin().lock().lines() {
        let line = line.expect("the bench writes text");
        let answer = match (line.split_once(' '), &closed) {
            (Some(("verify", question)), _) => {
                let question: Question = serde_json::from_str(question).expect("the bench wrote it");
                let kept = store.take();
                let arrived = verify::verify(&kept, &question);
                let answer = serde_json::to_string(&arrived);
                closed = Some((kept, arrived));
                answer
            }
            (Some(("calls", scenario)), Some((kept, arrived))) => {
                let scenario: Scenario = serde_json::from_str(scenario).expect("the bench wrote it");
                serde_json::to_string(&sample::calls(kept, arrived, &scenario))
            }
            _ => {
                store.open();
                continue;
            }
        };
        println!("{}", answer.expect("plain data"));
    }
}
