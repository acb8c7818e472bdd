"""Who sends much does not keep the others from progress, neither on the same source nor on another one."""

import contextlib
import threading

from harness import forward as fwd
from harness.forward import Peer, Time
from harness.router import eventually

START = 1_790_000_000
ROUNDS = 20


class Flood(threading.Thread):
    """Sends as fast as the router reads, frames of half a megabyte."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.peer, self.bytes = Peer(address), 0
        entries = [(Time(START), {"log": f"{n} " + "x" * 500}) for n in range(1000)]
        self.frame = fwd.packed("flood", entries)

    def run(self):
        # The test's end closes the socket under it.
        with contextlib.suppress(OSError):
            while True:
                self.peer.send(self.frame)
                self.bytes += len(self.frame)


def acked_rounds(address, name):
    """Sends a record and waits for its ack, time and again."""
    with Peer(address) as peer:
        for n in range(ROUNDS):
            peer.send(fwd.message(name, Time(START), {"log": f"{name} {n}"}, {"chunk": f"{name}-{n}"}))
            assert peer.ack() == f"{name}-{n}".encode()


def test_slow_senders_go_on_beside_one_that_floods_a_source_that_blocks(start, config, file_sink):
    # The queue is full all the time: the file sink compresses slower than loopback brings.
    router = start(config(sinks={"archive": file_sink(compression={"zstd": 9})}, memory="32MiB"))
    flood = Flood(router.address("unix"))
    flood.start()
    eventually(lambda: flood.bytes > 30 << 20, "the flood to have filled what can be filled")
    before, done = flood.bytes, []

    def slow(n):
        acked_rounds(router.address("unix" if n % 2 else "tcp"), f"slow{n}")
        done.append(n)

    peers = [threading.Thread(target=slow, args=(n,), daemon=True) for n in range(20)]
    for peer in peers:
        peer.start()
    eventually(lambda: len(done) == 20, "all slow senders to have their acks")
    assert flood.bytes > before, "the flood goes on as well"
    flood.peer.close()


def test_a_source_whose_sink_takes_nothing_does_not_stop_another(start, config, file_sink, place):
    # A file is where its directory should be.
    (place / "taken").write_text("")
    dead = file_sink(path=str(place / "taken" / "out"), when_full="block")
    router = start(config(
        sources={
            "flooded": {"type": "forward", "listen": [f"unix://{place}/flooded.sock"]},
            "quiet": {"type": "forward", "listen": [f"unix://{place}/quiet.sock"]},
        },
        sinks={"dead": dead, "archive": file_sink()},
        routes=[{"name": "flood", "when": 'tag == "flood"', "to": ["dead"]}, {"name": "rest", "to": ["archive"]}],
        memory="32MiB",
    ))
    floods = [Flood(router.address("unix", "flooded")) for _ in range(4)]
    for flood in floods:
        flood.start()

    def full():
        queue = router.ledger()["sinks"]["dead"]["queue"]
        return queue["bytes"] >= queue["limit_bytes"]

    eventually(full, "the queue to be full")
    acked_rounds(router.address("unix", "quiet"), "quiet")
    for flood in floods:
        flood.peer.close()
