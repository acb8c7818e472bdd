"""`logweir spool` on what a killed router has left."""

import json

from harness import forward as fwd
from harness.forward import Peer, Time
from harness.router import logweir

START = 1_790_000_000


def test_what_a_killed_router_had_acked_can_be_listed_verified_and_exported(start, config, file_sink, place):
    spool = place / "spool"
    made = config(sinks={"archive": file_sink(object={"age": "1h"})}, spool={"path": str(spool), "size": "64MiB"})
    router = start(made)
    with Peer(router.address("unix")) as peer:
        for n in range(300):
            peer.send(fwd.forward("app", [(Time(START, n), {"log": f"line {n}", "n": n})], {"chunk": f"c{n}"}))
            assert peer.ack() == f"c{n}".encode()
        running = logweir("spool", "ls", str(spool), "--json")
        assert (running.returncode, json.loads(running.stdout)[0]["records"]) == (0, 300)
        assert "in use" in running.stderr
        refused = logweir("spool", "repair", str(spool), "--write")
        assert (refused.returncode, refused.stdout) == (1, "")
        router.kill()

    verified = logweir("spool", "verify", str(spool))
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    exported = logweir("spool", "export", str(spool), "--sink", "archive")
    assert exported.returncode == 0, exported.stderr
    assert [json.loads(line)["n"] for line in exported.stdout.splitlines()] == list(range(300))
