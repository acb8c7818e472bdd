"""A proxy before moto that refuses what AWS refuses and moto lets pass, and that can fail on demand.

Limits are those of the API references of CloudWatch Logs and S3. What is refused is kept in `refusals`; a test that does
not expect any fails on them.
"""

import hashlib
import http.client
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Refused(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass
class Fault:
    """What goes wrong, and for how many requests (`None`: until it is lifted)."""

    api: str
    kind: str
    times: int | None = 1
    delay: float = 0.0
    match: str = ""


@dataclass
class Put:
    """One PutLogEvents as it was accepted."""

    group: str
    stream: str
    events: list
    wire_bytes: int
    encoding: str


@dataclass
class Seen:
    requests: Counter = field(default_factory=Counter)
    puts: list = field(default_factory=list)
    creates: list = field(default_factory=list)
    headers: list = field(default_factory=list)


class Checker:
    def __init__(self, backend):
        self.backend = backend
        self.lock = threading.Lock()
        self.reset()
        checker = self

        class Handler(_Handler):
            owner = checker

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def reset(self):
        with self.lock:
            self.refusals, self.faults, self.parts, self.seen = [], [], {}, Seen()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def fault(self, api, kind, times=1, delay=0.0, match=""):
        """Makes the next requests of an API (`PutLogEvents`, `PutObject`, `s3`, `logs`, `*`) fail."""
        fault = Fault(api, kind, times, delay, match)
        with self.lock:
            self.faults.append(fault)
        return fault

    def lift(self, fault):
        with self.lock:
            if fault in self.faults:
                self.faults.remove(fault)

    def take_fault(self, service, api, text):
        with self.lock:
            for fault in self.faults:
                if fault.api in ("*", service, api) and fault.match in text:
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self.faults.remove(fault)
                    return fault
        return None

    # --- CloudWatch Logs

    def check_logs(self, api, headers, body):
        if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
        if headers.get("content-type") != "application/x-amz-json-1.1":
            raise Refused("UnknownOperationException", f"content type {headers.get('content-type')}", 404)
        encoding = headers.get("content-encoding", "")
        text = _one_gzip_member(body) if encoding == "gzip" else body
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
        if api == "CreateLogGroup":
            with self.lock:
                self.seen.creates.append(call)
        if api == "PutLogEvents":
            self._check_put(call)
            with self.lock:
                self.seen.puts.append(Put(group, stream, call["logEvents"], len(body), encoding))

    @staticmethod
    def _check_put(call):
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

    # --- S3

    def check_s3(self, api, path, query, headers, body):
        if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            raise Refused("AccessDenied", "Access Denied", 403)
        digest = headers.get("x-amz-content-sha256", "")
        if re.fullmatch(r"[0-9a-f]{64}", digest) and hashlib.sha256(body).hexdigest() != digest:
            raise Refused("XAmzContentSHA256Mismatch", "the body's SHA-256 is another")
        crc = headers.get("x-amz-checksum-crc32")
        if crc and "aws-chunked" not in headers.get("content-encoding", ""):
            import base64

            if base64.b64encode(struct.pack(">I", zlib.crc32(body))).decode() != crc:
                raise Refused("BadDigest", "the body's CRC32 is another")
        key = path.lstrip("/").partition("/")[2]
        if len(key.encode()) > 1024:
            raise Refused("KeyTooLongError", "Your key is too long")
        if api in ("PutObject", "UploadPart"):
            length = int(headers.get("x-amz-decoded-content-length", headers["content-length"]))
            if length > MAX_PUT:
                raise Refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size")
        if api == "UploadPart":
            number = int(query["partNumber"])
            if not 1 <= number <= 10_000:
                raise Refused("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
            with self.lock:
                self.parts.setdefault(query["uploadId"], {})[number] = length
        if api == "CompleteMultipartUpload":
            with self.lock:
                parts = self.parts.get(query["uploadId"], {})
            named = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
            if not named or named != sorted(named):
                raise Refused("InvalidPartOrder", "The list of parts was not in ascending order")
            if any(n not in parts for n in named):
                raise Refused("InvalidPart", "One or more of the specified parts could not be found")
            if any(parts[n] < MIN_PART for n in named[:-1]):
                raise Refused("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size")


def _one_gzip_member(body):
    inflater = zlib.decompressobj(wbits=31)
    try:
        text = inflater.decompress(body)
    except zlib.error as error:
        raise Refused("SerializationException", f"bad gzip: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise Refused("SerializationException", "not exactly one gzip member")
    return text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a peer that hung up: its own affair


class _Handler(BaseHTTPRequestHandler):
    owner: Checker
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_any(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, raw_query = self.path.partition("?")
        query = dict(pair.partition("=")[::2] for pair in raw_query.split("&") if pair)
        target = headers.get("x-amz-target", "")
        service = "logs" if target else "s3"
        api = target.rpartition(".")[2] if target else _s3_api(self.command, path, query)
        try:
            body = self._body(headers)
            if self._fault(service, api, path, headers, body):
                return
            with self.owner.lock:
                self.owner.seen.requests[api] += 1
                self.owner.seen.headers.append((api, path, headers))
            if service == "logs":
                self.owner.check_logs(api, headers, body)
            else:
                self.owner.check_s3(api, path, query, headers, body)
        except Refused as refused:
            with self.owner.lock:
                self.owner.refusals.append(f"{api}: {refused.code}: {refused.message}")
            self._error(service, refused.status, refused.code, refused.message)
            return
        self._pass_on(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def _body(self, headers):
        if "content-length" not in headers:
            # A POST without a body (CreateMultipartUpload) needs none.
            if self.command == "PUT" or "transfer-encoding" in headers:
                self.close_connection = True
                raise Refused("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
            return b""
        return self.rfile.read(int(headers["content-length"]))

    def _fault(self, service, api, path, headers, body):
        if not self.owner.faults:
            return False
        text = path
        if service == "logs":
            text = (_one_gzip_member(body) if headers.get("content-encoding") == "gzip" else body).decode()
        fault = self.owner.take_fault(service, api, text)
        if fault is None:
            return False
        time.sleep(fault.delay)
        answers = {
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
        }[service]
        if fault.kind == "slow":
            return False
        if fault.kind == "cut":
            self._cut()
        elif fault.kind == "retention":
            # moto keeps what is older than the group's retention.
            self.send_response(200)
            self._finish(json.dumps({"rejectedLogEventsInfo": {"expiredLogEventEndIndex": 1}}).encode())
        elif fault.kind == "cut_after":
            # Done, but the answer gets lost: what a sender must not take for a failure that left nothing behind.
            self._forward(body)
            self._cut()
        else:
            self._error(service, *answers[fault.kind])
        return True

    def _cut(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _forward(self, body):
        backend = http.client.HTTPConnection(*self.owner.backend, timeout=60)
        # moto looks for a bucket in the name of the host, so it gets its own address.
        headers = {n: v for n, v in self.headers.items() if n.lower() not in ("connection", "expect", "host")}
        backend.request(self.command, self.path, body=body, headers=headers)
        answer = backend.getresponse()
        content = answer.read()
        backend.close()
        return answer, content

    def _pass_on(self, body):
        answer, content = self._forward(body)
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self._finish(content)

    def _error(self, service, status, code, message):
        if service == "logs":
            body = json.dumps({"__type": code, "message": message}).encode()
            content_type = "application/x-amz-json-1.1"
        else:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            content_type = "application/xml"
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("x-amzn-requestid", "00000000-0000-0000-0000-000000000000")
        self._finish(body)

    def _finish(self, content):
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _s3_api(method, path, query):
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}.get(method, "")
    if "uploads" in query:
        return "CreateMultipartUpload"
    return {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}.get(method, "")
