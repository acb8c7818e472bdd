"""Memory, files and connections stay within their bounds whatever comes, and go back to where they were."""

import threading
import time
from pathlib import Path

import pytest
from harness import forward as fwd
from harness.forward import Peer, Time
from harness.router import PATIENCE, eventually

from .records import Writer, tag
from .rig import Rig

LIMIT = 64 << 20
FLOOD = 30e6


def proc(rig, name):
    """A line of /proc/PID/status, in bytes where it is a size."""
    for line in Path(f"/proc/{rig.router.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            number, *unit = line.split()[1:]
            return int(number) << (10 if unit else 0)
    raise AssertionError(name)


class Flood(threading.Thread):
    """Sends so many bytes a second, as far as the router reads them, until it is told to end."""

    def __init__(self, address, connection, rate, seed):
        super().__init__(daemon=True)
        writer, now = Writer("flood", connection, seed, (200, 800)), int(time.time())
        self.frames = [
            fwd.packed(tag(connection), [(Time(now), {"log": writer.text(n)}) for n in range(at, at + 100)])
            for at in range(0, 10_000, 100)
        ]
        self.address, self.rate, self.bytes, self.ending = address, rate, 0, False

    def run(self):
        begun = time.monotonic()
        with Peer(self.address) as peer:
            while not self.ending:
                for frame in self.frames:
                    peer.send(frame)
                    self.bytes += len(frame)
                time.sleep(max(0, self.bytes / self.rate - (time.monotonic() - begun)))

    def end(self):
        """What was sent."""
        self.ending = True
        self.join(PATIENCE)
        assert not self.is_alive(), "the router reads no more"
        return self.bytes


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_memory_stays_below_the_limit_while_both_sinks_are_dead(table, form, seed, spool):
    drop = {"when_full": "drop_oldest"}
    more = {"memory": "64MiB", "archive": drop, "alerts": drop, "oracle": {"connections": 1, "rate": 1e3}}
    with Rig(f"memory, {spool}", seed, spool="memory", **more) as rig:
        if spool == "disk":
            rig.config["spool"] = {"path": str(rig.place / "spool"), "size": "256MiB"}
        rig.fake.break_with(("*", "unavailable"))
        rig.start()
        floods = [Flood(rig.addresses[n % 2], n, FLOOD / 2, seed) for n in range(2)]
        begun, peaks = time.monotonic(), {"VmRSS": 0, "RssAnon": 0}
        for flood in floods:
            flood.start()
        while (seconds := time.monotonic() - begun) < form.memory_seconds:
            time.sleep(0.2)
            peaks = {name: max(peak, proc(rig, name)) for name, peak in peaks.items()}
            assert peaks[form.memory] < LIMIT, f"{form.memory} is {peaks[form.memory] / 2**20:.1f} MiB after {seconds:.0f} s"
        assert rig.router.get("/live")[0] == 200
        sent = sum(flood.end() for flood in floods)
        rig.kill()
        table.figure(f"both sinks dead, spool {spool}: {sent / 1e6 / seconds:.0f} MB/s for {seconds:.0f} s "
                     f"({sent >> 20:,} MiB) with `memory: 64MiB`: resident memory at most {peaks['VmRSS'] / 2**20:.1f} MiB, "
                     f"{peaks['RssAnon'] / 2**20:.1f} MiB of it beside the program's own file")


def state(rig):
    metrics = rig.router.get("/metrics")[1]
    still_open = next(int(float(x.split()[-1])) for x in metrics.splitlines() if "open_connections{" in x)
    files = len(list(Path(f"/proc/{rig.router.process.pid}/fd").iterdir()))
    return {"connections": still_open, "files": files, "threads": proc(rig, "Threads"), "resident": proc(rig, "VmRSS")}


def test_nothing_is_left_of_connections_that_came_and_went(table, form, seed):
    with Rig("connections", seed, {"connections": 1, "rate": 1e3}) as rig:
        rig.start()
        visit(rig, form.connections // 4)
        eventually(lambda: state(rig)["connections"] <= 1, "the connections to be over")
        before = state(rig)
        visit(rig, form.connections)
        # Connections to AWS and of the admin server vary by one or two.
        eventually(lambda: state(rig)["connections"] <= 1 and state(rig)["files"] <= before["files"] + 2, "all to be as before")
        after = state(rig)
        assert after["threads"] <= before["threads"] + 2, (before, after)
        assert after["resident"] < before["resident"] + (8 << 20), (before, after)
        rig.rest()
        rig.stop()
        table.figure(f"{form.connections:,} connections, a third of them cut within a frame: files {before['files']} and "
                     f"{after['files']}, threads {before['threads']} and {after['threads']}, resident memory "
                     f"{before['resident'] / 2**20:.1f} and {after['resident'] / 2**20:.1f} MiB before and after")


def visit(rig, times):
    # Under another run's name: the oracle does not count them.
    frame = fwd.message("visitor", Time(int(time.time())), {"log": "x" * 500}, {"chunk": "c"})
    for n in range(times):
        with Peer(rig.addresses[n % 2]) as peer:
            if n % 3 == 2:
                peer.send(frame[: len(frame) // 2])
            else:
                peer.send(frame)
                assert peer.ack() == b"c"
