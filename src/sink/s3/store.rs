//! Objects in S3: PutObject, and multipart uploads for what is larger than one part.
//!
//! Each call is one attempt, with the SDK's CRC-32 checksum and a signed payload; bodies are in memory, so the checksum
//! travels in a header. What can be mended outside (a missing bucket, permission or key) is worth another try and is
//! told with what to do; only what this very object makes impossible is rejected. There is no `Content-Encoding`: it
//! would make HTTP clients unpack what the key's extension says is packed.
//!
//! Objects are made with `If-None-Match: *`: a key stands for one object for ever, so 412 says that it is there, and a
//! repetition neither makes a second version nor tells those who listen for new objects a second time. Stores that do
//! not know the header (501) are asked without it, and an object is overwritten by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::{Bytes, BytesMut};

use super::S3Config;
use crate::aws::{Access, Class, Failure};
use crate::metrics::SinkMetrics;
use crate::sink::object::{Attempt, ObjectStore};
use crate::sink::service::Service;

/// A bucket, or what begins with a prefix in it.
#[derive(Debug)]
pub struct S3Store {
    bucket: String,
    content_type: String,
    storage_class: Option<StorageClass>,
    kms_key: Option<String>,
    service: Service<Client>,
    /// The store does not know `If-None-Match`.
    unconditional: AtomicBool,
}

/// A multipart upload under way.
#[derive(Debug)]
pub struct S3Upload {
    key: String,
    id: String,
    /// An attempt to complete it ended without an answer: it may have worked.
    maybe_complete: AtomicBool,
}

/// A part that S3 has.
#[derive(Clone, Debug)]
pub struct S3Part(CompletedPart);

impl S3Store {
    /// A store for this sink. Nothing is asked of AWS before the first request.
    pub fn new(config: &S3Config, metrics: SinkMetrics) -> Self {
        let access = Access {
            region: config.region.clone(),
            role_arn: config.role_arn.clone(),
            external_id: config.external_id.clone(),
            attempt_timeout: config.retry.attempt_timeout.0,
            credentials: None,
        };
        Self::with_access(config, metrics, access)
    }

    /// The same with credentials and timeouts of the caller's choice.
    pub fn with_access(config: &S3Config, metrics: SinkMetrics, access: Access) -> Self {
        let (endpoint, path_style) = (config.endpoint.clone(), config.path_style);
        let service = Service::new(access, metrics, move |config| {
            let mut builder = aws_sdk_s3::config::Builder::from(config).force_path_style(path_style);
            if let Some(endpoint) = &endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            Client::from_conf(builder.build())
        });
        Self {
            bucket: config.bucket.clone(),
            content_type: config.content_type.clone(),
            storage_class: config.storage_class.as_deref().map(StorageClass::from),
            kms_key: config.kms_key.clone(),
            service,
            unconditional: AtomicBool::new(false),
        }
    }

    /// What becomes of a failed attempt.
    fn judge<T>(&self, action: &str, failure: Failure) -> Attempt<T> {
        let bucket = &self.bucket;
        let what_to_do = match &*failure.code {
            // Nothing outside can make these work: the object itself is the reason.
            "EntityTooLarge" | "EntityTooSmall" | "KeyTooLongError" | "InvalidPart" | "InvalidPartOrder"
            | "MalformedXML" | "NoSuchUpload" => {
                return Attempt::Rejected("rejected", format!("s3://{bucket}: {}", failure.text));
            }
            "NoSuchBucket" => "create the bucket or correct `bucket`".into(),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                "the bucket is in another region: set `region` of the sink".into()
            }
            "InvalidStorageClass" => "correct `storage_class`".into(),
            code if code.starts_with("KMS.") => "check `kms_key`: it must exist, be enabled and in this region".into(),
            _ if failure.status == 301 => "the bucket is in another region: set `region` of the sink".into(),
            _ if failure.class == Class::Denied => match &self.kms_key {
                None => format!("allow {action} on arn:aws:s3:::{bucket}/* to the task's role"),
                Some(key) => format!(
                    "allow {action} on arn:aws:s3:::{bucket}/*, and kms:GenerateDataKey and kms:Decrypt on {key}, to \
                     the task's role"
                ),
            },
            _ => String::new(),
        };
        let separator = if what_to_do.is_empty() { "" } else { "; " };
        Attempt::Retry(failure.retry_after, format!("s3://{bucket}: {}{separator}{what_to_do}", failure.text))
    }

    fn settle<T>(&self, action: &str, result: Result<T, Failure>) -> Attempt<T> {
        match result {
            Ok(value) => Attempt::Done(value),
            Err(failure) => self.judge(action, failure),
        }
    }

    fn dress_put(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        let request = request.content_type(&self.content_type).set_storage_class(self.storage_class.clone());
        match &self.kms_key {
            // A bucket key spares most of the calls to KMS.
            Some(key) => {
                request.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(key).bucket_key_enabled(true)
            }
            None => request,
        }
    }

    fn dress_create(&self, request: CreateMultipartUploadFluentBuilder) -> CreateMultipartUploadFluentBuilder {
        let request = request.content_type(&self.content_type).set_storage_class(self.storage_class.clone());
        match &self.kms_key {
            Some(key) => {
                request.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(key).bucket_key_enabled(true)
            }
            None => request,
        }
    }

    /// What makes a request fail when its key is there already.
    fn if_none_match(&self) -> Option<&'static str> {
        (!self.unconditional.load(Ordering::Relaxed)).then_some("*")
    }

    /// What a failure says about the condition: the object is there, or the request is to be repeated without it.
    fn judge_condition(&self, failure: &Failure) -> Option<Attempt<()>> {
        match &*failure.code {
            "PreconditionFailed" => Some(Attempt::Done(())),
            "NotImplemented" if !self.unconditional.swap(true, Ordering::Relaxed) => {
                Some(Attempt::Retry(None, format!("s3://{}: it does not know If-None-Match", self.bucket)))
            }
            _ if failure.status == 412 => Some(Attempt::Done(())),
            _ => None,
        }
    }

    async fn abort_upload(&self, upload: &S3Upload) -> Result<(), Failure> {
        let result = self
            .service
            .attempt("AbortMultipartUpload", 0, |client| {
                let request = client.abort_multipart_upload().bucket(&self.bucket).key(&upload.key);
                request.upload_id(&upload.id).send()
            })
            .await;
        result.map(|_| ())
    }

    /// Whether the object that an upload should have made is there; `None` when that may not be asked.
    async fn exists(&self, key: &str) -> Option<bool> {
        let head = self
            .service
            .attempt("HeadObject", 0, |client| client.head_object().bucket(&self.bucket).key(key).send())
            .await;
        match head {
            Ok(_) => Some(true),
            Err(failure) if failure.status == 404 => Some(false),
            Err(_) => None,
        }
    }
}

impl ObjectStore for S3Store {
    type Upload = S3Upload;
    type Part = S3Part;

    async fn put(&self, key: &str, body: &[Bytes]) -> Attempt<()> {
        let body = joined(body);
        let len = body.len() as u64;
        let result = self
            .service
            .attempt("PutObject", len, |client| {
                let request = client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(body));
                self.dress_put(request.set_if_none_match(self.if_none_match().map(Into::into))).send()
            })
            .await;
        match result {
            Ok(_) => Attempt::Done(()),
            Err(failure) => self.judge_condition(&failure).unwrap_or_else(|| self.judge("s3:PutObject", failure)),
        }
    }

    async fn create(&self, key: &str) -> Attempt<S3Upload> {
        let result = self
            .service
            .attempt("CreateMultipartUpload", 0, |client| {
                // The parts' CRC-32 must be announced here, or S3 refuses to complete what carries them.
                let request = client.create_multipart_upload().bucket(&self.bucket).key(key);
                self.dress_create(request.checksum_algorithm(ChecksumAlgorithm::Crc32)).send()
            })
            .await;
        match result.map(|output| output.upload_id) {
            Ok(Some(id)) => Attempt::Done(S3Upload { key: key.into(), id, maybe_complete: AtomicBool::new(false) }),
            Ok(None) => Attempt::Retry(None, format!("s3://{}: the answer names no upload", self.bucket)),
            Err(failure) => self.judge("s3:PutObject", failure),
        }
    }

    async fn part(&self, upload: &S3Upload, number: u32, body: &[Bytes]) -> Attempt<S3Part> {
        let body = joined(body);
        let len = body.len() as u64;
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let result = self
            .service
            .attempt("UploadPart", len, |client| {
                let request = client.upload_part().bucket(&self.bucket).key(&upload.key).upload_id(&upload.id);
                let request = request.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32);
                request.body(ByteStream::from(body)).send()
            })
            .await;
        let part = result.map(|output| {
            let part = CompletedPart::builder().part_number(number).set_e_tag(output.e_tag);
            S3Part(part.set_checksum_crc32(output.checksum_crc32).build())
        });
        self.settle("s3:PutObject", part)
    }

    async fn abort(&self, upload: S3Upload) -> Attempt<()> {
        self.settle("s3:AbortMultipartUpload", self.abort_upload(&upload).await)
    }

    async fn abort_unfinished(&self, key: &str, id: Option<&str>) {
        let list = self.service.attempt("ListMultipartUploads", 0, |client| {
            client.list_multipart_uploads().bucket(&self.bucket).prefix(key).send()
        });
        // Needs a permission of its own; without it there is still the one that is known.
        let listed = list.await.ok().and_then(|list| list.uploads).unwrap_or_default();
        let ours = listed.into_iter().filter(|upload| upload.key.as_deref() == Some(key));
        let mut ids: Vec<String> = ours.filter_map(|upload| upload.upload_id).collect();
        ids.extend(id.filter(|id| !ids.iter().any(|listed| listed == id)).map(Into::into));
        for id in ids {
            let upload = S3Upload { key: key.into(), id, maybe_complete: AtomicBool::new(false) };
            let aborted = self.abort_upload(&upload).await;
            tracing::debug!(key, "an upload of the last process was aborted: {aborted:?}");
        }
    }

    fn id(upload: &S3Upload) -> Option<&str> {
        Some(&upload.id)
    }

    async fn complete(&self, upload: &S3Upload, parts: &[S3Part]) -> Attempt<()> {
        let list = parts.iter().map(|part| part.0.clone()).collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let result = self
            .service
            .attempt("CompleteMultipartUpload", 0, |client| {
                let request = client.complete_multipart_upload().bucket(&self.bucket).key(&upload.key);
                let request = request.set_if_none_match(self.if_none_match().map(Into::into));
                request.upload_id(&upload.id).multipart_upload(list).send()
            })
            .await;
        let failure = match result {
            Ok(_) => return Attempt::Done(()),
            Err(failure) => failure,
        };
        if let Some(judged) = self.judge_condition(&failure) {
            if judged == Attempt::Done(()) {
                // The object is there, and this upload is one too many.
                let _ = self.abort_upload(upload).await;
            }
            return judged;
        }
        let maybe_complete = upload.maybe_complete.load(Ordering::Relaxed);
        if failure.code == "NoSuchUpload" {
            // Either someone aborted it, or an earlier attempt worked and its answer was lost. The key is ours alone.
            match self.exists(&upload.key).await {
                Some(true) => return Attempt::Done(()),
                None if maybe_complete => return Attempt::Done(()),
                _ => {}
            }
        } else if failure.status == 200
            || matches!(failure.class, Class::Timeout | Class::Unreachable | Class::Unavailable)
        {
            // S3 also answers 200 and tells an error in the body.
            upload.maybe_complete.store(true, Ordering::Relaxed);
        }
        self.judge("s3:PutObject", failure)
    }
}

/// The pieces as one: copied once, unless there is only one.
fn joined(body: &[Bytes]) -> Bytes {
    match body {
        [one] => one.clone(),
        _ => {
            let mut all = BytesMut::with_capacity(body.iter().map(Bytes::len).sum());
            body.iter().for_each(|piece| all.extend_from_slice(piece));
            all.freeze()
        }
    }
}
