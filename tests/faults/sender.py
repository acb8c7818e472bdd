"""One connection that sends for as long as it is let, and keeps the books of it.

With acks it does what Fluent Bit does: a chunk that was not acked is sent again over the next connection, under the same
id, until it is. Without it does what Docker does: what the kernel took counts as sent.
"""

import select
import socket
import threading
import time
from array import array

import msgpack
from harness import forward as fwd
from harness.forward import Peer, Time

from .records import Writer, tag

# A router that holds a chunk for longer is asked again.
ACK_PATIENCE = 60


class Books:
    """Of each chunk, by its number: its records, how often it was sent whole, whether it was acked, when it was begun."""

    def __init__(self):
        self.first, self.count = array("Q"), array("H")
        self.sent, self.acked, self.begun = array("H"), array("B"), array("d")

    def __len__(self):
        return len(self.first)

    def open(self, first, count):
        for column, value in (
            (self.first, first), (self.count, count), (self.sent, 0), (self.acked, 0), (self.begun, time.monotonic()),
        ):
            column.append(value)
        return len(self.first) - 1


class Sender(threading.Thread):
    def __init__(self, run, connection, address, mode, seed, sizes, rate):
        super().__init__(daemon=True)
        self.connection, self.address, self.mode, self.rate = connection, address, mode, rate
        self.with_acks = mode != "docker"
        # A chunk in the modes that have several records; several chunks may wait for their acks.
        self.chunk, self.window = (1, 64) if mode in ("docker", "message") else (32, 16)
        self.writer = Writer(run, connection, seed, sizes)
        self.tag, self.books, self.waiting = tag(connection), Books(), {}
        self.records = self.bytes = self.connects = self.cuts = 0
        self.paused, self.stopping, self.resting = threading.Event(), False, threading.Event()
        self.next_at = 0.0

    def run(self):
        while not self.stopping:
            if self.paused.is_set() and not self.waiting:
                self.resting.set()
                time.sleep(0.005)
                continue
            self.resting.clear()
            try:
                with Peer(self.address, timeout=ACK_PATIENCE) as peer:
                    self.connects += 1
                    self.converse(peer)
            except (OSError, ConnectionError):
                self.cuts += 1
                time.sleep(0.01)

    def converse(self, peer):
        """Until there is a pause or the connection breaks."""
        unpacker = msgpack.Unpacker(raw=False)
        heard = time.monotonic()
        for number, frame in list(self.waiting.items()):
            self.put(peer, number, frame)
        while not self.stopping:
            now = time.monotonic()
            may_send = not self.paused.is_set() and len(self.waiting) < self.window
            if self.paused.is_set() and not self.waiting:
                return
            if not self.waiting:
                heard = now
            elif now - heard > ACK_PATIENCE:
                raise ConnectionError("no ack")
            due = may_send and now >= self.next_at
            pause = 0 if due else min(0.02, max(0.0, self.next_at - now)) if may_send else 0.02
            # Also sees at once that the router is gone, so that nothing more is written into a dead connection.
            if select.select([peer.socket], [], [], pause)[0]:
                data = peer.socket.recv(1 << 16)
                if not data:
                    raise ConnectionError("closed by the router")
                heard = now
                unpacker.feed(data)
                for answer in unpacker:
                    number = int(answer["ack"])
                    if self.waiting.pop(number, None) is not None:
                        self.books.acked[number] = 1
            elif due:
                number, frame = self.make()
                self.next_at = max(now - 0.1, self.next_at) + len(frame) / self.rate
                self.put(peer, number, frame)

    def put(self, peer, number, frame):
        peer.socket.sendall(frame)
        self.books.sent[number] += 1
        self.bytes += len(frame)

    def make(self):
        first = self.records
        self.records += self.chunk
        number = self.books.open(first, self.chunk)
        stamp = time.time_ns()
        at = Time(stamp // 10**9, stamp % 10**9)
        entries = [
            (at, {"log": self.writer.text(first + n), "source": "stdout"}) for n in range(self.chunk)
        ]
        option = {"chunk": str(number), "size": self.chunk} if self.with_acks else {}
        if self.mode in ("docker", "message"):
            frame = fwd.message(self.tag, *entries[0], option)
        elif self.mode in ("gzip", "zstd"):
            frame = fwd.compressed(self.tag, entries, self.mode, option)
        else:
            frame = {"forward": fwd.forward, "packed": fwd.packed}[self.mode](self.tag, entries, option)
        if self.with_acks:
            self.waiting[number] = frame
        return number, frame
