"""A router between an oracle and a fake AWS, each a process of its own, and the judgement at the end.

`Rig` promises that what it started is ended, that a failure tells the seed and keeps the directory (config, objects,
events, the router's log), and that a run which is judged has ended with exit code 0.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from harness.aws import REGION
from harness.router import PATIENCE, Router, eventually

TESTS = Path(__file__).parent.parent
# What must be nought in every verdict.
NEVER = ("lost", "duplicated", "corrupted", "misrouted", "cloudwatch_lost")


class Process:
    """A module of this package as a process that talks over its stdin and stdout."""

    def __init__(self, module, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"faults.{module}", *map(str, arguments)], cwd=TESTS, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def read(self):
        line = self.process.stdout.readline()
        assert line, f"{self.process.args[2]} ended: {self.process.wait()}"
        return json.loads(line)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Fake(Process):
    def __init__(self, directory, seed):
        super().__init__("fake", directory, "--seed", seed)
        self.url = f"http://127.0.0.1:{self.read()}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def control(self, what, body=None):
        data = json.dumps(body or {}).encode()
        with self.opener.open(f"{self.url}/_control/{what}", data, timeout=PATIENCE) as answer:
            return json.load(answer)

    def break_with(self, *faults, wrong_name=None):
        """From here on these faults and no others: `("PutObject", "cut", {"chance": 0.1})`."""
        made = [{"api": api, "kind": kind} | dict(*more) for api, kind, *more in faults]
        return self.control("faults", {"faults": made, "wrong_name": wrong_name})

    def heal(self):
        return self.break_with()

    def report(self):
        return self.control("report")


class Oracle(Process):
    def __init__(self, run, addresses, **options):
        flags = []
        for name, value in options.items():
            flags += [f"--{name}", *(value if isinstance(value, (list, tuple)) else [value])]
        super().__init__("oracle", run, *(x for a in addresses for x in ("--to", a)), *flags)

    def ask(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what} | more) + "\n")
        self.process.stdin.flush()
        return self.read()


def free_port():
    """A port that stays the same over the router's lives: below those that the kernel gives to whoever connects."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Rig:
    def __init__(self, case, seed, oracle=None, **config):
        self.case, self.seed = case, seed
        self.random = random.Random(f"{case}-{seed}")
        self.place = Path(tempfile.mkdtemp(prefix="logweir-faults-"))
        self.log = (self.place / "router.log").open("a", encoding="utf-8")
        self.addresses = [f"unix://{self.place}/fluent.sock", f"tcp://127.0.0.1:{free_port()}"]
        self.router, self.lives = None, 0
        self.fake = Fake(self.place / "aws", seed)
        self.config = self.make_config(**config)
        self.oracle = Oracle(f"r{self.random.randrange(10**6)}", self.addresses, seed=seed, **(oracle or {}))

    def make_config(self, source=None, archive=None, alerts=None, **more):
        retry = {"initial": "50ms", "max": "500ms", "attempt_timeout": "5s"}
        return {
            "sources": {"forward": {"listen": self.addresses} | (source or {})},
            "routes": [
                {"name": "errors", "when": "level >= WARN", "to": ["alerts", "archive"]},
                {"name": "rest", "to": ["archive"]},
            ],
            "sinks": {
                "archive": {
                    "type": "s3", "region": REGION, "bucket": "logs", "endpoint": self.fake.url, "path_style": True,
                    "object": {"size": "256KiB", "age": "1s"}, "retry": retry,
                } | (archive or {}),
                "alerts": {
                    "type": "cloudwatch_logs", "region": REGION, "endpoint": self.fake.url, "retry": retry,
                    "log_group": "/ecs/{container}", "batch": {"age": "200ms"},
                } | (alerts or {}),
            },
            "admin": {"listen": "127.0.0.1:0"},
            "drain": {"timeout": "20s", "quiet": "200ms"},
        } | more

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.router and self.router.process.poll() is None:
            self.kill()
        self.oracle.end()
        self.fake.end()
        self.log.close()
        if kind is None and not os.environ.get("LOGWEIR_FAULTS_KEEP"):
            shutil.rmtree(self.place, ignore_errors=True)
        else:
            print(f"{self.case}: LOGWEIR_FAULTS_SEED={self.seed}; all of it is in {self.place}")

    def spawn(self, **more):
        """The router's next life; it need not listen yet."""
        self.lives += 1
        self.router = Router(self.config, self.place, **more)
        return self.router.spawn()

    def start(self, **more):
        self.spawn(**more)
        return self.router.listening()

    def keep_log(self):
        self.log.write("\n".join([f"--- life {self.lives}", *self.router.lines, ""]))
        self.log.flush()

    def kill(self):
        """SIGKILL; returns the moment when it was dead."""
        self.router.kill()
        self.keep_log()
        return time.monotonic()

    def stop(self, code=0):
        try:
            return self.router.stop(code)
        finally:
            self.keep_log()

    def sleep(self, shortest, longest):
        time.sleep(self.random.uniform(shortest, longest))

    def rest(self, patience=PATIENCE):
        """The senders stop; all that they sent with acks is acked."""
        rested = self.oracle.ask("pause", patience=patience)
        assert rested["waiting"] == 0, f"chunks without ack: {rested}\n" + "\n".join(self.router.lines[-30:])
        return rested

    def delivered(self, sinks=("archive", "alerts"), patience=PATIENCE):
        """Waits until nothing waits in these sinks."""
        eventually(
            lambda: all(self.router.sink(sink, "waiting") == 0 for sink in sinks), f"{sinks} to be empty", patience
        )

    def judge(self, table, runs, counted=None):
        """After the last stop: reads all back, puts the line into the table and fails on what must never be. `counted`
        are losses that the ledger told, by what they are in the verdict."""
        verdict = self.oracle.ask("judge", directory=str(self.place / "aws"))
        report = self.fake.report()
        shown = json.dumps({"verdict": verdict, "fake": report}, indent=1)
        (self.place / "verdict.json").write_text(shown)
        told = dict.fromkeys(NEVER, 0) | (counted or {})
        table.add(self.case, runs, verdict | {what: verdict[what] - told[what] for what in NEVER})
        assert report["refusals"] == [], shown
        assert report["s3"]["overwritten"] == [], shown
        assert verdict["sent"] > 0, f"nothing was sent: {shown}"
        assert {what: verdict[what] for what in NEVER} == told, shown
        return verdict, report
