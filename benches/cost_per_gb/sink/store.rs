//! What arrived: objects and requests, kept as they came.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::http::{Answer, Request};

/// Requests of one API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) requests: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
}

/// An object: its key and the bodies that it is made of.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// A body of PutLogEvents.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) gzip: bool,
    pub(super) bytes: Vec<u8>,
}

/// All that arrived.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) objects: Vec<Object>,
    pub(super) bodies: Vec<Body>,
    pub(super) apis: BTreeMap<String, Api>,
    /// When the last object or body was complete, in seconds since 1970.
    pub(super) last: f64,
    uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
}

/// Keeps what arrives.
pub(super) struct Store {
    kept: Mutex<Kept>,
    /// Bytes a second, and when the next request may be answered.
    throttle: Mutex<Option<(f64, Instant)>>,
}

impl Store {
    pub(super) fn new(throttle: Option<f64>) -> Self {
        Self { kept: Mutex::default(), throttle: Mutex::new(throttle.map(|rate| (rate, Instant::now()))) }
    }

    /// Ends the throttle.
    pub(super) fn open(&self) {
        *self.throttle.lock().expect("nobody panics with it") = None;
    }

    /// Everything, for the account.
    pub(super) fn take(&self) -> Kept {
        std::mem::take(&mut *self.kept())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics with it")
    }

    /// Keeps a request and answers it.
    pub(super) fn answer(&self, request: Request) -> Answer {
        self.wait(request.body.len());
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let query: BTreeMap<&str, &str> =
            query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let key = path.replace("%3D", "=");
        let api = match request.amz_target.rsplit_once('.') {
            Some((_, api)) => api,
            None => s3_api(&request.method, &query),
        };
        let mut kept = self.kept();
        let counted = kept.apis.entry(api.into()).or_default();
        counted.requests += 1;
        counted.bytes += request.body.len() as u64;
        let upload = query.get("uploadId").copied().unwrap_or_default();
        let body = match api {
            "PutLogEvents" => {
                kept.bodies.push(Body { gzip: request.content_encoding == "gzip", bytes: request.body });
                "{}".into()
            }
            "CreateLogGroup" | "CreateLogStream" | "PutRetentionPolicy" => "{}".into(),
            "PutObject" => {
                kept.objects.push(Object { key, pieces: vec![request.body] });
                String::new()
            }
            "CreateMultipartUpload" => {
                let id = format!("upload-{}", counted_uploads(&kept));
                kept.uploads.insert(id.clone(), (key, BTreeMap::new()));
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>")
            }
            "UploadPart" => {
                let number = query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
                let Some((_, parts)) = kept.uploads.get_mut(upload) else { return no_such_upload() };
                parts.insert(number, request.body);
                String::new()
            }
            "CompleteMultipartUpload" => {
                let Some((key, parts)) = kept.uploads.remove(upload) else { return no_such_upload() };
                kept.objects.push(Object { key, pieces: parts.into_values().collect() });
                "<CompleteMultipartUploadResult><ETag>0</ETag></CompleteMultipartUploadResult>".into()
            }
            "AbortMultipartUpload" => {
                kept.uploads.remove(upload);
                String::new()
            }
            "HeadObject" if kept.objects.iter().any(|object| object.key == key) => String::new(),
            // Not asked for today; the router's log will tell.
            _ => return Answer { status: 501, body: String::new() },
        };
        kept.last = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        Answer { status: 200, body }
    }

    /// Holds an answer back so that all bodies together come at the rate.
    fn wait(&self, len: usize) {
        let until = match &mut *self.throttle.lock().expect("nobody panics with it") {
            None => return,
            Some((rate, next)) => {
                *next = (*next).max(Instant::now()) + Duration::from_secs_f64(len as f64 / *rate);
                *next
            }
        };
        // In steps, so that it ends soon when the throttle does.
        while Instant::now() < until && self.throttle.lock().expect("nobody panics with it").is_some() {
            thread::sleep((until - Instant::now()).min(Duration::from_millis(20)));
        }
    }
}

fn counted_uploads(kept: &Kept) -> u64 {
    kept.apis.get("CreateMultipartUpload").map_or(0, |api| api.requests)
}

fn no_such_upload() -> Answer {
    Answer { status: 404, body: "<Error><Code>NoSuchUpload</Code><Message>no such upload</Message></Error>".into() }
}

fn s3_api(method: &str, query: &BTreeMap<&str, &str>) -> &'static str {
    match (method, query.contains_key("uploads"), query.contains_key("uploadId")) {
        ("PUT", _, true) => "UploadPart",
        ("PUT", ..) => "PutObject",
        ("POST", true, _) => "CreateMultipartUpload",
        ("POST", _, true) => "CompleteMultipartUpload",
        ("DELETE", _, true) => "AbortMultipartUpload",
        ("HEAD", ..) => "HeadObject",
        _ => "unknown",
    }
}
