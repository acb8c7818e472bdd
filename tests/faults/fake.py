"""AWS in small as a process of its own, fast and breakable: `python -m faults.fake DIRECTORY [--port N] [--seed N]`.

It outlives the routers that talk to it and ends with its stdin. Its first line on stdout is its port. Control is HTTP beside AWS: a POST of JSON
to `/_control/faults` replaces the faults, `/_control/report` tells what came. A fault is `{"api", "kind"}`: an API, a
service (`s3`, `logs`) or `*`, and a kind of `rules.ANSWERS`, or

- `cut`: the connection ends in the middle of the request, which is not taken; `cut_after`: it is taken, no answer comes;
- `slow`: taken, answered after `delay` seconds; `dribble`: taken, the answer's bytes come one by one;
- `sip`: the request is read in small pieces over `delay` seconds, then taken;
- `truncated`: taken, the answer ends before its length; `silent`: not taken, no answer until the peer hangs up.

with `chance` (default 1) and `times` (default: until lifted). Requests that AWS would refuse are kept in `refusals`.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from pathlib import Path

from harness.rules import ANSWERS, Refused, s3_api

from .fake_logs import Logs
from .fake_s3 import S3

# Answers that a correct sender can see: it raced, repeated or asked.
EXPECTED = {"ResourceAlreadyExistsException", "ResourceNotFoundException", "PreconditionFailed", "NoSuchKey", "NoSuchUpload"}


class Hangup(Exception):
    """The connection ends without a word."""


class Fake:
    def __init__(self, directory, seed):
        directory = Path(directory)
        (directory / "s3").mkdir(parents=True, exist_ok=True)
        self.s3, self.logs = S3(directory / "s3"), Logs(directory / "logs.jsonl")
        self.random = random.Random(seed)
        self.faults, self.refusals = [], []
        self.requests, self.injected = Counter(), Counter()

    async def serve(self, reader, writer):
        try:
            while await self.request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except Hangup:
            # A reset, as of a load balancer that goes away.
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.transport.abort()

    async def request(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, _, raw = target.partition("?")
        query = dict(pair.partition("=")[::2] for pair in raw.split("&") if pair)
        length = int(headers.get("content-length", 0))
        if path.startswith("/_control/"):
            answer = self.control(path, await reader.readexactly(length))
            await self.answer(writer, method, 200, {}, json.dumps(answer).encode())
            return True
        service = "logs" if "x-amz-target" in headers else "s3"
        api = headers["x-amz-target"].rpartition(".")[2] if service == "logs" else s3_api(method, path, query)
        fault = self.fault(service, api)
        kind = fault["kind"] if fault else None
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if kind == "cut":
            await reader.readexactly(length // 2)
            raise Hangup
        body = b""
        if kind == "sip":
            while len(body) < length:
                body += await reader.readexactly(min(length // 20 + 1, length - len(body)))
                await asyncio.sleep(fault["delay"] / 20)
        else:
            body = await reader.readexactly(length)
        if kind == "silent":
            await reader.read()
            raise Hangup
        if kind in ANSWERS[service]:
            status, code, message = ANSWERS[service][kind]
            return await self.refuse(writer, method, service, Refused(code, message, status))
        try:
            self.requests[api] += 1
            if service == "logs":
                status, more, content = self.logs.call(api, headers, body)
            else:
                status, more, content = self.s3.call(api, path, query, headers, body)
        except Refused as refused:
            if refused.code not in EXPECTED and not (self.logs.wrong_name and service == "logs"):
                self.refusals.append(f"{api} {path}: {refused.code}: {refused.message}")
            return await self.refuse(writer, method, service, refused)
        if kind == "cut_after":
            raise Hangup
        if kind == "slow":
            await asyncio.sleep(fault["delay"])
        await self.answer(writer, method, status, more, content, kind)
        return True

    async def answer(self, writer, method, status, headers, content, kind=None):
        content = b"" if method == "HEAD" else content
        headers = {"content-length": str(len(content)), "x-amzn-requestid": "0", "x-amz-request-id": "0"} | headers
        if kind == "truncated":
            headers["content-length"] = str(len(content) + 100)
        # 204 has no body, and no length either.
        lines = [f"{n}: {v}\r\n" for n, v in headers.items() if status != 204 or n != "content-length"]
        answer = f"HTTP/1.1 {status} x\r\n{''.join(lines)}\r\n".encode("latin-1") + content
        if kind == "dribble":
            for at in range(len(answer)):
                writer.write(answer[at : at + 1])
                await asyncio.sleep(0.002)
        else:
            writer.write(answer)
        await writer.drain()
        if kind == "truncated":
            raise Hangup

    async def refuse(self, writer, method, service, refused):
        if service == "logs":
            kind, content = "application/x-amz-json-1.1", json.dumps({"__type": refused.code, "message": str(refused)})
        else:
            kind = "application/xml"
            content = f"<?xml version='1.0'?><Error><Code>{refused.code}</Code><Message>{refused}</Message></Error>"
        await self.answer(writer, method, refused.status, {"content-type": kind}, content.encode())
        return True

    def fault(self, service, api):
        for fault in self.faults:
            if fault["api"] in ("*", service, api) and self.random.random() < fault.get("chance", 1):
                if "times" in fault:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                self.injected[f"{api} {fault['kind']}"] += 1
                return fault
        return None

    def control(self, path, body):
        if path == "/_control/faults":
            asked = json.loads(body)
            self.faults, self.logs.wrong_name = asked["faults"], asked.get("wrong_name")
        return {
            "s3": self.s3.report(), "logs": self.logs.report(), "requests": self.requests,
            "injected": self.injected, "refusals": self.refusals,
        }


async def main(directory, port, seed):
    fake = Fake(directory, seed)
    # Whoever started it is gone when stdin ends; then it goes too.
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", port, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("directory")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    asyncio.run(main(given.directory, given.port, given.seed))
