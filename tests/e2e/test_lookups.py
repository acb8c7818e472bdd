"""Credentials and region that are looked up where something listens and never answers: it is told, tried again, and
holds up nobody else."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from harness import forward as fwd
from harness import objects
from harness.aws import REGION, logs_sink, s3_sink
from harness.forward import Peer, Time
from harness.router import eventually

START = int(time.time())
CREDENTIALS = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "example", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}


class Mute:
    """Accepts, reads, and says nothing until it is told to speak."""

    def __init__(self):
        self.speaks, self.asked, self.held = False, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.asked += 1
            self.held.append(connection)
            if self.speaks:
                connection.recv(65536)
                body = json.dumps(CREDENTIALS).encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
                connection.sendall(head.encode() + body)
                connection.close()

    def stop(self):
        for one in [self.listener, *self.held]:
            one.close()


@pytest.fixture
def mute():
    server = Mute()
    yield server
    server.stop()


def three_sinks(config, aws, file_sink, place, **more):
    sinks = {"alerts": logs_sink(aws), "archive": s3_sink(aws, object={"age": "1s"}), "local": file_sink(object={"age": "1s"})}
    spool = {"path": f"{place}/spool", "size": "64MiB"}
    return config(routes=[{"name": "all", "to": list(sinks)}], sinks=sinks, spool=spool, **more)


def send(router, numbers):
    with Peer(router.address("unix")) as peer:
        for n in numbers:
            peer.send(fwd.message("app", Time(START, n), {"log": f"line {n}", "n": n}, {"chunk": f"{n}"}))
            assert peer.ack() == f"{n}".encode()


def said(router, *words):
    return any(all(word in line for word in words) for line in list(router.lines))


def counted(router, sink, result):
    """How many attempts of a sink ended so."""
    lines = router.get("/metrics")[1].splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("logweir_sink_requests_total{") and f'sink="{sink}"' in line and f'result="{result}"' in line)


def of_the_container(mute):
    return {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{mute.url}/creds"}


def test_credentials_that_hang_hold_up_neither_the_others_nor_a_reload(start, config, aws, file_sink, place, mute):
    made = three_sinks(config, aws, file_sink, place)
    router = start(made, env=of_the_container(mute))
    send(router, range(10))
    eventually(lambda: router.sink("local", "delivered") == 10, "the sink that needs no credentials")
    assert router.get("/ready")[0] == 200
    for sink in ("alerts", "archive"):
        eventually(lambda: said(router, f"sink={sink}", "no credentials within"), f"a word about {sink}")
        eventually(lambda: counted(router, sink, "credentials"), f"the attempts of {sink}")
    eventually(lambda: mute.asked > 2, "another try")
    made["sinks"]["archive"]["object"] = {"age": "2s"}
    router.write(made)
    router.signal(signal.SIGHUP)
    eventually(lambda: said(router, "the config is reloaded"), "the reload")
    send(router, range(10, 20))
    eventually(lambda: router.sink("local", "delivered") == 20, "the sink that needs no credentials")
    mute.speaks = True
    eventually(lambda: all(router.sink(sink, "delivered") == 20 for sink in ("alerts", "archive")), "all of it")
    router.stop()
    assert [r["n"] for r in objects.all_records(objects.in_bucket(aws.s3, "logs"))] == list(range(20))


@pytest.mark.parametrize("lookup", ["credentials", "region"])
def test_a_drain_does_not_wait_for_what_hangs(start, config, aws, file_sink, place, mute, lookup):
    made = three_sinks(config, aws, file_sink, place, drain={"timeout": "3s", "quiet": "100ms"})
    env = of_the_container(mute)
    if lookup == "region":
        env = {"AWS_REGION": None, "AWS_EC2_METADATA_DISABLED": None, "AWS_EC2_METADATA_SERVICE_ENDPOINT": mute.url}
        for sink in ("alerts", "archive"):
            del made["sinks"][sink]["region"]
    router = start(made, env=env)
    send(router, range(10))
    eventually(lambda: mute.asked > 0, "the lookup")
    router.signal()
    assert router.wait() == 0, "all of it is on disk"
    # The next process has what this one lacked.
    router = start(three_sinks(config, aws, file_sink, place))
    eventually(lambda: all(router.sink(sink, "delivered") == 10 for sink in ("alerts", "archive")), "all of it")
    router.stop()
    assert [r["n"] for r in objects.all_records(objects.in_bucket(aws.s3, "logs"))] == list(range(10))


@pytest.fixture
def mute_names(place):
    """What to run a process with so that its only name server listens and never answers (root: a mount namespace)."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.77", 53))
    resolv = place / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:5\n")
    yield ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
    server.close()


def test_names_that_are_never_resolved_hold_up_neither_disk_nor_acks(start, config, file_sink, place, mute_names):
    """Lookups of names cannot be cancelled; those that hang must not take the threads that everything else needs."""
    retry = {"initial": "20ms", "max": "20ms", "attempt_timeout": "1s"}
    sinks = {
        "archive": {"type": "s3", "region": REGION, "bucket": "logs", "object": {"age": "1s"}, "prefix": "{part}/", "retry": retry},
        "local": file_sink(object={"age": "1s"}),
    }
    spool = {"path": f"{place}/spool", "size": "64MiB"}
    made = config(
        routes=[{"name": "all", "to": list(sinks)}], sinks=sinks, spool=spool, drain={"timeout": "3s", "quiet": "100ms"}
    )
    router = start(made, wrapper=mute_names)
    with Peer(router.address("unix")) as peer:
        peer.send(*(fwd.message("app", Time(START, n), {"log": f"{n}", "part": f"{n}"}) for n in range(40)))
    eventually(lambda: said(router, "sink=archive", "failed, will be repeated"), "a word about it")
    # More than there are threads for blocking work.
    eventually(lambda: counted(router, "archive", "timeout") >= os.cpu_count() + 4, "lookups that hang")
    for n in range(20):
        send(router, [n])
    eventually(lambda: router.sink("local", "delivered") == 60, "the sink that needs no names")
    router.signal()
    assert router.wait() == 0, "all of it is on disk"
