"""The built binary as a process: started with a config, asked over its admin port, ended by signal.

It promises that a started router listens, and that a stopped one has printed a ledger that adds up.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# Far above what anything here takes; a bound, not a measure.
PATIENCE = 60

SOURCE_LINE = re.compile(r"ledger: source (\S+): received (\d+) = routed (\d+) \+ dropped (\d+)(?: \((.*)\))?$")
SINK_LINE = re.compile(
    r"ledger: sink (\S+): accepted (\d+)(?: \(of them \d+ from the last process\))? = delivered (\d+) \+ waiting (\d+) \+ dropped (\d+)(?: \((.*)\))?$"
)


def binary():
    path = os.environ.get("LOGWEIR_BINARY")
    assert path and Path(path).is_file(), "LOGWEIR_BINARY must be the path of the built binary (`make test` sets it)"
    return path


def environment(**extra):
    """Of a process under test: nothing of the caller's AWS or ECS settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "ECS_", "LOGWEIR_"))}
    env |= {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
        "no_proxy": "*",
    }
    return {k: v for k, v in (env | extra).items() if v is not None}


def logweir(*args, stdin=None, env=None, cwd=None):
    """Runs a subcommand to its end."""
    return subprocess.run(
        [binary(), *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(**(env or {})),
        cwd=cwd,
    )


def eventually(check, what, patience=PATIENCE):
    """The first truthy answer of `check`."""
    end = time.monotonic() + patience
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited for {what} in vain"
        time.sleep(0.02)


class Ledger:
    """The last lines of a run, as numbers."""

    def __init__(self, lines):
        self.sources, self.sinks = {}, {}
        for line in lines:
            if match := SOURCE_LINE.search(line):
                name, received, routed, dropped, reasons = match.groups()
                self.sources[name] = self._account(
                    reasons, received=int(received), routed=int(routed), dropped=int(dropped)
                )
            elif match := SINK_LINE.search(line):
                name, accepted, delivered, waiting, dropped, reasons = match.groups()
                self.sinks[name] = self._account(
                    reasons, accepted=int(accepted), delivered=int(delivered), waiting=int(waiting), dropped=int(dropped)
                )
            assert "DOES NOT ADD UP" not in line, line

    @staticmethod
    def _account(reasons, **numbers):
        parts = [part.rsplit(" ", 1) for part in reasons.split(", ")] if reasons else []
        return numbers | {"reasons": {reason: int(count) for reason, count in parts}}

    def check(self):
        for name, book in self.sources.items():
            assert book["received"] == book["routed"] + book["dropped"], (name, book)
        for name, book in self.sinks.items():
            assert book["accepted"] == book["delivered"] + book["waiting"] + book["dropped"], (name, book)


class Router:
    """`logweir run` with a config; use it as a context manager or by `start` and `stop`."""

    def __init__(self, config, directory, env=None, wrapper=(), arguments=()):
        self.directory = Path(directory)
        self.config_path = self.directory / "router.yaml"
        # JSON is YAML; a test that cares for the notation gives text.
        self.config_path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        self.env = env or {}
        self.wrapper, self.arguments = list(wrapper), list(arguments)
        self.lines, self.stdout_lines = [], []
        self.process = None
        self.ended = False

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.kill()
        if kind is not None:
            print("\n".join(["router's stderr:", *self.lines[-60:]]))

    def start(self):
        return self.spawn().listening()

    def spawn(self):
        """Starts the process, which need not listen yet."""
        command = [*self.wrapper, binary(), "run", "--config", str(self.config_path), *self.arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**self.env),
            cwd=self.directory,
        )
        self.readers = [
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
            for pipe, lines in ((self.process.stderr, self.lines), (self.process.stdout, self.stdout_lines))
        ]
        for reader in self.readers:
            reader.start()
        return self

    def listening(self):
        eventually(self._listens, "the router to listen")
        return self

    def _read(self, pipe, lines):
        for line in pipe:
            lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _listens(self):
        code = self.process.poll()
        assert code is None, f"the router ended with {code}:\n" + "\n".join(self.lines)
        return any("admin on http://" in line for line in self.lines)

    @property
    def stderr(self):
        return "\n".join(self.lines)

    @property
    def admin(self):
        return next(m[1] for m in map(re.compile(r"admin on (http://[^/\s]+)").search, list(self.lines)) if m)

    def addresses(self, source="forward"):
        """Where a source listens, as it said last: `unix:///path` and `tcp://host:port` with the real port."""
        for line in reversed(list(self.lines)):
            if match := re.search(rf"source {re.escape(source)} listens on (.*)", line):
                return match[1].split(", ")
        raise AssertionError(f"source {source} does not say where it listens")

    def address(self, scheme, source="forward"):
        return next(a for a in self.addresses(source) if a.startswith(scheme + ":"))

    def get(self, path):
        """Status and body of an admin endpoint."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.admin + path, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        code, body = self.get("/status")
        assert code == 200, body
        return json.loads(body)

    def ledger(self):
        return self.status()["ledger"]

    def received(self, source="forward"):
        return self.ledger()["sources"][source]["received"]["records"]

    def sink(self, name, what):
        return self.ledger()["sinks"][name][what]["records"]

    def write(self, config):
        """Replaces the config's file as editors and orchestrators do: written aside, renamed."""
        aside = self.config_path.with_suffix(".new")
        aside.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        aside.rename(self.config_path)

    def reloads(self):
        """How many reloads went well, and how many did not."""
        reloads = self.status()["config_reloads"]
        return reloads["succeeded"], reloads["failed"]

    def reload(self, config, goes=True):
        """Gives it another config and waits until it runs, or is refused."""
        succeeded, failed = self.reloads()
        self.write(config)
        self.signal(signal.SIGHUP)
        expected = (succeeded + 1, failed) if goes else (succeeded, failed + 1)
        eventually(lambda: sum(self.reloads()) > succeeded + failed, "the reload")
        assert self.reloads() == expected, self.stderr

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        code = self.process.wait(timeout=patience)
        for reader in self.readers:
            reader.join(PATIENCE)
        self.ended = True
        return code

    def stop(self, code=0):
        """SIGTERM; the drain must end with this exit code (`None`: any) and a ledger that adds up."""
        self.signal()
        got = self.wait()
        assert code is None or got == code, f"exit {got}, expected {code}:\n" + "\n".join(self.lines[-40:])
        ledger = Ledger(self.lines)
        assert ledger.sources and ledger.sinks, "no ledger in\n" + "\n".join(self.lines[-40:])
        ledger.check()
        return ledger

    def kill(self):
        self.process.kill()
        self.wait()
