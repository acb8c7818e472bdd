"""Who sends and remembers, in a process of its own: `python -m faults.oracle RUN --to ADDRESS… [--seed N] …`.

Reads commands from stdin, a JSON object a line, and answers each with a line: `{"do": "pause"}` (answers when all that
was sent is acked), `resume`, `pulse` (what was sent so far), `excuse` with `since` and `until` (moments of the monotonic
clock: what was sent without acks between them may be lost), `judge` with `directory` (of `faults.fake`), `stop`.

The verdict: an acked chunk stands in S3 at least once, nothing more often than it was sent whole; what was sent without
acks stands there once; errors, and only they, stand in CloudWatch Logs too; each where its tag sends it, as it was sent.
"""

import argparse
import bisect
import json
import os
import sys
import time
from array import array
from pathlib import Path

from harness import objects

from .records import Corrupt, container, is_error, read, tag
from .sender import Sender

MODES = ("packed", "docker", "forward", "message", "gzip", "docker", "zstd")
SAMPLES = 10


class Oracle:
    def __init__(self, run, addresses, connections, seed, sizes, rate, modes):
        self.run, self.excuses = run, []
        self.senders = [
            Sender(run, n, addresses[n % len(addresses)], modes[n % len(modes)], seed, sizes, rate / connections)
            for n in range(connections)
        ]

    def start(self):
        for sender in self.senders:
            sender.start()

    def pause(self, patience):
        """Lets the senders come to rest; those that do not are what `waiting` tells."""
        for sender in self.senders:
            sender.resting.clear()
            sender.paused.set()
        end = time.monotonic() + patience
        for sender in self.senders:
            sender.resting.wait(max(0, end - time.monotonic()))
        return self.pulse() | {"waiting": sum(len(sender.waiting) for sender in self.senders)}

    def resume(self):
        for sender in self.senders:
            sender.paused.clear()
        return {}

    def pulse(self):
        return {
            "records": sum(s.records for s in self.senders), "bytes": sum(s.bytes for s in self.senders),
            "connects": sum(s.connects for s in self.senders), "cuts": sum(s.cuts for s in self.senders),
            "errors": sum((s.records + 9) // 10 for s in self.senders),
        }

    def excuse(self, since, until):
        self.excuses.append((since, until))
        return {}

    def judge(self, directory):
        return Verdict(self, Path(directory)).report

    def excused(self, begun):
        """How old it was when the router died, or None. Excuses come in the order of their time: the first that ends
        after it is the one that reaches back furthest."""
        at = bisect.bisect_left(self.excuses, begun, key=lambda excuse: excuse[1])
        if at == len(self.excuses) or begun < self.excuses[at][0]:
            return None
        return self.excuses[at][1] - begun


class Verdict:
    """Reads all back and compares."""

    def __init__(self, oracle, directory):
        self.oracle, self.samples = oracle, {}
        self.report = dict.fromkeys(
            ("sent", "acked", "resent", "excused", "lost", "duplicated", "repeated", "corrupted", "misrouted",
             "cloudwatch", "cloudwatch_lost", "cloudwatch_duplicates", "dead_letters"), 0,
        )
        self.oldest = 0.0
        self.stored = [array("H", bytes(2 * s.records)) for s in oracle.senders]
        self.watched = [array("H", bytes(2 * s.records)) for s in oracle.senders]
        self.read_objects(directory / "s3")
        self.read_events(directory / "logs.jsonl")
        for sender, stored, watched in zip(oracle.senders, self.stored, self.watched, strict=True):
            self.compare(sender, stored, watched)
        self.report |= {"oldest_excused_seconds": round(self.oldest, 3), "samples": self.samples}

    def note(self, what, sample, n=1):
        self.report[what] += n
        if n and len(kept := self.samples.setdefault(what, [])) < SAMPLES:
            kept.append(sample)

    def count(self, books, text, what, place):
        """One copy of a record that was found; returns its connection."""
        try:
            connection, number = read(text, self.oracle.run)
            books[connection][number] += 1
            return connection, number
        except (Corrupt, IndexError) as error:
            self.note("corrupted", f"{what}: {place}: {error}")
            return None

    def read_objects(self, directory):
        for path in sorted(p for p in directory.glob("*/**/*") if p.is_file()):
            key = str(path.relative_to(directory))
            try:
                found = objects.records(key, path.read_bytes())
            except Exception as error:  # whatever a torn object makes of its readers
                self.note("corrupted", f"s3: {key}: {type(error).__name__}: {error}")
                continue
            if "/dead-letters/" in key:
                self.note("dead_letters", key, len(found))
                continue
            for record in found:
                known = self.count(self.stored, record.get("log"), "s3", key)
                if known and (f"/service={container(known[0])}/" not in key or record["tag"] != tag(known[0])):
                    self.note("misrouted", f"s3: {known} in {key}")

    def read_events(self, path):
        if not path.exists():
            return
        for line in path.open(encoding="utf-8"):
            group, stream, events = json.loads(line)
            for event in events:
                known = self.count(self.watched, json.loads(event["message"]).get("log"), "cloudwatch", group)
                if known and (group != f"/ecs/{container(known[0])}" or not is_error(known[1])):
                    self.note("misrouted", f"cloudwatch: {known} in {group} {stream}")

    def compare(self, sender, stored, watched):
        books = sender.books
        for chunk in range(len(books)):
            first, count, sent, acked = books.first[chunk], books.count[chunk], books.sent[chunk], books.acked[chunk]
            self.report["sent"] += count if sent else 0
            self.report["acked"] += count if acked else 0
            self.report["resent"] += count if sent > 1 else 0
            due = acked or (sent and not sender.with_acks)
            age = self.oracle.excused(books.begun[chunk]) if due and not acked else None
            for number in range(first, first + count):
                name = f"{sender.connection}-{number} ({sender.mode}, sent {sent}, stored {stored[number]})"
                if due and age is not None and not (stored[number] and (watched[number] or not is_error(number))):
                    self.report["excused"] += 1
                    # The moment of the kill is not known to the microsecond; what came after it has no age.
                    self.oldest = max(self.oldest, age)
                elif due and not stored[number]:
                    self.note("lost", name)
                elif due and is_error(number) and not watched[number]:
                    self.note("cloudwatch_lost", name)
                if stored[number] > sent:
                    self.note("duplicated", name)
                elif stored[number] > 1:
                    self.report["repeated"] += 1
                if watched[number]:
                    self.report["cloudwatch"] += 1
                if watched[number] > max(sent, 1):
                    self.note("cloudwatch_duplicates", f"{name}, watched {watched[number]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--to", action="append", required=True, help="unix:///path or tcp://host:port")
    parser.add_argument("--connections", type=int, default=7)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--sizes", type=int, nargs=2, default=(20, 600), help="characters of a record, from and to")
    parser.add_argument("--rate", type=float, default=1e6, help="bytes a second, all connections together")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=sorted(set(MODES)))
    given = parser.parse_args()
    oracle = Oracle(given.run, given.to, given.connections, given.seed, given.sizes, given.rate, given.modes)
    oracle.start()
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "stop":
            break
        print(json.dumps(getattr(oracle, what)(**command)), flush=True)
    # Its threads may be in the middle of a send.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
