//! No text makes the config's loader panic, and what it refuses it can print.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir::config::{Host, load};

fuzz_target!(|text: &str| {
    let host = Host { vars: &|name| (name.len() < 4).then(|| name.repeat(2)), memory_limit: Some(256 << 20) };
    match load("fuzz.yaml", text, &host) {
        Ok(plan) => assert!(plan.routes.last().is_some_and(|route| route.when.is_none())),
        Err(problems) => assert!(!problems.list.is_empty() && problems.to_string().starts_with("error: ")),
    }
});
