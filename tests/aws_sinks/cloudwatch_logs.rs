//! The CloudWatch Logs sink.

use std::sync::Arc;
use std::time::Duration;

use logweir::aws::Access;
use logweir::config::value::Span;
use logweir::encode::entries::EntryEncoder;
use logweir::encode::{Count, Message, Partition};
use logweir::record::msgpack::write;
use logweir::record::{Outcome, Record, Tag, Tickets};
use logweir::sink::cloudwatch_logs::{BodyCompression, CloudWatchLogsConfig, LogClass, run_with};
use serde_json::json;

use crate::fake::{Fake, POISON, Reply};
use crate::rig::{Rig, access, quick, ticket, until};

fn config(fake: &Fake) -> CloudWatchLogsConfig {
    let mut config: CloudWatchLogsConfig =
        serde_json::from_value(json!({ "log_group": "g", "endpoint": fake.endpoint() })).expect("it is a config");
    config.retry = quick();
    config
}

fn stream(group: &str, stream: &str) -> Arc<Partition> {
    Arc::new(Partition::Stream { group: group.into(), stream: stream.into() })
}

/// A group and stream that exist.
fn ready(fake: &Fake) -> Arc<Partition> {
    fake.state().groups.entry("g".into()).or_default().insert("s".into());
    stream("g", "s")
}

fn push(rig: &Rig, partition: &Arc<Partition>, texts: &[String]) {
    push_for(rig, &Tickets::none(), partition, texts);
}

/// A block of these messages, a nanosecond apart.
fn push_for(rig: &Rig, tickets: &Tickets, partition: &Arc<Partition>, texts: &[String]) {
    let now = rig.context.clock.unix();
    let mut encoder = EntryEncoder::new(Message::Log);
    let tag = Tag::from_bytes(b"t");
    let (mut data, mut records) = (Vec::new(), Vec::new());
    for (at, text) in texts.iter().enumerate() {
        let mut map = Vec::new();
        write::map(&mut map, 1);
        write::str(&mut map, b"log");
        write::str(&mut map, text.as_bytes());
        let time = now + at as i64;
        encoder.encode(
            &Record { tag: &tag, source: "s", time, received: now, map: &map, ecs: None, json: Default::default() },
            &mut data,
        );
        records.push((time, map.len() as u64));
    }
    rig.push_for(tickets, partition, &records, data);
}

fn texts(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|at| format!("{prefix} {at} \"quoted\" é\n")).collect()
}

fn messages(fake: &Fake) -> Vec<String> {
    fake.state().events.iter().map(|event| event.message.clone()).collect()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[tokio::test]
async fn creates_what_is_missing_once_and_delivers_to_many_streams() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let mut config = config(&fake);
    config.create.retention_days = Some(30);
    config.create.class = LogClass::InfrequentAccess;
    config.create.tags.insert("team".into(), "a".into());
    for at in 0..20 {
        let partition = stream(&format!("g{}", at % 2), &format!("s{at}"));
        (0..3).for_each(|block| push(&rig, &partition, &texts(&format!("{at} {block}"), 100)));
    }
    let book = rig.end(run_with(rig.context.clone(), config, access())).await;
    assert_eq!((book.delivered.records, book.delivered), (6000, book.accepted));
    let state = fake.state();
    assert_eq!(state.events.len(), 6000);
    assert!(state.events.iter().all(|event| event.stream.strip_prefix('s') == event.message.split(' ').next()));
    assert_eq!((state.count("CreateLogGroup"), state.count("PutRetentionPolicy")), (2, 2));
    assert_eq!((state.retention["g0"], state.retention["g1"]), (30, 30));
    assert_eq!(state.created["g0"]["logGroupClass"], "INFREQUENT_ACCESS");
    assert_eq!(state.created["g0"]["tags"], json!({ "team": "a" }));
}

#[tokio::test]
async fn each_passing_error_only_delays_records() {
    let replies = [
        Reply::Error(400, "ThrottlingException", "Rate exceeded"),
        Reply::Error(503, "ServiceUnavailableException", "later"),
        Reply::Error(500, "InternalFailure", "oops"),
        Reply::Error(400, "UnrecognizedClientException", "The security token included in the request is invalid."),
        Reply::Error(400, "ExpiredTokenException", "The security token included in the request is expired"),
        Reply::Error(400, "AccessDeniedException", "not authorized to perform: logs:PutLogEvents"),
        Reply::Html(502),
        Reply::Html(200),
        Reply::Cut,
        Reply::Silence,
    ];
    for reply in replies {
        let (fake, rig) = (Fake::start().await, Rig::new());
        let partition = ready(&fake);
        fake.script("PutLogEvents", reply.clone());
        push(&rig, &partition, &texts("x", 10));
        let access = Access { attempt_timeout: Duration::from_secs(1), ..access() };
        let book = rig.end(run_with(rig.context.clone(), config(&fake), access)).await;
        assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0), "{reply:?}");
        assert_eq!((messages(&fake), fake.state().count("PutLogEvents")), (texts("x", 10), 2), "{reply:?}");
    }
}

#[tokio::test]
async fn what_aws_refuses_is_dropped_and_the_queue_moves_on() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let (tickets, outcome) = ticket();
    push_for(&rig, &tickets, &partition, &texts(POISON, 3));
    drop(tickets);
    let sink = tokio::spawn(run_with(rig.context.clone(), config(&fake), access()));
    until("the poison is dropped", || rig.book().waiting() == Count::default()).await;
    assert_eq!(outcome.try_iter().collect::<Vec<_>>(), [Outcome::Dropped], "a sender must not repeat it");
    push(&rig, &partition, &texts("good", 3));
    let book = rig.end(async { sink.await.expect("it returns") }).await;
    assert_eq!((book.dropped["rejected"].records, book.delivered.records), (3, 3));
    assert_eq!(messages(&fake), texts("good", 3));
}

#[tokio::test]
async fn of_a_request_that_aws_refuses_only_the_event_at_fault_is_dropped() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let mut content = texts("good", 1000);
    content.splice(700..700, texts(POISON, 1));
    push(&rig, &partition, &content);
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.dropped["rejected"].records, book.delivered.records), (1, 1000));
    assert_eq!(messages(&fake), texts("good", 1000));
}

#[tokio::test]
async fn a_request_whose_events_are_all_refused_takes_a_bounded_number_of_calls() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    push(&rig, &partition, &texts(POISON, 5000));
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.dropped["rejected"].records, book.delivered.records), (5000, 0));
    let calls = fake.state().count("PutLogEvents");
    assert!(calls < 300, "{calls} calls");
}

#[tokio::test]
async fn a_request_that_aws_finds_too_large_is_split() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let too_large = "Upload too large: 1048577 bytes exceeds limit of 1048576";
    fake.script("PutLogEvents", Reply::Error(400, "InvalidParameterException", too_large));
    fake.script("PutLogEvents", Reply::Error(413, "RequestEntityTooLarge", ""));
    push(&rig, &partition, &texts("x", 9));
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0));
    assert_eq!((messages(&fake), fake.state().count("PutLogEvents")), (texts("x", 9), 5));
}

#[tokio::test]
async fn events_that_aws_does_not_keep_are_counted_by_reason() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let info = json!({ "tooOldLogEventEndIndex": 2, "expiredLogEventEndIndex": 3, "tooNewLogEventStartIndex": 8 });
    fake.script("PutLogEvents", Reply::Json(json!({ "rejectedLogEventsInfo": info })));
    push(&rig, &partition, &texts("x", 10));
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    let dropped: Vec<_> = book.dropped.iter().map(|(reason, count)| (*reason, count.records)).collect();
    assert_eq!((book.delivered.records, dropped), (5, vec![("expired", 1), ("too_new", 2), ("too_old", 2)]));
    assert_eq!(book.waiting(), Count::default());
}

#[tokio::test]
async fn without_creation_records_wait_until_somebody_makes_the_stream() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let mut config = config(&fake);
    config.create.enabled = false;
    push(&rig, &stream("g", "s"), &texts("x", 3));
    let sink = tokio::spawn(run_with(rig.context.clone(), config, access()));
    until("it tries again", || fake.state().count("PutLogEvents") > 3).await;
    assert_eq!(rig.book().waiting().records, 3);
    ready(&fake);
    let book = rig.end(async { sink.await.expect("it returns") }).await;
    assert_eq!((book.delivered.records, fake.state().count("CreateLogStream")), (3, 0));
}

#[tokio::test]
async fn a_race_for_the_group_and_a_lost_answer_still_set_its_retention() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let mut config = config(&fake);
    config.create.retention_days = Some(7);
    fake.script("CreateLogGroup", Reply::Error(400, "OperationAbortedException", "Multiple requests conflict"));
    fake.script("CreateLogGroup", Reply::DoneThenCut);
    fake.script("CreateLogStream", Reply::Error(400, "ResourceNotFoundException", "no group"));
    fake.script("CreateLogStream", Reply::Error(400, "ResourceNotFoundException", "no group"));
    fake.script("CreateLogStream", Reply::Error(400, "ResourceNotFoundException", "no group, says a slow replica"));
    fake.script("PutRetentionPolicy", Reply::Error(400, "ThrottlingException", "Rate exceeded"));
    push(&rig, &stream("g", "s"), &texts("x", 3));
    let book = rig.end(run_with(rig.context.clone(), config, access())).await;
    assert_eq!(book.delivered.records, 3);
    let state = fake.state();
    assert_eq!((state.count("CreateLogGroup"), state.retention["g"]), (3, 7));
}

#[tokio::test]
async fn settings_of_a_new_group_that_aws_refuses_hold_records_until_they_are_mended() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let no_key = "The specified KMS Key Id could not be found.";
    for _ in 0..3 {
        fake.script("CreateLogGroup", Reply::Error(400, "InvalidParameterException", no_key));
    }
    push(&rig, &stream("g", "s"), &texts("x", 3));
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0));
    assert_eq!(fake.state().count("CreateLogGroup"), 4);
}

#[tokio::test]
async fn a_name_that_aws_refuses_is_not_tried_again() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let name = "1 validation error detected: Value 'a*' at 'logGroupName' failed to satisfy constraint";
    fake.script("CreateLogGroup", Reply::Error(400, "InvalidParameterException", name));
    push(&rig, &stream("g", "s"), &texts("x", 3));
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.dropped["rejected"].records, fake.state().count("CreateLogGroup")), (3, 1));
}

#[tokio::test]
async fn records_of_a_new_group_never_wait_for_its_retention() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let mut config = config(&fake);
    config.create.retention_days = Some(7);
    fake.script("PutRetentionPolicy", Reply::Silence);
    (0..5).for_each(|at| push(&rig, &stream("g", &format!("s{at}")), &texts("x", 3)));
    // Longer than any test: nothing but an answer ends an attempt.
    let access = Access { attempt_timeout: Duration::from_secs(3600), ..access() };
    let sink = tokio::spawn(run_with(rig.context.clone(), config, access));
    until("retention is asked for", || fake.state().count("PutRetentionPolicy") == 1).await;
    rig.drain();
    until("all is delivered", || rig.book().delivered.records == 15).await;
    let book = rig.end(async { sink.await.expect("it returns") }).await;
    assert_eq!((book.delivered, fake.state().count("PutRetentionPolicy")), (book.accepted, 1));
}

#[tokio::test]
async fn one_in_flight_keeps_the_order_and_fills_requests() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let mut config = config(&fake);
    config.in_flight = 1;
    config.compression = BodyCompression::None;
    let mut expected = Vec::new();
    for block in 0..40 {
        let texts: Vec<_> = (0..250).map(|at| format!("{block} {at} {}", "y".repeat(1000))).collect();
        push(&rig, &partition, &texts);
        expected.extend(texts);
        fake.script("PutLogEvents", Reply::Error(400, "ThrottlingException", "Rate exceeded"));
    }
    let book = rig.end(run_with(rig.context.clone(), config, access())).await;
    assert_eq!(book.delivered, book.accepted);
    assert_eq!(messages(&fake), expected);
    // 10 MB fill ten requests; an aim below the limit and whole blocks leave some of it unused.
    assert!((10..=15).contains(&(fake.state().count("PutLogEvents") - 40)), "{:?}", fake.state().calls);
}

#[tokio::test]
async fn large_and_many_events_are_cut_into_requests_that_aws_takes() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let big: Vec<_> = ["a", "b", "c"].map(|text| text.repeat(1_048_550)).into();
    push(&rig, &partition, &big);
    let small: Vec<_> = (0..25_000).map(|at| at.to_string()).collect();
    push(&rig, &partition, &small);
    let book = rig.end(run_with(rig.context.clone(), config(&fake), access())).await;
    assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0));
    assert_eq!(sorted(messages(&fake)), sorted([big, small].concat()));
}

#[tokio::test]
async fn records_are_given_up_at_the_deadline_and_counted() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    let mut config = config(&fake);
    config.retry.deadline = Span(Duration::from_millis(30));
    (0..10_000).for_each(|_| fake.script("PutLogEvents", Reply::Error(500, "InternalFailure", "oops")));
    push(&rig, &partition, &texts("x", 3));
    let book = rig.end(run_with(rig.context.clone(), config, access())).await;
    assert_eq!((book.dropped["retry_deadline"].records, book.delivered.records), (3, 0));
}

#[tokio::test]
async fn a_sink_that_is_ended_in_flight_counts_its_records_and_the_sender_repeats() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let partition = ready(&fake);
    fake.script("PutLogEvents", Reply::Silence);
    let (tickets, outcome) = ticket();
    push_for(&rig, &tickets, &partition, &texts("x", 3));
    drop(tickets);
    let sink = tokio::spawn(run_with(rig.context.clone(), config(&fake), access()));
    rig.drain();
    until("the request is out", || fake.state().count("PutLogEvents") == 1).await;
    sink.abort();
    until("the claim ends", || rig.book().waiting() == Count::default()).await;
    assert_eq!(rig.book().dropped["abandoned"].records, 3);
    assert_eq!(outcome.recv_timeout(Duration::from_secs(10)), Ok(Outcome::Lost));
}
