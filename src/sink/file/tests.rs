//! Real directories: nothing half written is ever seen, and what goes wrong says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::FileStore;
use crate::metrics::SinkMetrics;
use crate::sink::object::{Attempt, ObjectStore};

fn store(root: &Path) -> FileStore {
    FileStore::new(root.to_owned(), "0a1b2c", 0, SinkMetrics::detached("archive"))
}

/// All files below a directory that a reader would list.
fn visible(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.path() {
            path if path.is_dir() => found.extend(visible(&path)),
            path => found.push(path),
        }
    }
    found
}

fn retried<T>(attempt: Attempt<T>) -> String {
    match attempt {
        Attempt::Retry(_, text) => text,
        Attempt::Done(_) => panic!("it worked"),
        Attempt::Rejected(reason, text) => panic!("rejected as {reason}: {text}"),
    }
}

#[tokio::test]
async fn an_object_appears_whole_under_its_key_and_leaves_nothing_aside() {
    let root = tempfile::tempdir().expect("a temporary directory");
    // The directory itself is made too.
    let path = root.path().join("logs");
    let store = store(&path);
    let body = [Bytes::from_static(b"one\n"), Bytes::from_static(b"two\n")];
    let key = "service=app/dt=2026-11-23/w-000000000001.ndjson";
    assert_eq!(store.put(key, &body).await, Attempt::Done(()));
    assert_eq!(fs::read_to_string(path.join(key)).expect("it is there"), "one\ntwo\n");
    assert_eq!(visible(&path), [path.join(key)]);
    drop(store);
    assert!(!path.join(".logweir").exists());
}

#[tokio::test]
async fn an_object_in_parts_is_seen_only_when_it_is_complete() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let Attempt::Done(upload) = store.create("a/w-1.ndjson").await else { panic!("cannot create") };
    let parts = [&[Bytes::from_static(b"one\n")][..], &[Bytes::from_static(b"two\n"), Bytes::from_static(b"3\n")]];
    for (number, body) in (1..).zip(parts) {
        assert_eq!(store.part(&upload, number, body).await, Attempt::Done(()));
        assert_eq!(visible(root.path()), [] as [PathBuf; 0]);
    }
    // A repeated part changes nothing.
    assert_eq!(store.part(&upload, 2, parts[1]).await, Attempt::Done(()));
    assert_eq!(store.complete(&upload, &[(), ()]).await, Attempt::Done(()));
    let text = || fs::read_to_string(root.path().join("a/w-1.ndjson")).expect("it is there");
    assert_eq!(text(), "one\ntwo\n3\n");
    // As when the answer to the first was lost.
    assert_eq!(store.complete(&upload, &[(), ()]).await, Attempt::Done(()));
    drop(upload);
    assert_eq!(text(), "one\ntwo\n3\n");
}

#[tokio::test]
async fn an_upload_that_lost_its_last_part_ends_with_what_was_confirmed() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let Attempt::Done(upload) = store.create("w-1.ndjson").await else { panic!("cannot create") };
    for number in 1..=2 {
        assert_eq!(store.part(&upload, number, &[Bytes::from_static(b"line\n")]).await, Attempt::Done(()));
    }
    assert_eq!(store.complete(&upload, &[()]).await, Attempt::Done(()));
    assert_eq!(fs::read_to_string(root.path().join("w-1.ndjson")).expect("it is there"), "line\n");
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let Attempt::Done(upload) = store.create("w-1.ndjson").await else { panic!("cannot create") };
    assert_eq!(store.part(&upload, 1, &[Bytes::from_static(b"line\n")]).await, Attempt::Done(()));
    drop((upload, store));
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 0);
}

#[tokio::test]
async fn a_key_that_leads_out_of_the_directory_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().join("logs");
    for key in ["../w-1", "a/../../w-1", "/etc/w-1", "a/..", ""] {
        let attempt = store(&path).put(key, &[Bytes::from_static(b"x")]).await;
        assert!(matches!(attempt, Attempt::Rejected("bad_name", _)), "{key}: {attempt:?}");
    }
    let long = format!("{}/w-1", "x".repeat(300));
    let attempt = store(&path).put(&long, &[Bytes::from_static(b"x")]).await;
    assert!(matches!(attempt, Attempt::Rejected("bad_name", _)), "{attempt:?}");
    assert_eq!(visible(root.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_file_in_the_way_is_named_and_the_object_tried_again() {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::write(root.path().join("a"), "in the way").expect("written");
    let store = store(root.path());
    let text = retried(store.put("a/w-1.ndjson", &[Bytes::from_static(b"x")]).await);
    assert!(text.contains("move it away") && text.contains(&root.path().display().to_string()), "{text}");
    fs::remove_file(root.path().join("a")).expect("removed");
    assert_eq!(store.put("a/w-1.ndjson", &[Bytes::from_static(b"x")]).await, Attempt::Done(()));
}

#[tokio::test]
async fn a_full_disk_says_what_to_do() {
    // Writing to it fails as on a full disk, whoever the user is.
    if !Path::new("/dev/full").exists() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let error = fs::write("/dev/full", "x").expect_err("it is always full");
    let text = retried::<()>(store(root.path()).explain(&error));
    assert!(text.contains("free space"), "{text}");
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_again() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().join("logs");
    let store = store(&path);
    assert_eq!(store.put("w-1", &[Bytes::from_static(b"x")]).await, Attempt::Done(()));
    fs::remove_dir_all(&path).expect("removed");
    retried(store.put("w-2", &[Bytes::from_static(b"x")]).await);
    assert_eq!(store.put("w-2", &[Bytes::from_static(b"x")]).await, Attempt::Done(()));
    assert_eq!(visible(&path), [path.join("w-2")]);
}
