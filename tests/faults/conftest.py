"""How long a form of the suite is run, and the table of what it found.

`LOGWEIR_FAULTS=long` is `make faults`; otherwise each case is run often enough to be worth its minutes in CI.
`LOGWEIR_FAULTS_SEED` repeats a run: the same records, the same pauses. `LOGWEIR_FAULTS_KEEP=1` keeps the directories.
"""

import os
import random
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

FORMS = {
    "short": SimpleNamespace(
        kills=25, terms=10, exits=10, attacks=2, fault_seconds=1.5, connections=2_000, memory_seconds=15,
        # The dev build's program file is as large as the limit; the release's has this many pages in memory.
        memory="RssAnon", program=18 << 20, matrix_seconds=4,
    ),
    "long": SimpleNamespace(
        kills=500, terms=500, exits=500, attacks=100, fault_seconds=10, connections=10_000, memory_seconds=600,
        memory="VmHWM", program=0, matrix_seconds=60,
    ),
}
COLUMNS = ("sent", "acked", "resent", "lost", "duplicated", "corrupted", "misrouted", "excused", "cloudwatch_duplicates")


@dataclass
class Table:
    rows: list = field(default_factory=list)
    figures: list = field(default_factory=list)

    def add(self, case, runs, verdict):
        lost = verdict["lost"] + verdict["cloudwatch_lost"]
        self.rows.append([case, runs, *((verdict | {"lost": lost})[column] for column in COLUMNS)])
        if verdict["excused"]:
            oldest = verdict["oldest_excused_seconds"]
            self.figure(f"{case}: the oldest record without ack that went with a router was {oldest} s old")

    def figure(self, sentence):
        """What is no column."""
        self.figures.append(sentence)

    def markdown(self):
        names = ["case", "runs", "records", *COLUMNS[1:-2], "in the window, without ack", "again in CloudWatch Logs"]
        lines = [names, ["---"] + ["---:"] * (len(names) - 1), *self.rows]
        yield from ("| " + " | ".join(f"{c:,}" if isinstance(c, int) else c for c in line) + " |" for line in lines)
        yield from ("", *(f"- {figure}" for figure in self.figures))


TABLE = Table()


@pytest.fixture
def table():
    return TABLE


@pytest.fixture
def form():
    return FORMS[os.environ.get("LOGWEIR_FAULTS", "short")]


@pytest.fixture
def root():
    assert os.geteuid() == 0, "mounts, name resolution and errors of fsync of the test's own making want root"


@pytest.fixture
def seed():
    """Told by pytest when the test failed."""
    seed = os.environ.get("LOGWEIR_FAULTS_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"LOGWEIR_FAULTS_SEED={seed}")
    return seed


def pytest_terminal_summary(terminalreporter):
    if TABLE.rows or TABLE.figures:
        terminalreporter.section("faults survived")
        for line in TABLE.markdown():
            terminalreporter.line(line)
