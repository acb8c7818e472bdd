"""Connections that send as much as the router reads, up to a rate: frames of every size, for tests of bounds."""

import contextlib
import itertools
import threading
import time

from harness import forward as fwd
from harness.forward import Peer, Time
from harness.router import PATIENCE

from .records import Writer, tag

KINDS = ("messages", "chunks", "large frames", "inflating frames")
# Connections that send the same bytes as one of these; each has a tag, and so a partition.
VOICES = 20


def frames(kind, connection, seed):
    """What a connection sends again and again, and how many bytes of records that is."""
    writer, now = Writer("flood", connection, seed, (200, 800)), int(time.time())
    entries = [(Time(now), {"log": writer.text(n)}) for n in range(2_000)]
    if kind == "messages":
        stream = b"".join(fwd.message(tag(connection), *entry) for entry in entries)
        return [stream], len(stream)
    if kind == "chunks":
        stream = [fwd.packed(tag(connection), entries[at : at + 100]) for at in range(0, len(entries), 100)]
        return stream, sum(map(len, stream))
    if kind == "large frames":
        # Just below `limits.frame`.
        frame = fwd.packed(tag(connection), entries * 6)
        assert 6 << 20 < len(frame) < 8 << 20, len(frame)
        return [frame], len(frame)
    # Few records over and over: 60 MB in a frame of 2 to 3 MB.
    few = entries[:8] * 13_000
    return [fwd.compressed(tag(connection), few, "gzip")], sum(len(fwd.pack(list(entry))) for entry in entries[:8]) * 13_000


class Flood:
    def __init__(self, addresses, connections, rate, seed, kind="chunks"):
        voices = [frames(kind, n, seed) for n in range(min(connections, VOICES))]
        self.bytes, self.ending = 0, threading.Event()
        self.threads = [
            threading.Thread(
                target=self._send, daemon=True,
                args=(addresses[n % len(addresses)], *voices[n % len(voices)], rate / connections),
            )
            for n in range(connections)
        ]
        for thread in self.threads:
            thread.start()

    def _send(self, address, stream, size, rate):
        begun, sent = time.monotonic(), 0
        # What a router that is killed does not read.
        with contextlib.suppress(OSError), Peer(address) as peer:
            for frame in itertools.cycle(stream):
                if self.ending.is_set():
                    return
                peer.send(frame)
                sent += size / len(stream)
                self.bytes += size / len(stream)
                self.ending.wait(max(0, sent / rate - (time.monotonic() - begun)))

    def end(self):
        """No more frames; what was sent."""
        self.ending.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the router reads no more"
        return self.bytes
