//! The S3 sink and its store.

use std::sync::Arc;

use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::{SharedCredentialsProvider, error::CredentialsError};
use bytes::Bytes;
use logweir::aws::Access;
use logweir::encode::Partition;
use logweir::metrics::SinkMetrics;
use logweir::sink::object::{Attempt, ObjectStore};
use logweir::sink::s3::{S3Config, S3Store, run_with};
use serde_json::json;

use crate::fake::{Fake, Reply};
use crate::rig::{Rig, access, quick, until};

fn config(fake: &Fake) -> S3Config {
    let mut config: S3Config =
        serde_json::from_value(json!({ "bucket": "b", "endpoint": fake.endpoint(), "path_style": true }))
            .expect("it is a config");
    config.retry = quick();
    config
}

fn store(config: &S3Config) -> S3Store {
    S3Store::with_access(config, SinkMetrics::detached("sink"), access())
}

async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.state().buckets.insert("b".into());
    fake
}

fn pieces(len: usize) -> Vec<Bytes> {
    (0..len).map(|at| Bytes::from(format!("piece {at}\n").repeat(50_000))).collect()
}

#[tokio::test]
async fn an_object_carries_what_the_config_says() {
    let fake = fake().await;
    let mut config = config(&fake);
    config.storage_class = Some("STANDARD_IA".into());
    config.kms_key = Some("alias/logs".into());
    let body = pieces(3);
    assert_eq!(store(&config).put("logs/dt=2026-01-01/x.zst", &body).await, Attempt::Done(()));
    let state = fake.state();
    let object = &state.objects["logs/dt=2026-01-01/x.zst"];
    assert_eq!(object.body, body.concat());
    for (name, value) in [
        ("content-type", "application/x-ndjson"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "alias/logs"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
    ] {
        assert_eq!(object.headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn parts_become_one_object() {
    let fake = fake().await;
    let mut config = config(&fake);
    config.storage_class = Some("GLACIER_IR".into());
    let store = store(&config);
    let Attempt::Done(upload) = store.create("k").await else { panic!("it works") };
    let mut parts = Vec::new();
    for number in 1..=3 {
        let Attempt::Done(part) = store.part(&upload, number, &pieces(number as usize)).await else {
            panic!("it works")
        };
        parts.push(part);
    }
    assert_eq!(store.complete(&upload, &parts).await, Attempt::Done(()));
    let state = fake.state();
    assert_eq!(state.objects["k"].body, [pieces(1), pieces(2), pieces(3)].concat().concat());
    assert_eq!(state.objects["k"].headers["x-amz-storage-class"], "GLACIER_IR");
}

#[tokio::test]
async fn a_lost_answer_to_the_completion_is_no_lost_object() {
    let fake = fake().await;
    let store = store(&config(&fake));
    let Attempt::Done(upload) = store.create("k").await else { panic!("it works") };
    let Attempt::Done(part) = store.part(&upload, 1, &pieces(1)).await else { panic!("it works") };
    fake.script("CompleteMultipartUpload", Reply::DoneThenCut);
    assert!(matches!(store.complete(&upload, std::slice::from_ref(&part)).await, Attempt::Retry(..)));
    assert_eq!(store.complete(&upload, std::slice::from_ref(&part)).await, Attempt::Done(()));
    // The same where asking for the object is not permitted.
    fake.script("HeadObject", Reply::Error(403, "", ""));
    assert_eq!(store.complete(&upload, &[part]).await, Attempt::Done(()));
}

#[tokio::test]
async fn what_is_there_already_is_done_and_not_made_twice() {
    let fake = fake().await;
    let store = store(&config(&fake));
    fake.script("PutObject", Reply::Error(412, "PreconditionFailed", "there"));
    assert_eq!(store.put("k", &pieces(1)).await, Attempt::Done(()));
    let Attempt::Done(upload) = store.create("k").await else { panic!("it works") };
    fake.script("CompleteMultipartUpload", Reply::Error(412, "PreconditionFailed", "there"));
    assert_eq!(store.complete(&upload, &[]).await, Attempt::Done(()));
    assert!(fake.state().calls.iter().any(|call| call == "AbortMultipartUpload"), "the second upload is given back");
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_without_them() {
    let fake = fake().await;
    let store = store(&config(&fake));
    fake.script("PutObject", Reply::Error(501, "NotImplemented", "If-None-Match"));
    assert!(matches!(store.put("k", &pieces(1)).await, Attempt::Retry(..)));
    assert_eq!(store.put("k", &pieces(1)).await, Attempt::Done(()));
    assert!(!fake.state().objects["k"].headers.contains_key("if-none-match"));
    assert_eq!(store.put("l", &pieces(1)).await, Attempt::Done(()));
    assert!(!fake.state().objects["l"].headers.contains_key("if-none-match"));
}

#[tokio::test]
async fn an_upload_that_somebody_aborted_is_rejected() {
    let fake = fake().await;
    let store = store(&config(&fake));
    let Attempt::Done(upload) = store.create("k").await else { panic!("it works") };
    fake.script("CompleteMultipartUpload", Reply::Error(404, "NoSuchUpload", "gone"));
    assert!(matches!(store.complete(&upload, &[]).await, Attempt::Rejected("no_such_upload", _)));
}

#[tokio::test]
async fn what_can_be_mended_outside_is_repeated_and_says_how() {
    let fake = fake().await;
    let store = store(&config(&fake));
    for (reply, advice) in [
        (Reply::Error(404, "NoSuchBucket", "no"), "create the bucket or correct `bucket`"),
        (Reply::Error(403, "AccessDenied", "no"), "allow s3:PutObject on arn:aws:s3:::b/* to the task's role"),
        (Reply::Error(301, "PermanentRedirect", "no"), "set `region`"),
        (Reply::Error(400, "KMS.NotFoundException", "no"), "check `kms_key`"),
        (Reply::Error(403, "RequestTimeTooSkewed", "no"), "clock is right"),
        (Reply::Error(503, "SlowDown", "reduce"), "higher quota"),
        (Reply::Html(502), "AWS answered 502"),
        (Reply::Cut, "check endpoint and region"),
    ] {
        fake.script("PutObject", reply.clone());
        let attempt = store.put("k", &pieces(1)).await;
        let Attempt::Retry(_, text) = &attempt else { panic!("{reply:?}: {attempt:?}") };
        assert!(text.starts_with("s3://b: ") && text.contains(advice), "{reply:?}: {text}");
    }
    fake.script("PutObject", Reply::Error(400, "EntityTooLarge", "no"));
    assert!(matches!(store.put("k", &pieces(1)).await, Attempt::Rejected("rejected", _)));
    assert_eq!(store.put("k", &pieces(1)).await, Attempt::Done(()));
}

#[tokio::test]
async fn missing_credentials_are_a_state_that_says_what_to_do() {
    let fake = fake().await;
    let none = provide_credentials_fn(|| async { Err(CredentialsError::not_loaded("no providers in chain")) });
    let access = Access { credentials: Some(SharedCredentialsProvider::new(none)), ..access() };
    let store = S3Store::with_access(&config(&fake), SinkMetrics::detached("sink"), access);
    let attempt = store.put("k", &pieces(1)).await;
    let Attempt::Retry(None, text) = &attempt else { panic!("{attempt:?}") };
    assert!(text.contains("taskRoleArn") && text.contains("AWS_PROFILE"), "{text}");
    assert!(fake.state().calls.is_empty());
}

#[tokio::test]
async fn credentials_that_never_come_are_an_attempt_that_failed() {
    let fake = fake().await;
    tokio::time::pause();
    let never = provide_credentials_fn(std::future::pending);
    for (attempt, deadline) in [(2, 1), (20, 10), (3600, 10)] {
        let attempt_timeout = std::time::Duration::from_secs(attempt);
        let never = Some(SharedCredentialsProvider::new(never));
        let access = Access { credentials: never, attempt_timeout, ..access() };
        let store = S3Store::with_access(&config(&fake), SinkMetrics::detached("sink"), access);
        let begun = tokio::time::Instant::now();
        let attempt = store.put("k", &pieces(1)).await;
        let Attempt::Retry(None, text) = &attempt else { panic!("{attempt:?}") };
        assert!(text.contains(&format!("no credentials within {deadline}s: ")), "{text}");
        assert_eq!(begun.elapsed().as_secs(), deadline);
    }
    assert!(fake.state().calls.is_empty());
}

#[tokio::test]
async fn the_sink_delivers_its_queue_in_spite_of_failures() {
    let (fake, rig) = (Fake::start().await, Rig::new());
    let mut config = config(&fake);
    config.object.size = logweir::config::value::Size::mib(64);
    config.compression = logweir::encode::Compression::None;
    let store = S3Store::with_access(&config, rig.context.metrics.clone(), access());
    let partition = Arc::new(Partition::Prefix("logs/".into()));
    let mut expected = Vec::new();
    for at in 0..30u8 {
        // What does not compress stays as large as it is: 30 MiB are four parts.
        let block: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect();
        expected.extend_from_slice(&block);
        rig.push(&partition, &[(i64::from(at), 1)], block);
    }
    for api in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] {
        fake.script(api, Reply::Error(503, "SlowDown", "Please reduce your request rate."));
        fake.script(api, Reply::Cut);
    }
    let sink = tokio::spawn(run_with(rig.context.clone(), config, store));
    rig.drain();
    until("it asks for the bucket", || fake.state().calls.len() > 3).await;
    assert_eq!(rig.book().delivered.records, 0);
    fake.state().buckets.insert("b".into());
    let book = rig.end(async { sink.await.expect("it returns") }).await;
    assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0));
    let state = fake.state();
    assert_eq!(state.objects.values().flat_map(|object| object.body.clone()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn an_upload_whose_first_part_is_refused_leaves_nothing_behind() {
    let (fake, rig) = (fake().await, Rig::new());
    let mut config = config(&fake);
    config.object.size = logweir::config::value::Size::mib(64);
    let store = S3Store::with_access(&config, rig.context.metrics.clone(), access());
    let partition = Arc::new(Partition::Prefix("logs/".into()));
    for at in 0..9 {
        let block: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect();
        rig.push(&partition, &[(at, 1)], block);
    }
    fake.script("UploadPart", Reply::Error(400, "EntityTooLarge", "no"));
    rig.end(run_with(rig.context.clone(), config, store)).await;
    let state = fake.state();
    assert_eq!((state.count("CreateMultipartUpload"), state.count("AbortMultipartUpload")), (1, 1));
    assert_eq!(state.count("CompleteMultipartUpload"), 0);
}
