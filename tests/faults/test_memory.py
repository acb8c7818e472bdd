"""Memory, files and connections stay within their bounds whatever comes, and go back to where they were."""

import itertools
import os
import time
from pathlib import Path

import pytest
from harness import forward as fwd
from harness.forward import Peer, Time
from harness.router import eventually

from .flood import KINDS, Flood
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


def flooded(rig, form, seconds, flood):
    """Floods for so long; the peaks of memory, which must stay below the limit."""
    begun, peaks = time.monotonic(), {"VmHWM": 0, "RssAnon": 0}
    while (passed := time.monotonic() - begun) < seconds:
        time.sleep(0.1)
        peaks = {name: max(peak, proc(rig, name)) for name, peak in peaks.items()}
        peak = peaks[form.memory] + form.program
        assert peak < LIMIT, f"{form.memory} makes {peak / 2**20:.1f} MiB after {passed:.0f} s"
    assert rig.router.get("/live")[0] == 200
    assert flood.bytes > 1 << 20, "nothing was read"
    return peaks


def limited(name, seed, spool):
    drop = {"when_full": "drop_oldest"}
    more = {"memory": "64MiB", "archive": drop, "alerts": drop, "oracle": {"connections": 1, "rate": 1e3}}
    rig = Rig(f"memory, {name}, {spool}", seed, spool="memory", **more)
    if spool == "disk":
        rig.config["spool"] = {"path": str(rig.place / "spool"), "size": "256MiB"}
    return rig


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_memory_stays_below_the_limit_while_both_sinks_are_dead(table, form, seed, spool):
    with limited("dead", seed, spool) as rig:
        rig.fake.break_with(("*", "unavailable"))
        rig.start()
        flood = Flood(rig.addresses, 2, FLOOD, seed)
        begun = time.monotonic()
        peaks = flooded(rig, form, form.memory_seconds, flood)
        sent, seconds = flood.end(), time.monotonic() - begun
        rig.kill()
        table.figure(f"both sinks dead, spool {spool}: {sent / 1e6 / seconds:.0f} MB/s for {seconds:.0f} s "
                     f"({int(sent) >> 20:,} MiB) with `memory: 64MiB`: resident memory at most {peaks['VmHWM'] / 2**20:.1f} MiB, "
                     f"{peaks['RssAnon'] / 2**20:.1f} MiB of it beside the program's own file")


SINKS = {"dead": ("*", "unavailable"), "slow": ("*", "slow", {"delay": 1})}
ALL = list(itertools.product(KINDS, [1, 200], SINKS, ["memory", "disk"]))
# Those that hold the most.
SHORT = [("large frames", 200, "dead", "memory"), ("inflating frames", 200, "slow", "memory"), ("messages", 200, "dead", "disk")]


@pytest.mark.parametrize("kind, connections, sinks, spool", ALL if os.environ.get("LOGWEIR_FAULTS") == "long" else SHORT)
def test_memory_stays_below_the_limit_whatever_is_sent(table, form, seed, kind, connections, sinks, spool):
    with limited(f"{kind} {connections} {sinks}", seed, spool) as rig:
        rig.fake.break_with(SINKS[sinks])
        rig.start()
        flood = Flood(rig.addresses, connections, 2 * FLOOD, seed, kind)
        peaks = flooded(rig, form, form.matrix_seconds, flood)
        rig.kill()
        flood.end()
        table.figure(f"{kind} on {connections} connections, sinks {sinks}, spool {spool}, `memory: 64MiB`: resident memory "
                     f"at most {peaks['VmHWM'] / 2**20:.1f} MiB")


def state(rig):
    # Without the program's file: how much of it has been used by then depends on what was sent to AWS so far.
    metrics = rig.router.get("/metrics")[1]
    still_open = next(int(float(x.split()[-1])) for x in metrics.splitlines() if "open_connections{" in x)
    files = len(list(Path(f"/proc/{rig.router.process.pid}/fd").iterdir()))
    return {"connections": still_open, "files": files, "threads": proc(rig, "Threads"), "resident": proc(rig, "RssAnon")}


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
                     f"{after['files']}, threads {before['threads']} and {after['threads']}, resident memory beside the program's file "
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
