"""A proxy before moto that refuses what AWS refuses and moto lets pass, and that can fail on demand.

The limits are in `rules`. What is refused is kept in `refusals`; a test that does not expect any fails on them.
"""

import http.client
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .rules import ANSWERS, MAX_PUT, MIN_PART, Refused, check_body, one_gzip_member, read_call, s3_api


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
        call = read_call(api, headers, body)
        if api == "CreateLogGroup":
            with self.lock:
                self.seen.creates.append(call)
        if api == "PutLogEvents":
            encoding = headers.get("content-encoding", "")
            put = Put(call["logGroupName"], call["logStreamName"], call["logEvents"], len(body), encoding)
            with self.lock:
                self.seen.puts.append(put)

    # --- S3

    def check_s3(self, api, path, query, headers, body):
        check_body(headers, body)
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
        api = target.rpartition(".")[2] if target else s3_api(self.command, path, query)
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
            text = (one_gzip_member(body) if headers.get("content-encoding") == "gzip" else body).decode()
        fault = self.owner.take_fault(service, api, text)
        if fault is None:
            return False
        time.sleep(fault.delay)
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
            self._error(service, *ANSWERS[service][fault.kind])
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
