"""Records that prove themselves: an id that says where one belongs, a level that says which sinks take it, a checksum."""

import random
import re
import zlib

TASK = "0123456789abcdef0123456789abcdef"
# Every so many-th record is an error and goes to CloudWatch Logs too.
ERROR_EVERY = 10
TEXT = re.compile(r"(ERROR|INFO) (\w+)-(\d+)-(\d+) (.*) #([0-9a-f]{8})", re.DOTALL)


def container(connection):
    return f"app{connection}"


def tag(connection):
    return f"{container(connection)}-firelens-{TASK}"


def is_error(number):
    return number % ERROR_EVERY == 0


class Writer:
    """The records of one connection of a run, numbered from 0; a seed gives the same texts."""

    def __init__(self, run, connection, seed, sizes):
        self.run, self.connection, self.sizes = run, connection, sizes
        self.random = random.Random(f"{seed}-{connection}")
        self.pool = self.random.randbytes(max(1 << 18, sizes[1])).hex()

    def text(self, number):
        size = self.random.randint(*self.sizes)
        at = self.random.randrange(len(self.pool) - size)
        level = "ERROR" if is_error(number) else "INFO"
        text = f"{level} {self.run}-{self.connection}-{number} {self.pool[at : at + size]}"
        return f"{text} #{zlib.crc32(text.encode()):08x}"


class Corrupt(Exception):
    pass


def read(text, run):
    """Connection and number of a text that is as it was written."""
    match = TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] != run:
        raise Corrupt(f"no record of ours: {str(text)[:120]!r}")
    if int(match[6], 16) != zlib.crc32(text[: match.start(6) - 2].encode()):
        raise Corrupt(f"another checksum: {text[:120]!r}")
    number = int(match[4])
    if (match[1] == "ERROR") != is_error(number):
        raise Corrupt(f"another level: {text[:120]!r}")
    return int(match[3]), number
