//! A small AWS on loopback: CloudWatch Logs by its own rules, S3 by those that the store relies on. A script makes it
//! fail as AWS fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How the next call of an API is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An AWS error: status, code, message.
    Error(u16, &'static str, &'static str),
    /// A page of a proxy that knows nothing of AWS.
    Html(u16),
    /// This JSON; the events are kept all the same.
    Json(Value),
    /// The connection is cut before anything is done.
    Cut,
    /// The connection is cut after everything is done.
    DoneThenCut,
    /// No answer ever comes.
    Silence,
}

/// One event as it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) group: String,
    pub(crate) stream: String,
    pub(crate) millis: i64,
    pub(crate) message: String,
}

/// An object with the headers that it was written with.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) body: Vec<u8>,
    pub(crate) headers: HeaderMap,
}

#[derive(Default)]
pub(crate) struct State {
    script: BTreeMap<String, VecDeque<Reply>>,
    /// Every call in its order.
    pub(crate) calls: Vec<String>,
    /// Groups, their streams.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
    /// What groups were created with.
    pub(crate) created: BTreeMap<String, Value>,
    pub(crate) retention: BTreeMap<String, i64>,
    pub(crate) events: Vec<Event>,
    pub(crate) buckets: BTreeSet<String>,
    pub(crate) objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, (HeaderMap, BTreeMap<u32, Vec<u8>>)>,
}

impl State {
    pub(crate) fn count(&self, api: &str) -> usize {
        self.calls.iter().filter(|call| *call == api).count()
    }
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let fake = Self { address: listener.local_addr().expect("it is bound"), state: Arc::default() };
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = serving.clone();
                let service = service_fn(move |request| fake.clone().serve(request));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        fake
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// The next call of `api` is answered so.
    pub(crate) fn script(&self, api: &str, reply: Reply) {
        self.state().script.entry(api.into()).or_default().push_back(reply);
    }

    /// An error cuts the connection.
    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let authorization = head.headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/"), "unsigned: {authorization}");
        let target = head.headers.get("x-amz-target").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let query: BTreeMap<String, String> = head.uri.query().unwrap_or_default().split('&').map(pair).collect();
        let api = match &target {
            Some(target) => target.rsplit('.').next().unwrap_or_default().to_owned(),
            None => s3_api(&head.method, &query).to_owned(),
        };
        let reply = {
            let mut state = self.state();
            state.calls.push(api.clone());
            state.script.get_mut(&api).and_then(VecDeque::pop_front)
        };
        let work = |state: &mut State| match &target {
            Some(_) => logs(state, &api, &head.headers, &body),
            None => s3(state, &api, head.uri.path(), &query, &head.headers, &body),
        };
        let xml = target.is_none();
        let answer = match reply {
            None => work(&mut self.state()),
            Some(Reply::Json(value)) => work(&mut self.state()).map(|_| value.to_string()),
            Some(Reply::Error(status, code, message)) => Err((status, code, message.to_owned())),
            Some(Reply::Html(status)) => return Ok(respond(status, "<html>Bad gateway</html>".into(), None)),
            Some(Reply::Cut) => return Err(std::io::Error::other("cut")),
            Some(Reply::DoneThenCut) => {
                work(&mut self.state()).expect("it works");
                return Err(std::io::Error::other("cut"));
            }
            Some(Reply::Silence) => return std::future::pending().await,
        };
        Ok(match answer {
            Ok(text) => respond(200, text, xml.then(|| checksum(&body))),
            Err((status, code, message)) if xml => {
                let xml = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                respond(status, xml, None)
            }
            Err((status, code, message)) => {
                respond(status, json!({ "__type": code, "message": message }).to_string(), None)
            }
        })
    }
}

type Answer = Result<String, (u16, &'static str, String)>;

fn respond(status: u16, text: String, checksum: Option<String>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("etag", "\"e\"");
    if let Some(checksum) = checksum {
        response = response.header("x-amz-checksum-crc32", checksum);
    }
    response.body(Full::new(text.into())).expect("a valid answer")
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.into(), value.into())
}

fn refuse(code: &'static str, message: impl Into<String>) -> Answer {
    Err((400, code, message.into()))
}

fn logs(state: &mut State, api: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let mut plain = Vec::new();
    if headers.get("content-encoding").is_some_and(|v| v == "gzip") {
        flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("it is gzip");
    } else {
        plain.extend_from_slice(body);
    }
    let body: Value = serde_json::from_slice(&plain).expect("it is JSON");
    let group = body["logGroupName"].as_str().expect("a group").to_owned();
    let stream = body["logStreamName"].as_str().unwrap_or_default().to_owned();
    match api {
        "CreateLogGroup" if state.groups.contains_key(&group) => {
            return refuse("ResourceAlreadyExistsException", "The specified log group already exists");
        }
        "CreateLogGroup" => {
            state.groups.insert(group.clone(), BTreeSet::new());
            state.created.insert(group, body);
        }
        "PutRetentionPolicy" => {
            state.retention.insert(group, body["retentionInDays"].as_i64().expect("days"));
        }
        "CreateLogStream" => match state.groups.get_mut(&group) {
            None => return refuse("ResourceNotFoundException", "The specified log group does not exist."),
            Some(streams) => {
                if !streams.insert(stream) {
                    return refuse("ResourceAlreadyExistsException", "The specified log stream already exists");
                }
            }
        },
        "PutLogEvents" => {
            if !state.groups.get(&group).is_some_and(|streams| streams.contains(&stream)) {
                return refuse("ResourceNotFoundException", "The specified log stream does not exist.");
            }
            let events = events(&body, &group, &stream);
            if let Some(broken) = broken_rule(&events) {
                return refuse("InvalidParameterException", broken);
            }
            state.events.extend(events);
        }
        other => panic!("{other} is not asked for"),
    }
    Ok("{}".into())
}

fn events(body: &Value, group: &str, stream: &str) -> Vec<Event> {
    let event = |event: &Value| Event {
        group: group.into(),
        stream: stream.into(),
        millis: event["timestamp"].as_i64().expect("a time"),
        message: event["message"].as_str().expect("a message").into(),
    };
    body["logEvents"].as_array().expect("events").iter().map(event).collect()
}

/// How messages begin that AWS refuses for a reason that nobody foresaw.
pub(crate) const POISON: &str = "poison";

/// The rules of PutLogEvents, as its documentation states them.
fn broken_rule(events: &[Event]) -> Option<String> {
    let bytes: usize = events.iter().map(|event| event.message.len() + 26).sum();
    let (first, last) = (events.first()?.millis, events.last()?.millis);
    if bytes > 1_048_576 {
        Some(format!("Upload too large: {bytes} bytes exceeds limit of 1048576"))
    } else if events.len() > 10_000 {
        Some("too many events".into())
    } else if !events.is_sorted_by_key(|event| event.millis) {
        Some("Log events in a single PutLogEvents request must be in chronological order.".into())
    } else if last - first > 24 * 3_600_000 {
        Some("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.".into())
    } else if events.iter().any(|event| event.message.is_empty()) {
        Some("empty message".into())
    } else if events.iter().any(|event| event.message.starts_with(POISON)) {
        Some("1 validation error detected".into())
    } else {
        None
    }
}

fn s3_api(method: &Method, query: &BTreeMap<String, String>) -> &'static str {
    match (method.as_str(), query.contains_key("uploads"), query.contains_key("uploadId")) {
        ("PUT", _, true) => "UploadPart",
        ("PUT", ..) => "PutObject",
        ("POST", true, _) => "CreateMultipartUpload",
        ("POST", ..) => "CompleteMultipartUpload",
        ("DELETE", ..) => "AbortMultipartUpload",
        ("HEAD", ..) => "HeadObject",
        other => panic!("{other:?} is not asked for"),
    }
}

fn s3(
    state: &mut State,
    api: &str,
    path: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let (bucket, key) = path.trim_start_matches('/').split_once('/').expect("path style");
    let key = key.replace("%3D", "=");
    if !state.buckets.contains(bucket) {
        return Err((404, "NoSuchBucket", "The specified bucket does not exist".into()));
    }
    if matches!(api, "PutObject" | "UploadPart") {
        assert_eq!(headers["x-amz-checksum-crc32"], *checksum(body), "a wrong checksum");
        assert_eq!(headers["x-amz-content-sha256"].len(), 64, "the payload is not signed");
        assert!(!headers.contains_key("content-encoding"));
    }
    let id = query.get("uploadId").cloned().unwrap_or_default();
    match api {
        "PutObject" => {
            state.objects.insert(key, Object { body: body.to_vec(), headers: headers.clone() });
        }
        "CreateMultipartUpload" => {
            assert_eq!(headers["x-amz-checksum-algorithm"], "CRC32");
            state.uploads.insert("upload-1".into(), (headers.clone(), BTreeMap::new()));
            return Ok(
                "<InitiateMultipartUploadResult><UploadId>upload-1</UploadId></InitiateMultipartUploadResult>".into()
            );
        }
        "UploadPart" => {
            let number = query["partNumber"].parse().expect("a number");
            let Some((_, parts)) = state.uploads.get_mut(&id) else { return Err((404, "NoSuchUpload", "".into())) };
            parts.insert(number, body.to_vec());
        }
        "CompleteMultipartUpload" => {
            let Some((headers, parts)) = state.uploads.remove(&id) else {
                return Err((404, "NoSuchUpload", "The specified upload does not exist.".into()));
            };
            let listed = String::from_utf8_lossy(body).matches("<ChecksumCRC32>").count();
            assert_eq!(listed, parts.len(), "every part with its checksum");
            let body = parts.into_values().flatten().collect();
            state.objects.insert(key, Object { body, headers });
            return Ok("<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>".into());
        }
        "AbortMultipartUpload" => {
            state.uploads.remove(&id).expect("there is such an upload");
        }
        "HeadObject" if !state.objects.contains_key(&key) => return Err((404, "NotFound", "".into())),
        _ => {}
    }
    Ok(String::new())
}

/// CRC-32 in base64, as S3's headers carry it.
fn checksum(body: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let crc = u64::from(libdeflater::crc32(body));
    // 32 bits are five digits of six bits, the sixth filled up with zeros.
    let digit = |at: u32| DIGITS[(((crc << 4) >> (30 - 6 * at)) & 63) as usize] as char;
    (0..6).map(digit).chain("==".chars()).collect()
}
