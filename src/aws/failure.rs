//! What an error of the SDK means: its class, AWS's code, a line for the log that says what to do.
//!
//! Which classes are worth another try is the sink's decision; here nothing is dropped or repeated. A line never holds
//! a secret: of AWS's message only the first line is kept, for some (`InvalidSignatureException`) go on with the whole
//! canonical request, session token included.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Kinds of failures, each a value of the label `result` in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Too many requests for a quota.
    Throttled,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// No credentials, or AWS does not take them.
    Credentials,
    /// The credentials are good, their permissions are not enough.
    Denied,
    /// An error on AWS's side, or an answer that is none of AWS's.
    Unavailable,
    /// AWS refuses this request.
    Refused,
}

impl Class {
    /// The value in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
        }
    }

    /// What whoever reads the log can do; empty where it depends on the request.
    fn advice(self) -> &'static str {
        match self {
            Self::Throttled => "records wait meanwhile; if it lasts, ask AWS for a higher quota",
            Self::Timeout => "check the network to the endpoint, and `retry.attempt_timeout` on a slow one",
            Self::Unreachable => "check endpoint and region, DNS, security group, and the route (NAT or VPC endpoint)",
            Self::Credentials => {
                "give the task a role (`taskRoleArn`), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 AWS_PROFILE; with keys in place, check that they are valid and that this machine's clock is right"
            }
            Self::Unavailable => "records wait until AWS works again",
            Self::Denied | Self::Refused => "",
        }
    }

    /// From what AWS answered. Codes as of SigV4's services and S3; without a code (a proxy's page) the status decides.
    fn of_answer(code: Option<&str>, status: u16) -> Self {
        match code {
            Some(
                "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottledException"
                | "RequestThrottled"
                | "TooManyRequestsException"
                | "RequestLimitExceeded"
                | "BandwidthLimitExceeded"
                | "SlowDown"
                | "PriorRequestNotComplete",
            ) => Self::Throttled,
            Some("RequestTimeout" | "RequestTimeoutException") => Self::Timeout,
            Some(
                "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "InvalidAccessKeyId"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "IncompleteSignatureException"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "RequestExpired"
                | "RequestTimeTooSkewed",
            ) => Self::Credentials,
            Some("AccessDenied" | "AccessDeniedException") => Self::Denied,
            _ => match status {
                429 => Self::Throttled,
                408 => Self::Timeout,
                401 => Self::Credentials,
                403 => Self::Denied,
                500.. => Self::Unavailable,
                _ => Self::Refused,
            },
        }
    }
}

/// One failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind it is.
    pub class: Class,
    /// AWS's code; empty when the answer had none or there was no answer.
    pub code: String,
    /// HTTP status; 0 without an answer.
    pub status: u16,
    /// What was found and what to do, for the log.
    pub text: String,
    /// When AWS asked to be tried again.
    pub retry_after: Option<Duration>,
}

/// The longest message of AWS's that goes into the log.
const MESSAGE_LEN: usize = 300;

impl Failure {
    /// Reads an error of the SDK.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = error.as_service_error().and_then(|e| e.code()).unwrap_or_default().to_owned();
        let class = match error {
            SdkError::ServiceError(_) => Class::of_answer(Some(&code).filter(|c| !c.is_empty()).map(|c| &**c), status),
            // A good status with a body that nobody understands: a proxy, or a cut answer.
            SdkError::ResponseError(_) if status < 300 => Class::Unavailable,
            SdkError::ResponseError(_) => Class::of_answer(None, status),
            _ if has_credentials_error(error) => Class::Credentials,
            SdkError::TimeoutError(_) => Class::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Class::Timeout,
            SdkError::DispatchFailure(_) => Class::Unreachable,
            _ => Class::Refused,
        };
        let found = match error.as_service_error() {
            Some(e) => answer(&code, status, e.message()),
            None => chain(error),
        };
        let text = match class.advice() {
            "" => found,
            advice => format!("{found}; {advice}"),
        };
        Self { class, code, status, text, retry_after: error.raw_response().and_then(retry_after) }
    }

    /// A failure before there was a request.
    pub fn of_setup(text: String) -> Self {
        Self { class: Class::Credentials, code: String::new(), status: 0, text, retry_after: None }
    }
}

fn answer(code: &str, status: u16, message: Option<&str>) -> String {
    let code = if code.is_empty() { "no code" } else { code };
    match message.map(first_line).filter(|text| !text.is_empty()) {
        Some(text) => format!("AWS answered {status} {code}: {text}"),
        None => format!("AWS answered {status} {code}"),
    }
}

/// The first line, cut.
fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default().trim();
    let end = (0..=MESSAGE_LEN.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
    line.get(..end).unwrap_or_default()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Bounded, though no error of the SDK is its own cause.
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source()).take(16)
}

fn has_credentials_error<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// The causes in one line, each once.
fn chain<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = first_line(&cause.to_string()).to_owned();
        if !text.is_empty() && parts.last() != Some(&text) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// `Retry-After` in seconds, `x-amz-retry-after` in milliseconds.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let number = |name| response.headers().get(name).and_then(|value| value.trim().parse::<u64>().ok());
    number("x-amz-retry-after").map(Duration::from_millis).or_else(|| number("retry-after").map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::metadata::ErrorMetadata;

    use super::*;

    fn refused(status: u16, code: &str, message: &str, headers: &[(&'static str, &'static str)]) -> Failure {
        let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty());
        for &(name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        let mut meta = ErrorMetadata::builder().message(message);
        if !code.is_empty() {
            meta = meta.code(code);
        }
        Failure::of(&SdkError::service_error(PutLogEventsError::generic(meta.build()), response))
    }

    #[test]
    fn the_code_decides_and_without_one_the_status() {
        for (status, code, class) in [
            (400, "ThrottlingException", Class::Throttled),
            (503, "SlowDown", Class::Throttled),
            (503, "ServiceUnavailableException", Class::Unavailable),
            (400, "UnrecognizedClientException", Class::Credentials),
            (403, "ExpiredToken", Class::Credentials),
            (400, "AccessDeniedException", Class::Denied),
            (400, "InvalidParameterException", Class::Refused),
            (502, "", Class::Unavailable),
            (429, "", Class::Throttled),
            (413, "", Class::Refused),
        ] {
            assert_eq!(refused(status, code, "", &[]).class, class, "{status} {code}");
        }
    }

    #[test]
    fn the_servers_wish_for_a_pause_is_read() {
        let pause = |headers| refused(503, "SlowDown", "", headers).retry_after;
        assert_eq!(pause(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(pause(&[("retry-after", "7"), ("x-amz-retry-after", "250")]), Some(Duration::from_millis(250)));
        assert_eq!(pause(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), None);
    }

    #[test]
    fn only_the_first_line_of_a_message_reaches_the_log() {
        let failure = refused(403, "InvalidSignatureException", "no match\nx-amz-security-token: FwoGZX", &[]);
        assert!(failure.text.starts_with("AWS answered 403 InvalidSignatureException: no match; "), "{}", failure.text);
        assert!(!failure.text.contains("FwoGZX"));
        assert!(refused(400, "X", &"é".repeat(500), &[]).text.len() < 400);
    }

    #[test]
    fn missing_credentials_are_told_as_such() {
        let error = SdkError::<PutLogEventsError, HttpResponse>::construction_failure(CredentialsError::not_loaded(
            "no providers in chain provided credentials",
        ));
        let failure = Failure::of(&error);
        assert_eq!(failure.class, Class::Credentials);
        assert!(failure.text.contains("no providers in chain") && failure.text.contains("taskRoleArn"));
    }
}
