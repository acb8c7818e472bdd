"""Every mode of the Forward protocol, over both kinds of sockets, into the file sink: every record is counted and read
back as it was sent."""

import struct
import threading

import pytest
from harness import forward as fwd
from harness import objects
from harness.forward import Peer, Time
from harness.router import eventually

START = 1_790_000_000


def entries(count, first=0):
    return [(Time(START + i, i), {"log": f"line {i}", "n": i}) for i in range(first, first + count)]


def expected(count, tag="app", first=0):
    return [
        {"time": str(Time(START + i, i)), "tag": tag, "log": f"line {i}", "n": i} for i in range(first, first + count)
    ]


def frames(mode, count, chunk):
    """The stream of `count` records in frames of ten, each with an ack token if wanted."""
    out, tokens = [], []
    for first in range(0, count, 10):
        token = f"chunk {first}\n"
        option = {"chunk": token} if chunk else None
        batch = entries(10, first)
        if mode == "message":
            for index, (time, record) in enumerate(batch):
                each = f"{token}{index}"
                out.append(fwd.message("app", time, record, {"chunk": each} if chunk else {}))
                tokens.append(each.encode())
            continue
        if mode == "forward":
            frame = fwd.forward("app", batch, option)
        elif mode in ("packed", "packed str"):
            frame = fwd.packed("app", batch, option, as_str=mode.endswith("str"))
        else:
            frame = fwd.compressed("app", batch, mode.split()[0], option, as_str=mode.endswith("str"))
        out.append(frame)
        tokens.append(token.encode())
    return out, tokens


MODES = ["message", "forward", "packed", "packed str", "gzip", "gzip str", "zstd", "zstd str"]


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_every_record_of_every_mode_is_stored_once_in_order(start, config, file_sink, place, compression):
    router = start(config(sinks={"archive": file_sink(compression=compression)}))
    sent = {}
    for scheme in ("unix", "tcp"):
        for mode in MODES:
            for chunk in (False, True):
                tag = f"{scheme}-{mode}-{chunk}".replace(" ", "-")
                stream, tokens = frames(mode, 200, chunk)
                stream = [frame.replace(fwd.pack("app"), fwd.pack(tag), 1) for frame in stream]
                with Peer(router.address(scheme)) as peer:
                    peer.send(*stream)
                    if chunk:
                        assert [peer.ack() for _ in tokens] == tokens
                sent[tag] = expected(200, tag)
    eventually(lambda: router.received() == 200 * len(sent), "all records")
    ledger = router.stop()
    assert ledger.sources["forward"] == {"received": 200 * len(sent), "routed": 200 * len(sent), "dropped": 0, "reasons": {}}
    stored = objects.in_directory(place / "out")
    extension = {"zstd": ".zst", "gzip": ".gz", "none": "json"}[compression]
    assert all(key.endswith(extension) for key in stored), stored.keys()
    for tag, records in sent.items():
        assert objects.all_records({k: v for k, v in stored.items() if k.startswith(tag + "/")}) == records, tag


@pytest.mark.parametrize("size", [1, 2, 7, 61])
def test_a_stream_cut_anywhere_gives_the_same_records(start, config, place, size):
    router = start(config())
    stream = b"".join(frames("message", 20, False)[0] + frames("forward", 20, False)[0] + frames("gzip", 20, False)[0])
    with Peer(router.address("tcp")) as peer:
        for at in range(0, len(stream), size):
            peer.send(stream[at : at + size])
        eventually(lambda: router.received() == 60, "all records")
    router.stop()
    assert objects.all_records(objects.in_directory(place / "out")) == expected(20) * 3


def test_times_come_in_all_their_forms(start, config, place):
    router = start(config())
    tag, record = fwd.pack("app"), fwd.pack({"log": "x"})
    seconds_nanos = struct.pack(">II", START, 5)
    times = {
        "fixext8": b"\xd7\x00" + seconds_nanos,
        "ext8": b"\xc7\x08\x00" + seconds_nanos,
        "integer": fwd.pack(START),
        "int32": b"\xd2" + struct.pack(">i", START),
        "float": fwd.pack(START + 0.5),
    }
    with Peer(router.address("unix")) as peer:
        for time in times.values():
            peer.send(b"\x94" + tag + time + record + b"\x80")
            # A version 2 entry: the time with metadata.
            peer.send(b"\x92" + tag + b"\x91\x92" + b"\x92" + time + b"\x80" + record)
        eventually(lambda: router.received() == 2 * len(times), "all records")
    router.stop()
    stored = [record["time"] for record in objects.all_records(objects.in_directory(place / "out"))]
    nanos = {"fixext8": 5, "ext8": 5, "integer": 0, "int32": 0, "float": 500_000_000}
    assert stored == [str(Time(START, n)) for n in nanos.values() for _ in range(2)]


def test_frames_without_records_are_acked_and_disturb_nothing(start, config, place):
    router = start(config())
    with Peer(router.address("tcp")) as peer:
        peer.send(b"\xc0", fwd.forward("app", [], {"chunk": "a"}), fwd.packed("app", [], {"chunk": "b"}))
        peer.send(b"\xc0", fwd.message("app", Time(START), {"log": "x"}, None))
        # Docker's older drivers end with nil.
        peer.send(b"\x94" + fwd.pack("app") + fwd.pack(START) + fwd.pack({"log": "y"}) + b"\xc0")
        peer.send(fwd.forward("app", entries(1), {"chunk": "c", "size": 1, "fluent_signal": 0}))
        assert [peer.ack() for _ in range(3)] == [b"a", b"b", b"c"]
    router.stop()
    assert [r["log"] for r in objects.all_records(objects.in_directory(place / "out"))] == ["x", "y", "line 0"]


def test_metrics_and_traces_are_refused_and_counted(start, config):
    router = start(config())
    with Peer(router.address("tcp")) as peer:
        peer.send(fwd.forward("app", entries(3), {"fluent_signal": 1}))
        peer.send(fwd.forward("app", entries(2), {"fluent_signal": 0}))
        eventually(lambda: router.sink("archive", "accepted") == 2, "the logs")
    ledger = router.stop()
    assert ledger.sinks["archive"]["delivered"] == 2


def test_ack_delivered_waits_for_the_sink(start, config, file_sink, place):
    made = config(sinks={"archive": file_sink(object={"age": "1h"})})
    made["sources"]["forward"] |= {"ack": "delivered", "ack_wait": "100ms"}
    router = start(made)
    with Peer(router.address("tcp")) as peer:
        peer.send(fwd.forward("app", entries(10), {"chunk": "one"}))
        assert peer.ack() == b"one"
        # Acked, so it stands on the disk now, although the object would be open for an hour.
        assert objects.all_records(objects.in_directory(place / "out")) == expected(10)
    router.stop()


def test_a_thousand_connections_lose_nothing(start, config):
    router = start(config())
    peers = [Peer(router.address(scheme)) for _ in range(250) for scheme in ("unix", "tcp")]
    for index, peer in enumerate(peers):
        peer.send(fwd.message(f"app-{index % 7}", Time(START), {"log": "a"}))
    for peer in peers:
        peer.send(fwd.message("app", Time(START), {"log": "b"}))
        peer.close()
    # Health checks of load balancers: connect and close.
    for _ in range(500):
        Peer(router.address("tcp")).close()
    eventually(lambda: router.received() == 1000, "all records")
    assert router.stop().sinks["archive"]["delivered"] == 1000


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_many_connections_at_once_each_keep_their_order_whatever_threads_there_are(start, config, file_sink, place, spool):
    # With this much memory each of the four threads has a worker of its own.
    more = {"memory": "512MiB"} | ({"spool": {"path": str(place / "spool"), "size": "256MiB"}} if spool == "disk" else {})
    made = config(sinks={"archive": file_sink(prefix="all/")}, **more)
    router = start(made, env={"TOKIO_WORKER_THREADS": "4"})
    eventually(lambda: "source forward has 4 workers" in router.stderr, "its workers")
    peers, rounds, size = 12, 40, 50
    missing = []

    def send(n):
        tag = f"peer-{n}"
        with Peer(router.address("unix" if n % 2 else "tcp")) as peer:
            for first in range(0, rounds * size, size):
                peer.send(fwd.packed(tag, entries(size, first), {"chunk": f"{n} {first}"}))
                if peer.ack() != f"{n} {first}".encode():
                    missing.append((n, first))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(peers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    total = peers * rounds * size
    assert router.stop().sources["forward"] == {"received": total, "routed": total, "dropped": 0, "reasons": {}}
    stored = objects.all_records(objects.in_directory(place / "out"))
    for n in range(peers):
        mine = [record for record in stored if record["tag"] == f"peer-{n}"]
        assert mine == expected(rounds * size, f"peer-{n}"), n


def test_a_udp_heartbeat_is_answered(start, config):
    import socket

    router = start(config())
    host, port = router.address("tcp").removeprefix("tcp://").rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heart:
        heart.settimeout(10)
        heart.sendto(b"\0", (host, int(port)))
        assert heart.recv(16) == b"\0"
    router.stop()


def test_a_stale_socket_is_replaced_and_another_file_is_not(start, config, place):
    import socket
    import subprocess

    from harness.router import binary, environment

    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{place}/fluent.sock")
    router = start(config())
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": "a"}))
        assert peer.ack() == b"a"
    router.stop()
    (place / "fluent.sock").unlink(missing_ok=True)
    (place / "fluent.sock").write_text("mine")
    ended = subprocess.run(
        [binary(), "run", "-c", str(router.config_path)], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert ended.returncode == 1, ended.stderr
    assert "fluent.sock" in ended.stderr
    assert (place / "fluent.sock").read_text() == "mine"
