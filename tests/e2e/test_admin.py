"""The admin port: health, status, metrics, and a ledger that adds up at every scrape."""

import re
import threading

from harness import forward as fwd
from harness.aws import s3_sink
from harness.forward import Peer, Time
from harness.router import eventually, logweir

START = 1_790_000_000


def metrics(text):
    assert text.endswith("# EOF\n")
    pairs = re.finditer(r"^(logweir_[^\s#]+) (\S+)$", text, re.MULTILINE)
    return {m[1].removesuffix("{}"): float(m[2]) for m in pairs}


def adds_up(m, source="forward", sink="archive"):
    def total(prefix):
        return sum(value for name, value in m.items() if name.startswith(prefix))

    received = m[f'logweir_source_received_records_total{{source="{source}"}}']
    ends = m[f'logweir_source_routed_records_total{{source="{source}"}}'] + total(
        f'logweir_source_dropped_records_total{{source="{source}"'
    )
    accepted = m[f'logweir_sink_accepted_records_total{{sink="{sink}"}}']
    fates = (
        m[f'logweir_sink_delivered_records_total{{sink="{sink}"}}']
        + total(f'logweir_sink_waiting_records{{sink="{sink}"')
        + total(f'logweir_sink_dropped_records_total{{sink="{sink}"')
    )
    return received == ends and accepted == fates == received


def test_the_endpoints_answer(start, config):
    router = start(config())
    assert [router.get(path)[0] for path in ("/live", "/ready", "/delivering", "/status", "/metrics")] == [200] * 5
    assert router.get("/nothing")[0] == 404
    status = router.status()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", status["version"]) and status["config_fingerprint"]
    assert status["uptime_seconds"] >= 0 and status["ledger"]["discrepancies"] == []
    m = metrics(router.get("/metrics")[1])
    assert m["logweir_process_resident_memory_bytes"] > 1 << 20
    assert adds_up(m)
    router.stop()


def test_health_asks_the_running_router(start, config):
    router = start(config())
    address = router.admin.removeprefix("http://")
    assert logweir("health", "--admin", address).returncode == 0
    assert logweir("health", env={"LOGWEIR_ADMIN": address}).returncode == 0
    router.stop()
    ended = logweir("health", "--admin", address)
    assert ended.returncode == 1 and address in ended.stderr


def test_the_ledger_adds_up_at_every_scrape_under_load(start, config, file_sink):
    router = start(config(sinks={"archive": file_sink(object={"age": "1s"})}))
    done = threading.Event()

    def load():
        with Peer(router.address("unix")) as peer:
            for n in range(400):
                peer.send(*(fwd.message(f"app{n % 5}", Time(START, i), {"log": "x" * 100, "n": i}) for i in range(100)))
        done.set()

    sender = threading.Thread(target=load)
    sender.start()
    scrapes = 0
    while scrapes < 20 or not done.is_set():
        text = router.get("/metrics")[1]
        assert adds_up(metrics(text)), text
        assert router.ledger()["discrepancies"] == []
        scrapes += 1
    sender.join()
    eventually(lambda: router.received() == 40_000, "all records")
    assert router.stop().sinks["archive"]["delivered"] == 40_000


def test_ready_fails_in_a_drain_and_live_does_not(start, config, aws):
    router = start(config(sinks={"archive": s3_sink(aws)}, drain={"timeout": "10m", "quiet": "100ms"}))
    fault = aws.checker.fault("s3", "unavailable", times=None)
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message("app", Time(START), {"log": "x"}))
        eventually(lambda: router.received() == 1, "the record")
    router.signal()
    eventually(lambda: router.get("/ready")[0] == 503, "the drain")
    assert router.get("/live")[0] == 200
    aws.checker.lift(fault)
    assert router.wait() == 0


def test_delivering_fails_while_the_oldest_record_is_too_old(start, config, aws):
    made = config(sinks={"archive": s3_sink(aws, object={"age": "1s"})})
    made["admin"]["delivering_after"] = "300ms"
    router = start(made)
    fault = aws.checker.fault("s3", "denied", times=None)
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message("app", Time(START), {"log": "x"}))
        code = eventually(lambda: (a := router.get("/delivering"))[0] == 503 and a[1], "the alarm")
        assert "archive" in code
        assert router.get("/live")[0] == 200
    aws.checker.lift(fault)
    eventually(lambda: router.get("/delivering")[0] == 200, "the all-clear")
    router.stop()
