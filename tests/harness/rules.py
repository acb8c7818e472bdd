"""What AWS refuses, and what its requests are called: limits of the API references of CloudWatch Logs and S3."""

import base64
import hashlib
import json
import re
import struct
import zlib

MAX_BATCH = 1_048_576  # sum of the messages' UTF-8 bytes and 26 an event
EVENT_OVERHEAD = 26
MAX_EVENTS = 10_000
MAX_MESSAGE = 1_048_576
DAY_MS = 24 * 3600 * 1000
MIN_PART = 5 << 20
MAX_PUT = 5 << 30
GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
STREAM = re.compile(r"[^:*]{1,512}", re.DOTALL)
RETENTION = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


# Kinds of failures by the names that tests give them: status, code, message.
ANSWERS = {
    "logs": {
        "throttle": (400, "ThrottlingException", "Rate exceeded"),
        "unavailable": (503, "ServiceUnavailableException", "Service is unavailable"),
        "denied": (400, "AccessDeniedException", "User is not authorized to perform this"),
        "expired": (400, "ExpiredTokenException", "The security token included in the request is expired"),
        "missing": (400, "ResourceNotFoundException", "The specified log group does not exist."),
        "aborted": (400, "OperationAbortedException", "A conflicting operation is in progress"),
        "invalid": (400, "InvalidParameterException", "Invalid parameter"),
    },
    "s3": {
        "throttle": (503, "SlowDown", "Please reduce your request rate."),
        "unavailable": (503, "ServiceUnavailable", "Service is unavailable"),
        "internal": (500, "InternalError", "We encountered an internal error. Please try again."),
        "denied": (403, "AccessDenied", "Access Denied"),
        "expired": (400, "ExpiredToken", "The provided token has expired."),
        "missing": (404, "NoSuchBucket", "The specified bucket does not exist"),
    },
}


class Refused(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def read_call(api, headers, body):
    """The JSON of a call of CloudWatch Logs."""
    if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    if headers.get("content-type") != "application/x-amz-json-1.1":
        raise Refused("UnknownOperationException", f"content type {headers.get('content-type')}", 404)
    encoding = headers.get("content-encoding", "")
    text = one_gzip_member(body) if encoding == "gzip" else body
    if encoding not in ("", "gzip"):
        raise Refused("SerializationException", f"content encoding {encoding}")
    try:
        call = json.loads(text)
    except ValueError as error:
        raise Refused("SerializationException", f"no JSON: {error}") from error
    group, stream = call.get("logGroupName"), call.get("logStreamName")
    if group is not None and (not GROUP.fullmatch(group) or group.startswith("aws/")):
        raise Refused("InvalidParameterException", f"log group name {group!r}")
    if stream is not None and not STREAM.fullmatch(stream):
        raise Refused("InvalidParameterException", f"log stream name {stream!r}")
    if api == "PutRetentionPolicy" and call.get("retentionInDays") not in RETENTION:
        raise Refused("InvalidParameterException", f"retention of {call.get('retentionInDays')} days")
    if api == "PutLogEvents":
        check_put(call)
    return call


def check_put(call):
    events = call.get("logEvents")
    if not call.get("logGroupName") or not call.get("logStreamName"):
        raise Refused("InvalidParameterException", "a group and a stream are needed")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        raise Refused("InvalidParameterException", f"{len(events or [])} events; 1 to {MAX_EVENTS} are allowed")
    size = 0
    for event in events:
        message, stamp = event.get("message"), event.get("timestamp")
        if not isinstance(stamp, int) or stamp < 0:
            raise Refused("InvalidParameterException", f"timestamp {stamp!r}")
        if not isinstance(message, str) or not message:
            raise Refused("InvalidParameterException", "a message must have at least 1 character")
        length = len(message.encode("utf-8", "surrogatepass"))
        if length > MAX_MESSAGE:
            raise Refused("InvalidParameterException", f"Log event too large: {length} bytes")
        size += length + EVENT_OVERHEAD
    if size > MAX_BATCH:
        raise Refused("InvalidParameterException", f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH}")
    stamps = [event["timestamp"] for event in events]
    if stamps != sorted(stamps):
        raise Refused("InvalidParameterException", "Log events in a single request must be in chronological order")
    if stamps[-1] - stamps[0] > DAY_MS:
        raise Refused("InvalidParameterException", "The batch of log events spans more than 24 hours")


def one_gzip_member(body):
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body)
    except zlib.error as error:
        raise Refused("SerializationException", f"bad gzip: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise Refused("SerializationException", "not exactly one gzip member")
    return text


def check_body(headers, body):
    """Of a call of S3: signed, and the bytes are those that the sender summed up."""
    if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise Refused("AccessDenied", "Access Denied", 403)
    digest = headers.get("x-amz-content-sha256", "")
    if re.fullmatch(r"[0-9a-f]{64}", digest) and hashlib.sha256(body).hexdigest() != digest:
        raise Refused("XAmzContentSHA256Mismatch", "the body's SHA-256 is another")
    crc = headers.get("x-amz-checksum-crc32")
    if crc and "aws-chunked" not in headers.get("content-encoding", ""):
        if base64.b64encode(struct.pack(">I", zlib.crc32(body))).decode() != crc:
            raise Refused("BadDigest", "the body's CRC32 is another")


def s3_api(method, path, query):
    if "uploadId" in query:
        return {
            "PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts",
        }.get(method, "")
    if "uploads" in query:
        return {"POST": "CreateMultipartUpload", "GET": "ListMultipartUploads"}.get(method, "")
    return {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}.get(method, "")
