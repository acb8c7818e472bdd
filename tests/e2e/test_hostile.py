"""Hostile bytes on one connection, a good client on another: the good one loses nothing."""

import gzip
import os
import random
import struct

import pytest
import zstandard
from harness import forward as fwd
from harness import objects
from harness.certs import trusting
from harness.forward import Peer, Time
from harness.router import eventually

START = 1_790_000_000
GOOD = fwd.message("app", Time(START), {"log": "x"})


def nested(depth):
    return b"\x93" + fwd.pack("app") + fwd.pack(START) + b"\x81\xa1a" + b"\x91" * depth + b"\xc0"


def bomb(kind, size=1 << 28):
    raw = bytes(1 << 20)
    if kind == "gzip":
        import zlib

        deflate = zlib.compressobj(9, wbits=31)
        body = b"".join(deflate.compress(raw) for _ in range(size >> 20)) + deflate.flush()
    else:
        body = zstandard.ZstdCompressor().compress(raw * (size >> 20))
    return b"\x93" + fwd.pack("app") + fwd.pack(body) + fwd.pack({"compressed": kind})


random.seed(5)
ATTACKS = {
    "random bytes": random.randbytes(100_000),
    "text": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100,
    "an array of 4 billion": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a record of 4 billion": b"\x93" + fwd.pack("app") + fwd.pack(START) + b"\xdf\xff\xff\xff\xff" + b"\xc0" * 1000,
    "a string of 4 GB": b"\x93\xdb\xff\xff\xff\xff" + b"a" * 1000,
    "10,000 deep": nested(10_000),
    "a gzip bomb": bomb("gzip"),
    "a zstd bomb": bomb("zstd"),
    "a broken gzip": fwd.compressed("app", [(Time(START), {"log": "x"})], "gzip").replace(b"\x1f\x8b\x08", b"\x1f\x8b\x09"),
    "a reserved marker": b"\x93" + fwd.pack("app") + b"\xc1" + b"\xc0",
    "a frame above the bound": b"\x93" + fwd.pack("app") + fwd.pack(START) + fwd.pack({"log": "x" * (9 << 20)}),
    "wrong tag": b"\x93" + fwd.pack(17) + fwd.pack(START) + fwd.pack({"log": "x"}),
    "no map": b"\x93" + fwd.pack("app") + fwd.pack(START) + fwd.pack([1, 2]),
    "an empty array": b"\x90" * 10,
    "half a frame": GOOD[: len(GOOD) // 2],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_bad_peer_harms_nobody_else(start, config, place, attack):
    made = config(memory="64MiB")
    # An eighth of the default: the build under test is not optimized.
    made["sources"]["forward"]["limits"] = {"inflated": "8MiB"}
    router = start(made)
    good = Peer(router.address("tcp"))
    good.send(GOOD)
    for scheme in ("tcp", "unix"):
        with Peer(router.address(scheme)) as bad:
            try:
                bad.send(ATTACKS[attack])
            except OSError:
                pass  # cut off in the middle: its due
    for n in range(100):
        good.send(fwd.message("app", Time(START), {"log": "x", "n": n}, {"chunk": str(n)}))
    assert [good.ack() for _ in range(100)] == [str(n).encode() for n in range(100)]
    good.close()
    assert router.get("/live")[0] == 200
    resident = router.status()["process"]["resident_bytes"]
    assert resident < 200 << 20, f"{resident >> 20} MiB after {attack}"
    router.stop()
    stored = objects.all_records(objects.in_directory(place / "out"))
    assert [r["n"] for r in stored if "n" in r] == list(range(100))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_bad_peer_with_tls_and_handshake_harms_nobody_else(start, secured, authority, place, attack):
    made = secured(auth={"shared_key": "the key"}, limits={"inflated": "8MiB"}) | {"memory": "64MiB"}
    router = start(made)
    tls, context = router.address("tls"), trusting(authority)
    good = Peer(tls, tls=context)
    assert good.shake("the key") == (True, "")
    good.send(GOOD)
    # In the place of the TLS handshake, in that of the PING with TLS and without, and as one that was let in.
    bad = [Peer(tls.replace("tls:", "tcp:")), Peer(tls, tls=context), Peer(router.address("tcp")), Peer(tls, tls=context)]
    assert bad[3].shake("the key") == (True, "")
    for peer in bad:
        try:
            peer.send(ATTACKS[attack])
        except OSError:
            pass  # cut off in the middle: its due
    for n in range(100):
        good.send(fwd.message("app", Time(START), {"log": "x", "n": n}, {"chunk": str(n)}))
    assert [good.ack() for _ in range(100)] == [str(n).encode() for n in range(100)]
    for peer in [good, *bad]:
        peer.close()
    resident = router.status()["process"]["resident_bytes"]
    assert resident < 200 << 20, f"{resident >> 20} MiB after {attack}"
    router.stop()
    stored = objects.all_records(objects.in_directory(place / "out"))
    assert [r["n"] for r in stored if "n" in r] == list(range(100))


def test_a_frame_cut_at_every_byte_leaves_the_next_connection_alone(start, config):
    router = start(config())
    frame = fwd.compressed("app", [(Time(START), {"log": "x" * 20})], "gzip", {"chunk": "c"})
    for end in range(1, len(frame)):
        with Peer(router.address("unix")) as peer:
            peer.send(frame[:end])
    with Peer(router.address("unix")) as peer:
        peer.send(frame)
        assert peer.ack() == b"c"
    assert router.stop().sources["forward"]["received"] == 1


def test_a_peer_that_is_slow_within_a_frame_is_cut_off_and_a_quiet_one_is_not(start, config):
    made = config()
    made["sources"]["forward"]["limits"] = {"frame_time": "500ms"}
    router = start(made)
    quiet, slow = Peer(router.address("tcp")), Peer(router.address("tcp"))
    quiet.send(GOOD)
    slow.send(GOOD[:10])
    assert slow.closed_by_router()
    quiet.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": "still here"}))
    assert quiet.ack() == b"still here"
    quiet.close()
    router.stop()


def test_a_peer_that_never_reads_its_acks_stops_nobody(start, config):
    router = start(config())
    deaf = Peer(router.address("tcp"), timeout=3)
    token = "t" * 1000
    try:
        for _ in range(20_000):
            deaf.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": token}))
    except OSError:
        pass  # it may be held back or cut off
    with Peer(router.address("tcp")) as good:
        good.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": "a"}))
        assert good.ack() == b"a"
    assert router.status()["process"]["resident_bytes"] < 200 << 20
    deaf.close()
    router.stop()


@pytest.mark.parametrize("tag", ["../../x", "a\0b", "t" * 4096, "", "\n", "/", "..", "a-firelens-", "-firelens-b"])
def test_a_hostile_tag_is_data(start, config, file_sink, place, tag):
    router = start(config(sinks={"archive": file_sink(prefix="{tag}/{container}/{task_id}/")}))
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message(tag, Time(START), {"log": "x"}), fwd.message("good", Time(START), {"log": "y"}))
        eventually(lambda: router.received() == 2, "both records")
    router.stop()
    stored = objects.in_directory(place / "out")
    assert sorted(r["log"] for r in objects.all_records(stored)) == ["x", "y"]
    assert all(len(part) < 256 and part not in ("..", ".", "") for key in stored for part in key.split("/"))
    assert sorted(os.listdir(place)) in (["fluent.sock", "out", "router.yaml"], ["out", "router.yaml"])


def test_a_tag_above_the_bound_ends_its_connection_alone(start, config):
    router = start(config())
    with Peer(router.address("unix")) as good, Peer(router.address("unix")) as bad:
        bad.send(fwd.message("t" * 65_536, Time(START), {"log": "x"}))
        assert bad.closed_by_router()
        good.send(fwd.message("good", Time(START), {"log": "y"}, {"chunk": "a"}))
        assert good.ack() == b"a"
    assert router.stop().sources["forward"]["received"] == 1


def test_times_at_the_ends_of_the_calendar_are_kept(start, config, place):
    router = start(config())
    # 0 says that the sender knows no time: the time of receipt stands for it.
    times = [1, 2**31 - 1, 2**31, 4_102_444_800]
    with Peer(router.address("unix")) as peer:
        for time in times:
            peer.send(b"\x94" + fwd.pack("app") + b"\xd7\x00" + struct.pack(">II", time, 0) + fwd.pack({"n": time}) + b"\x80")
        eventually(lambda: router.received() == len(times), "all records")
    router.stop()
    for record in objects.all_records(objects.in_directory(place / "out")):
        assert record["time"] == str(Time(record["n"]))


def test_connections_above_the_bound_wait_or_are_refused_but_the_open_ones_work(start, config):
    made = config()
    made["sources"]["forward"]["limits"] = {"connections": 8}
    router = start(made)
    peers = [Peer(router.address("unix")) for _ in range(8)]
    for n, peer in enumerate(peers):
        peer.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": str(n)}))
        assert peer.ack() == str(n).encode()
    extra = [Peer(router.address("unix")) for _ in range(8)]
    for n, peer in enumerate(peers):
        peer.send(fwd.message("app", Time(START), {"log": "x"}, {"chunk": str(n)}))
        assert peer.ack() == str(n).encode()
    for peer in peers + extra:
        peer.close()
    router.stop()


def test_gzip_of_several_members_is_read_whole_or_refused_but_never_in_part(start, config):
    entries = [fwd.pack([Time(START), {"n": n}]) for n in range(2)]
    body = b"".join(map(gzip.compress, entries))
    router = start(config())
    with Peer(router.address("tcp")) as peer:
        peer.send(b"\x93" + fwd.pack("app") + fwd.pack(body) + fwd.pack({"compressed": "gzip"}))
        peer.socket.shutdown(1)
        peer.closed_by_router()
    assert router.stop().sources["forward"]["received"] in (0, 2)
