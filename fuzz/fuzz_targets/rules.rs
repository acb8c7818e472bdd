//! Rules on any record: no panic, and the prefilter and the shared pass never change an answer.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use logweir::record::level::LevelRules;
use logweir::record::msgpack::{Reader, Value};
use logweir::record::{Record, Tag};
use logweir::route::{Decision, RouteSpec, Router};

/// One of every kind of condition.
const CONDITIONS: [&str; 14] = [
    r#"log.path == "/healthz" && log.status == 200"#,
    "level >= WARN",
    "level == FATAL || level < DEBUG",
    r#"log.contains("boom") || log.startsWith("E") || log.endsWith("\n")"#,
    r#"log.matches("(?i)time.?out [0-9]+")"#,
    r#"container == "app" && task_id != "1""#,
    r#"record["@timestamp"] == 1.5"#,
    "has(record.a.b.c) && !has(record.z)",
    "a.b.c in [1, 2.0, \"three\", true]",
    "status >= 500 && status < 600",
    "log.a.b.c > 9007199254740993",
    r#"kubernetes.labels.app == "web" || kubernetes.labels.app != "x""#,
    "!(flag == true) && tag != \"\"",
    r#"source_name == "fuzz" && log.level == "error""#,
];

thread_local! {
    static ROUTER: RefCell<Router> = RefCell::new(router());
}

fn router() -> Router {
    let spec = |(index, when): (usize, &&str)| RouteSpec {
        name: format!("route-{index}"),
        when: Some((*when).to_owned()),
        sinks: vec![index],
        goes_on: true,
    };
    let mut routes: Vec<_> = CONDITIONS.iter().enumerate().map(spec).collect();
    routes.push(RouteSpec { name: "rest".into(), when: None, sinks: vec![CONDITIONS.len()], goes_on: false });
    Router::compile(&routes, LevelRules::default()).expect("the conditions above are valid")
}

/// What a batch promises of each record: one whole map.
fn is_whole_map(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    matches!(Reader::new(bytes).read(), Ok(Value::Map(_))) && reader.skip().is_ok() && reader.is_empty()
}

fuzz_target!(|map: &[u8]| {
    let tag = Tag::from("app-firelens-0123");
    let record = Record { tag: &tag, source: "fuzz", time: 1, received: 2, map, ecs: None, json: Default::default() };
    ROUTER.with_borrow_mut(|router| {
        let (mut fast, mut plain) = (Decision::default(), Decision::default());
        router.decide(&record, &mut fast);
        router.decide_plainly(&record, &mut plain);
        let explained = router.explain(&record);
        assert_eq!(explained.routes.len(), CONDITIONS.len() + 1);
        if is_whole_map(map) {
            assert_eq!(fast, plain);
        }
    });
});
