"""Objects of many frames, read by the programs that people read logs with."""

import io
import json
import subprocess
import time

import duckdb
import pyarrow
import pyarrow.json
import pytest
import zstandard
from harness import forward as fwd
from harness import objects
from harness.forward import Peer, Time
from harness.router import eventually

COUNT = 6000


@pytest.fixture(params=["zstd", "gzip"])
def stored(request, start, config, file_sink, place):
    """Objects of several frames: more than one block, and a seal after a quiet second."""
    router = start(config(sinks={"archive": file_sink(compression=request.param, prefix="")}))
    now = int(time.time())
    with Peer(router.address("unix")) as peer:
        for first in range(0, COUNT, COUNT // 2):
            peer.send(*(
                fwd.message("app", Time(now, n), {"log": f"line {n} " + f"{n * 2654435761 % 2**64:x}" * 8, "n": n})
                for n in range(first, first + COUNT // 2)
            ))
            eventually(lambda: router.received() == first + COUNT // 2, "all records")
            # A block is sealed a second after its first record; nothing else shows from outside.
            time.sleep(1.2)
    router.stop()
    return sorted(p for p in (place / "out").rglob("*") if p.is_file())


def frames(body):
    """How many zstd frames follow one another."""
    count = 0
    while body:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        decompressor.decompress(body)
        assert decompressor.eof, "a torn frame"
        body = decompressor.unused_data
        count += 1
    return count


def by_pyarrow(path, codec):
    stream = pyarrow.input_stream(io.BytesIO(path.read_bytes()), compression=codec)
    return pyarrow.json.read_json(pyarrow.BufferReader(stream.read())).column("n").to_pylist()


def by_duckdb(path):
    rows = duckdb.sql(f"select n from read_json('{path}', format='newline_delimited') order by n").fetchall()
    return [n for (n,) in rows]


def by_tool(tool, path):
    text = subprocess.run([tool, "-dc", path], capture_output=True, check=True).stdout
    return [json.loads(line)["n"] for line in text.splitlines()]


def test_the_usual_readers_see_every_record(stored):
    tool = "zstd" if stored[0].suffix == ".zst" else "gzip"
    if tool == "zstd":
        assert max(frames(path.read_bytes()) for path in stored) > 1, "one frame proves nothing here"
    wanted = list(range(COUNT))
    assert [n for path in stored for n in by_tool(tool, path)] == wanted
    assert [r["n"] for path in stored for r in objects.records(path.name, path.read_bytes())] == wanted
    assert [n for path in stored for n in by_duckdb(path)] == wanted
    assert [n for path in stored for n in by_pyarrow(path, tool)] == wanted


def test_single_frame_objects_are_whole_for_readers_that_stop_after_one(start, config, file_sink, place):
    router = start(config(sinks={"archive": file_sink(single_frame=True, prefix="")}))
    with Peer(router.address("unix")) as peer:
        peer.send(*(fwd.message("app", Time(int(time.time()), n), {"n": n, "log": "x" * 200}) for n in range(5000)))
        eventually(lambda: router.received() == 5000, "all records")
    router.stop()
    numbers = []
    for path in sorted(p for p in (place / "out").rglob("*") if p.is_file()):
        body = path.read_bytes()
        assert frames(body) == 1
        text = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=False).read()
        numbers += [json.loads(line)["n"] for line in text.splitlines()]
    assert numbers == list(range(5000))
