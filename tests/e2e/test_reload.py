"""Another config for a running router: nothing is lost, nothing comes twice, and what is wrong changes nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import forward as fwd
from harness import objects
from harness.aws import logs_sink, s3_sink
from harness.forward import Peer, Time
from harness.router import binary, environment, eventually, logweir

START = 1_790_000_000


def numbers(path):
    """Of the objects that are whole: one may just be written."""
    whole = {key: body for key, body in objects.in_directory(path).items() if not key.startswith(".logweir/")}
    return sorted(record["n"] for record in objects.all_records(whole))


def frame(n, **more):
    return fwd.message("app", Time(START, n), {"log": f"line {n}", "n": n} | more)


class Stream(threading.Thread):
    """A peer that sends chunks of ten records over one connection, each when the one before is acked."""

    def __init__(self, address, first=0, tag="app"):
        super().__init__(daemon=True)
        self.peer, self.tag, self.next = Peer(address), tag, first
        self.stopping, self.failure = False, None
        self.start()

    def run(self):
        try:
            while not self.stopping:
                entries = [(Time(START, n), {"log": f"line {n}", "n": n}) for n in range(self.next, self.next + 10)]
                token = f"{self.next}"
                self.peer.send(fwd.forward(self.tag, entries, {"chunk": token}))
                assert self.peer.ack() == token.encode()
                self.next += 10
        except BaseException as failure:
            self.failure = failure

    def sent(self, more):
        """Waits until this many more records are acked."""
        goal = self.next + more
        eventually(lambda: self.next >= goal or self.failure, "records to be acked")
        assert self.failure is None, self.failure

    def stop(self):
        self.stopping = True
        self.join(60)
        assert self.failure is None, self.failure
        self.peer.close()


@pytest.mark.parametrize("ack", ["received", "delivered"])
def test_a_changed_rule_takes_over_between_two_records(start, config, place, file_sink, ack):
    """Over one connection that stays open: what came before went by the old rule, all that follows by the new."""
    made = config(sinks={"archive": file_sink(object={"age": "1s"}), "other": file_sink(path=str(place / "other"))})
    made["sources"]["forward"] |= {"ack": ack, "ack_wait": "100ms"}
    router = start(made)
    stream = Stream(router.address("tcp"))
    stream.sent(100)
    made["routes"] = [{"name": "rest", "to": ["other"]}]
    router.reload(made)
    stream.sent(100)
    stream.stop()
    ledger = router.stop()
    before, after = numbers(place / "out"), numbers(place / "other")
    assert before + after == list(range(stream.next)) and len(before) >= 100 and len(after) >= 90
    assert ledger.sources["forward"] == {
        "received": stream.next, "routed": stream.next, "dropped": 0, "reasons": {}
    }
    assert "connection ended" not in router.stderr


def one_record(router):
    """Sends the first record, and keeps its connection."""
    peer = Peer(router.address("tcp"))
    peer.send(frame(0))
    eventually(lambda: router.received() == 1, "the record")
    return peer


def test_a_config_that_is_wrong_changes_nothing_and_is_told_with_its_position(start, config, place):
    made = config()
    router = start(made)
    fingerprint = router.status()["config_fingerprint"]
    stream = Stream(router.address("unix"))
    text = router.config_path.read_text()
    line = next(n for n, line in enumerate(text.split("\n"), 1) if '"rest"' in line)
    router.reload(text.replace('"rest"', '"rest", "when": "level >"'), goes=False)
    assert re.search(rf"router\.yaml:{line}:\d+: routes\[0\]\.when: ", router.stderr), router.stderr
    assert "the one before it goes on" in router.stderr
    status = router.status()
    assert status["config_fingerprint"] == fingerprint
    assert f"router.yaml:{line}:" in status["config_reloads"]["last_failure"]["why"]
    assert 'logweir_config_reloads_total{result="failed"} 1' in router.get("/metrics")[1]
    router.write("{")
    router.signal(signal.SIGHUP)
    eventually(lambda: router.reloads() == (0, 2), "the second refusal")
    router.config_path.unlink()
    router.signal(signal.SIGHUP)
    eventually(lambda: router.reloads() == (0, 3), "the third refusal")
    stream.sent(50)
    made["drain"]["quiet"] = "100ms"
    router.reload(made)
    assert router.status()["config_fingerprint"] != fingerprint
    stream.sent(50)
    stream.stop()
    router.stop()
    assert numbers(place / "out") == list(range(stream.next))


def test_keys_that_need_a_restart_are_named_and_nothing_is_applied(start, config, place, file_sink):
    made = config()
    router = start(made)
    other = config(sinks={"archive": file_sink(path=str(place / "elsewhere"))}, memory="64MiB", log={"level": "debug"})
    router.reload(other, goes=False)
    assert "memory, log cannot change while logweir runs" in router.stderr
    with Peer(router.address("tcp")) as peer:
        peer.send(frame(0))
        eventually(lambda: router.received() == 1, "the record")
    router.stop()
    assert numbers(place / "out") == [0] and not (place / "elsewhere").exists()


def test_a_config_in_the_environment_cannot_be_reloaded(config, place):
    env = {"LOGWEIR_CONFIG_YAML": json.dumps(config())}
    process = subprocess.Popen(
        [binary(), "run"], stderr=subprocess.PIPE, env=environment(**env), cwd=place, text=True
    )

    def read_until(words):
        while words not in (line := process.stderr.readline()):
            assert line, "it ended"

    try:
        read_until("admin on")
        process.send_signal(signal.SIGHUP)
        read_until("LOGWEIR_CONFIG_YAML: the environment of a running process cannot change")
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    refused = logweir("run", "--watch", env=env, cwd=place)
    assert refused.returncode == 64 and "--watch looks after a file" in refused.stderr


def test_a_changed_file_is_read_without_a_signal(start, config, place, file_sink):
    made = config()
    router = start(made, arguments=["--watch"])
    made["routes"] = [{"name": "none", "to": []}]
    router.write(made)
    eventually(lambda: router.reloads() == (1, 0), "the reload")
    router.config_path.unlink()
    other = place / "behind"
    other.mkdir()
    made["routes"] = [{"name": "rest", "to": ["archive"]}]
    (other / "router.yaml").write_text(json.dumps(made))
    router.config_path.symlink_to(other / "router.yaml")
    eventually(lambda: router.reloads() == (2, 0), "the reload")
    with Peer(router.address("tcp")) as peer:
        peer.send(frame(0))
        eventually(lambda: router.received() == 1, "the record")
    router.stop()
    assert numbers(place / "out") == [0]


def test_a_sink_is_added_and_one_that_is_removed_delivers_what_it_has(start, config, place, file_sink):
    made = config(sinks={"archive": file_sink(object={"age": "1h"})})
    router = start(made)
    peer = one_record(router)
    removed = config(sinks={"new": file_sink(path=str(place / "new"), object={"age": "1h"})})
    removed["routes"] = [{"name": "rest", "to": ["new"]}]
    router.reload(removed)
    eventually(lambda: numbers(place / "out") == [0], "the object of the sink that left")
    eventually(lambda: "sink archive, which has left the config, has delivered" in router.stderr, "its end")
    assert "is not in the config any more" in router.stderr
    assert 'logweir_sink_left_config{sink="archive"} 1' in router.get("/metrics")[1]
    assert 'logweir_sink_left_config{sink="new"} 0' in router.get("/metrics")[1]
    peer.send(frame(1))
    eventually(lambda: router.received() == 2, "the record")
    assert router.sink("archive", "accepted") == router.sink("new", "accepted") == 1
    # Back again, with the queue and the account that it had.
    router.reload(made)
    eventually(lambda: numbers(place / "new") == [1], "the object of the sink that left")
    peer.send(frame(2))
    eventually(lambda: router.received() == 3, "the record")
    peer.close()
    ledger = router.stop()
    assert (ledger.sinks["archive"]["delivered"], ledger.sinks["new"]["delivered"]) == (2, 1)
    assert numbers(place / "out") == [0, 2], "the second object has another name than the first"


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_a_sink_goes_on_with_other_settings_on_the_same_queue(start, config, place, file_sink, spool):
    made = config(sinks={"archive": file_sink(object={"age": "1h"}, compression="zstd")})
    if spool == "disk":
        made["spool"] = {"path": str(place / "spool"), "size": "64MiB"}
    router = start(made)
    peer = Peer(router.address("tcp"))
    peer.send(*(frame(n) for n in range(10)))
    eventually(lambda: router.received() == 10, "the records")
    made["sinks"] = {"archive": file_sink(path=str(place / "there"), object={"age": "1h"}, compression="gzip")}
    router.reload(made)
    peer.send(*(frame(n) for n in range(10, 20)))
    eventually(lambda: router.received() == 20, "the records")
    peer.close()
    assert router.stop().sinks["archive"]["delivered"] == 20
    there = objects.in_directory(place / "there")
    assert numbers(place / "there") == list(range(20)) and all(key.endswith(".gz") for key in there)
    assert not (place / "out").exists()


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_what_a_sink_fails_to_send_goes_with_the_settings_that_are_right(start, config, place, file_sink, spool):
    """A mistake in a sink's settings is mended without a restart, for what was under way, too."""
    (place / "blocked").write_text("a file where the directory should be")
    made = config(sinks={"archive": file_sink(path=str(place / "blocked"), object={"age": "1s"}, compression="zstd")})
    made["sinks"]["letters"] = file_sink(path=str(place / "letters"))
    made["dead_letters"] = {"to": "letters"}
    if spool == "disk":
        made["spool"] = {"path": str(place / "spool"), "size": "64MiB"}
    router = start(made)
    with Peer(router.address("tcp")) as peer:
        peer.send(*(frame(n) for n in range(10)))
        failing = lambda: "retries" in (text := router.get("/metrics")[1]) and 'retries_total{sink="archive"' in text
        eventually(failing, "an attempt to fail")
        made["sinks"]["archive"] |= {"path": str(place / "out"), "compression": "gzip"}
        router.reload(made)
        eventually(lambda: router.sink("archive", "delivered") == 10, "the object")
    assert numbers(place / "out") == list(range(10))
    assert router.stop().sinks["letters"]["accepted"] == 0


def test_dead_letters_stay_where_they_go_and_sinks_that_come_and_change_leave_theirs_there(start, config, place, file_sink):
    (place / "blocked").write_text("a file where the directory should be")
    letters = file_sink(path=str(place / "letters"), object={"age": "1s"})
    made = config(sinks={"archive": file_sink(), "letters": letters}, dead_letters={"to": "letters", "prefix": "dead/"})
    router = start(made)
    router.reload(made | {"dead_letters": {"to": "letters"}}, goes=False)
    assert "dead_letters cannot change while logweir runs" in router.stderr
    blocked = file_sink(path=str(place / "blocked"), object={"age": "1s"}, retry={"deadline": "1s"})
    # It comes before the others, so that every place in the config is another.
    made["sinks"] = {"fresh": blocked, "letters": letters | {"compression": "gzip"}, "archive": made["sinks"]["archive"]}
    made["routes"] = [{"name": "rest", "to": ["fresh", "archive"]}]
    router.reload(made)
    with Peer(router.address("tcp")) as peer:
        peer.send(*(frame(n) for n in range(10)))
        eventually(lambda: router.sink("letters", "delivered") == 10, "the dead letters")
        peer.send(frame(10), b"\xc1")
        eventually(lambda: router.sink("letters", "accepted") >= 11, "what was no frame")
    ledger = router.stop(code=None)
    found = objects.all_records(objects.in_directory(place / "letters"))
    assert sorted(letter["reason"] for letter in found if letter.get("sink") == "fresh") == ["retry_deadline"] * 11
    assert len(found) == 12 and ledger.sinks["letters"]["delivered"] == 12
    assert numbers(place / "out") == list(range(11))


def test_aws_sinks_that_reach_nobody_are_mended_without_a_restart(start, config, aws):
    sinks = {
        "archive": s3_sink(aws, prefix="one/", object={"age": "1s"}),
        "alerts": logs_sink(aws, log_group="/one", log_stream="s"),
    }
    made = config(routes=[{"name": "rest", "to": ["archive", "alerts"]}], sinks=sinks)
    right = json.loads(json.dumps(made))
    with socket.socket() as taken:
        # Bound and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        for sink in sinks.values():
            sink["endpoint"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
        router = start(made)
        with Peer(router.address("tcp")) as peer:
            now = int(time.time())
            peer.send(*(fwd.message("app", Time(now, n), {"log": f"line {n}", "n": n}) for n in range(100)))
            retried = lambda sink: f'logweir_sink_retries_total{{sink="{sink}"' in router.get("/metrics")[1]
            eventually(lambda: retried("archive") and retried("alerts"), "attempts to fail")
            router.reload(right)
            eventually(lambda: all(router.sink(name, "delivered") == 100 for name in sinks), "delivery")
    router.stop()
    assert sorted(r["n"] for r in objects.all_records(objects.in_bucket(aws.s3, "logs"))) == list(range(100))
    assert len(aws.events("/one", "s")) == 100


def test_another_type_is_refused_while_the_old_one_holds_records(start, config, place, file_sink):
    made = config(sinks={"archive": file_sink(object={"age": "1h"})})
    router = start(made)
    peer = one_record(router)
    other = config(sinks={"archive": {"type": "stdout"}})
    router.reload(other, goes=False)
    assert "sink archive: it was of type file and still holds 1 records" in router.stderr
    made["sinks"]["archive"]["object"]["age"] = "1s"
    router.reload(made)
    eventually(lambda: router.sink("archive", "delivered") == 1, "the object")
    router.reload(other)
    peer.send(frame(1))
    eventually(lambda: router.sink("archive", "delivered") == 2, "the line")
    peer.close()
    assert router.stop().sinks["archive"]["accepted"] == 2
    assert '"n":1' in "\n".join(router.stdout_lines)


def test_a_sink_that_had_another_type_before_may_be_busy_at_a_reload(start, config, file_sink):
    router = start(config(sinks={"archive": {"type": "stdout"}}))
    made = config(sinks={"archive": file_sink(object={"age": "1h"})})
    router.reload(made)
    with Peer(router.address("tcp")) as peer:
        peer.send(frame(0))
        eventually(lambda: router.received() == 1, "the record")
        router.reload(made)
        assert router.sink("archive", "waiting") == 1
    assert router.stop().sinks["archive"]["delivered"] == 1


def test_addresses_come_and_go_and_connections_stay(start, config, place):
    made = config()
    router = start(made)
    tcp = router.address("tcp")
    kept, gone = Peer(tcp), Peer(f"unix://{place}/fluent.sock")
    kept.send(frame(0))
    gone.send(frame(1))
    eventually(lambda: router.received() == 2, "the records")
    made["sources"]["forward"]["listen"] = ["tcp://127.0.0.1:0", f"unix://{place}/other.sock"]
    made["sources"]["edge"] = {"type": "forward", "listen": [f"unix://{place}/edge.sock"]}
    router.reload(made)
    assert router.address("tcp") == tcp, "port 0 is the port that it was"
    assert not (place / "fluent.sock").exists()
    kept.send(frame(2))
    gone.send(frame(3))
    for n, path in enumerate(["other.sock", "edge.sock"], 4):
        with Peer(f"unix://{place}/{path}") as peer:
            peer.send(frame(n))
    with Peer(tcp) as peer:
        peer.send(frame(6))
    eventually(lambda: router.received() == 6 and router.received("edge") == 1, "the records")
    # A source that goes reads what its peers have sent, and closes their connections when they are quiet.
    edge = Peer(f"unix://{place}/edge.sock")
    edge.send(frame(7))
    del made["sources"]["edge"]
    router.reload(made)
    assert not (place / "edge.sock").exists()
    assert edge.closed_by_router()
    assert router.received("edge") == 2
    # Its address under another name: the socket is the same, so that nobody finds it closed.
    made["sources"] = {"renamed": {"type": "forward"} | made["sources"]["forward"]}
    router.reload(made)
    with Peer(tcp) as peer:
        peer.send(frame(8))
        eventually(lambda: router.received("renamed") == 1, "the record")
    for peer in (kept, gone):
        assert peer.closed_by_router(), "its source has left"
    router.stop()
    assert numbers(place / "out") == list(range(9))


def test_a_port_in_use_changes_nothing(start, config, place):
    made = config()
    router = start(made)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        made["sources"]["forward"]["listen"] = [f"unix://{place}/new.sock", f"tcp://127.0.0.1:{port}"]
        made["routes"] = [{"name": "none", "to": []}]
        router.reload(made, goes=False)
    assert f"another process listens on `tcp://127.0.0.1:{port}`" in router.stderr
    assert not (place / "new.sock").exists()
    with Peer(router.address("unix")) as peer:
        peer.send(frame(0))
        eventually(lambda: router.received() == 1, "the record")
    router.stop()
    assert numbers(place / "out") == [0]


def test_fewer_connections_and_a_key_are_asked_of_those_that_come_later(start, config):
    made = config()
    router = start(made)
    old = Peer(router.address("tcp"))
    old.send(frame(0))
    eventually(lambda: router.received() == 1, "the record")
    made["sources"]["forward"]["auth"] = {"shared_key": "secret", "self_hostname": "router"}
    router.reload(made)
    old.send(frame(1))
    eventually(lambda: router.received() == 2, "the record of a peer that had to prove nothing")
    with Peer(router.address("tcp")) as new:
        assert new.shake("secret") == (True, "")
        new.send(frame(2))
        eventually(lambda: router.received() == 3, "the record")
    with Peer(router.address("tcp")) as new:
        assert new.shake("wrong")[0] is False
    made["sources"]["forward"]["auth"]["shared_key"] = "another"
    router.reload(made)
    with Peer(router.address("tcp")) as new:
        assert new.shake("another") == (True, "")
    made["sources"]["forward"] |= {"limits": {"connections": 1}}
    del made["sources"]["forward"]["auth"]
    router.reload(made)
    waits = Peer(router.address("tcp"))
    waits.send(frame(3))
    old.send(frame(4))
    eventually(lambda: router.received() == 4, "the record of the one connection that there may be")
    old.close()
    eventually(lambda: router.received() == 5, "the next one's turn")
    waits.close()
    router.stop()


def test_a_full_sink_that_is_taken_out_no_longer_holds_the_sources_back(start, config, place, file_sink):
    (place / "blocked").write_text("a file where the directory should be")
    made = config(sinks={"dead": file_sink(path=str(place / "blocked")), "archive": file_sink()}, memory="32MiB")
    made["routes"] = [{"name": "rest", "to": ["dead"]}]
    made["drain"]["timeout"] = "2s"
    made["sinks"]["dead"] |= {"compression": "none", "object": {"size": "1MiB", "age": "1s"}}
    router = start(made)
    stop = threading.Event()
    peer = Peer(router.address("unix"))

    def flood():
        n = 0
        while not stop.is_set():
            peer.send(*(frame(m, pad="x" * 60_000) for m in range(n, n + 10)))
            n += 10

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()

    def full():
        queue = router.ledger()["sinks"]["dead"]["queue"]
        return queue["bytes"] >= queue["limit_bytes"]

    eventually(full, "the queue to be full")
    made["routes"] = [{"name": "rest", "to": ["archive"]}]
    del made["sinks"]["dead"]
    router.reload(made)
    eventually(lambda: router.sink("archive", "accepted") > 200, "records for the sink that works")
    stop.set()
    thread.join(60)
    peer.close()
    ledger = router.stop(code=1)
    assert ledger.sinks["archive"]["accepted"] == ledger.sinks["archive"]["delivered"]
    assert ledger.sinks["dead"]["dropped"] > 0


def test_s3_and_cloudwatch_take_new_settings(start, config, aws):
    """The bucket's prefix and the group change while requests are under way."""
    sinks = {
        "archive": s3_sink(aws, prefix="one/", object={"age": "1s"}),
        "alerts": logs_sink(aws, log_group="/one", log_stream="s"),
    }
    made = config(routes=[{"name": "rest", "to": ["archive", "alerts"]}], sinks=sinks)
    router = start(made)
    peer = Peer(router.address("tcp"))
    now = int(time.time())
    message = lambda n: fwd.message("app", Time(now, n), {"log": f"line {n}", "n": n})
    peer.send(*(message(n) for n in range(100)))
    eventually(lambda: router.received() == 100, "the records")
    made["sinks"]["archive"] |= {"prefix": "two/", "compression": "gzip"}
    made["sinks"]["alerts"] |= {"log_group": "/two"}
    router.reload(made)
    peer.send(*(message(n) for n in range(100, 200)))
    eventually(lambda: router.received() == 200, "the records")
    peer.close()
    ledger = router.stop()
    assert [ledger.sinks[sink]["delivered"] for sink in ("archive", "alerts")] == [200, 200]
    stored = objects.in_bucket(aws.s3, "logs")
    by_prefix = {
        prefix: sorted(r["n"] for k, b in stored.items() if k.startswith(prefix) for r in objects.records(k, b))
        for prefix in ("one/", "two/")
    }
    assert by_prefix == {"one/": list(range(100)), "two/": list(range(100, 200))}
    assert len(aws.events("/one", "s")) == len(aws.events("/two", "s")) == 100


@pytest.mark.parametrize("spool", ["memory", "disk"])
def test_fifty_reloads_under_load_lose_nothing_and_leak_nothing(start, config, place, file_sink, spool):
    """Rules, sinks, addresses and settings change to and fro while two peers send and wait for their acks."""

    def variant(n):
        made = config(sinks={"archive": file_sink(object={"age": f"{1 + n % 3}s"}, compression=["zstd", "gzip"][n % 2])})
        made["sources"]["forward"]["limits"] = {"connections": 100 + n % 2}
        if spool == "disk":
            made["spool"] = {"path": str(place / "spool"), "size": "64MiB"}
            # Enough for a worker for each thread.
            made["memory"] = "512MiB"
        made["routes"] = [{"name": f"rest-{n % 3}", "to": ["archive"]}]
        if n % 2:
            made["sinks"]["second"] = file_sink(path=str(place / "second"), object={"age": "1s"})
            made["routes"][0]["to"] = ["second"]
            made["sources"]["edge"] = {"type": "forward", "listen": [f"unix://{place}/edge.sock"]}
        return made

    router = start(variant(0))

    def fds():
        return len(os.listdir(f"/proc/{router.process.pid}/fd"))

    router.reload(variant(1))
    router.reload(variant(0))
    streams = [Stream(address, first) for first, address in ((0, router.address("tcp")), (10**6, router.address("unix")))]
    for stream in streams:
        stream.sent(20)
    eventually(lambda: router.ledger()["discrepancies"] == [], "books that add up")
    before = fds()
    for n in range(1, 51):
        router.reload(variant(n))
        assert router.ledger()["discrepancies"] == []
    for stream in streams:
        stream.sent(100)
    # Objects and connections under way come and go.
    eventually(lambda: fds() <= before + 2, f"no more file descriptors than {before}")
    for stream in streams:
        stream.stop()
    assert router.reloads() == (52, 0)
    ledger = router.stop()
    expected = sorted(n for s, first in zip(streams, (0, 10**6)) for n in range(first, s.next))
    assert sorted(numbers(place / "out") + numbers(place / "second")) == expected
    assert ledger.sources["forward"]["received"] == len(expected)
    assert ledger.sinks["second"]["delivered"] > 0
