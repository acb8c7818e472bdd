"""The end of a run: nothing that was sent is lost, and the ledger says so."""

import signal
import socket

import pytest
from harness import forward as fwd
from harness import objects
from harness.aws import s3_sink
from harness.forward import Peer, Time
from harness.router import Ledger, eventually, logweir

START = 1_790_000_000


@pytest.mark.parametrize("run", range(20))
def test_what_is_sent_before_sigterm_is_delivered(start, config, place, run):
    """Docker writes to a socket and stops the router at once: what is in the kernel's buffers counts too."""
    router = start(config())
    scheme = "unix" if run % 2 else "tcp"
    peer = Peer(router.address(scheme))
    peer.send(*(fwd.message("app", Time(START, n), {"log": f"line {n}", "n": n}) for n in range(3000)))
    if run % 3 == 0:
        peer.close()
    ledger = router.stop()
    assert ledger.sources["forward"]["received"] == 3000
    assert ledger.sinks["archive"] == {"accepted": 3000, "delivered": 3000, "waiting": 0, "dropped": 0, "reasons": {}}
    assert [r["n"] for r in objects.all_records(objects.in_directory(place / "out"))] == list(range(3000))
    peer.close()


def test_a_sender_that_goes_on_during_the_drain_is_read_on(start, config):
    router = start(config(drain={"timeout": "10s", "quiet": "1s"}))
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message("app", Time(START), {"log": "before"}, {"chunk": "a"}))
        assert peer.ack() == b"a"
        router.signal()
        eventually(lambda: any("draining" in line for line in router.lines), "the drain to begin")
        peer.send(fwd.message("app", Time(START), {"log": "after"}, {"chunk": "b"}))
        assert peer.ack() == b"b"
    assert router.wait() == 0
    assert Ledger(router.lines).sinks["archive"]["delivered"] == 2


def test_acks_that_wait_for_delivery_are_settled_by_the_drain(start, config, file_sink):
    made = config(sinks={"archive": file_sink(object={"age": "1h"})})
    made["sources"]["forward"] |= {"ack": "delivered", "ack_wait": "1h"}
    router = start(made)
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.forward("app", [(Time(START), {"log": "x"})], {"chunk": "token"}))
        eventually(lambda: router.received() == 1, "the record")
        router.signal()
        assert peer.ack() == b"token"
    assert router.wait() == 0


def test_a_second_signal_ends_at_once(start, config, aws):
    made = config(sinks={"archive": s3_sink(aws)}, drain={"timeout": "10m", "quiet": "100ms"})
    router = start(made)
    aws.checker.fault("s3", "unavailable", times=None)
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message("app", Time(START), {"log": "x"}))
        eventually(lambda: router.received() == 1, "the record")
    router.signal()
    eventually(lambda: any("draining" in line for line in router.lines), "the drain to begin")
    router.signal(signal.SIGINT)
    assert router.wait() == 1
    assert Ledger(router.lines).sinks["archive"]["accepted"] == 1


def test_a_port_in_use_ends_with_1_and_names_it(config, place):
    import json

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for made in (
            config() | {"sources": {"forward": {"listen": [f"tcp://127.0.0.1:{port}"]}}},
            config() | {"admin": {"listen": f"127.0.0.1:{port}"}},
        ):
            (place / "taken.yaml").write_text(json.dumps(made))
            ended = logweir("run", "-c", place / "taken.yaml")
            assert ended.returncode == 1, ended.stderr
            assert str(port) in ended.stderr
