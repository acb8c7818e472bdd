"""Errors to CloudWatch Logs and everything to S3, read back with boto3; every request passes the strict checker."""

import gzip
import json
import time

import pytest
from harness import forward as fwd
from harness import objects
from harness.aws import logs_sink, s3_sink
from harness.forward import Peer, Time
from harness.router import eventually

TASK = "0123456789abcdef0123456789abcdef"
TAG = f"app-firelens-{TASK}"
SPLIT = [{"name": "errors", "when": "level >= WARN", "to": ["alerts", "archive"]}, {"name": "rest", "to": ["archive"]}]


def split(config, aws, alerts=None, archive=None, **more):
    sinks = {"alerts": logs_sink(aws, **(alerts or {})), "archive": s3_sink(aws, **(archive or {}))}
    return config(routes=SPLIT, sinks=sinks, **more)


def lines(count, now=None, first=0):
    """Every tenth is an error, half of those as JSON."""
    now = now or int(time.time())
    for n in range(first, first + count):
        level = "ERROR" if n % 10 == 0 else "INFO"
        log = json.dumps({"level": level, "n": n}) if n % 20 < 10 else f"{level} line {n}"
        yield fwd.message(TAG, Time(now, n), {"log": log, "n": n, "container_name": "/app", "source": "stdout"})


def send(router, frames, count):
    with Peer(router.address("unix")) as peer:
        peer.send(*frames)
        eventually(lambda: router.received() == count, "all records")


def stored_numbers(aws):
    return [r["n"] for r in objects.all_records(objects.in_bucket(aws.s3, "logs"))]


def watched_numbers(aws, group="/ecs/app", stream=f"app/{TASK}"):
    return [json.loads(event["message"])["n"] for event in aws.events(group, stream)]


def test_errors_stand_in_cloudwatch_and_everything_in_s3(start, config, aws):
    create = {"retention_days": 30, "class": "INFREQUENT_ACCESS", "tags": {"team": "shop"}}
    router = start(split(config, aws, alerts={"create": create}))
    send(router, lines(2000), 2000)
    ledger = router.stop()
    assert ledger.sinks["archive"]["delivered"] == 2000 and ledger.sinks["alerts"]["delivered"] == 200
    assert stored_numbers(aws) == list(range(2000))
    keys = list(objects.in_bucket(aws.s3, "logs"))
    assert keys and all(key.startswith("logs/service=app/dt=") and "/hour=" in key for key in keys)
    assert aws.groups()["/ecs/app"]["retentionInDays"] == 30
    # moto forgets the class.
    assert [call["logGroupClass"] for call in aws.checker.seen.creates] == ["INFREQUENT_ACCESS"]
    assert aws.logs.list_tags_log_group(logGroupName="/ecs/app")["tags"] == {"team": "shop"}
    assert aws.streams("/ecs/app") == [f"app/{TASK}"]
    assert watched_numbers(aws) == list(range(0, 2000, 10))
    first = json.loads(aws.events("/ecs/app", f"app/{TASK}")[0]["message"])
    assert first["container_name"] == "/app" and first["tag"] == TAG
    assert all(put.encoding == "gzip" for put in aws.checker.seen.puts)


@pytest.mark.parametrize("compression, extension", [("zstd", ".zst"), ({"gzip": 6}, ".gz"), ("none", "json")])
def test_objects_carry_their_settings(start, config, aws, compression, extension):
    archive = {"compression": compression, "storage_class": "STANDARD_IA", "content_type": "application/x-test"}
    router = start(split(config, aws, archive=archive))
    send(router, lines(100), 100)
    router.stop()
    for key in objects.in_bucket(aws.s3, "logs"):
        head = aws.s3.head_object(Bucket="logs", Key=key)
        assert key.endswith(extension)
        assert (head["StorageClass"], head["ContentType"]) == ("STANDARD_IA", "application/x-test")
    assert stored_numbers(aws) == list(range(100))


def test_objects_of_a_second_object_age_are_cut_by_age_and_lose_nothing(start, config, aws):
    router = start(split(config, aws, archive={"object": {"age": "1s"}}))
    with Peer(router.address("unix")) as peer:
        for first in range(0, 500, 100):
            peer.send(*lines(100, first=first))
            eventually(lambda: router.sink("archive", "delivered") >= first + 100, "an object by age")
    router.stop()
    assert stored_numbers(aws) == list(range(500))
    assert len(objects.in_bucket(aws.s3, "logs")) >= 5


def test_large_objects_go_up_in_parts(start, config, aws):
    import random

    random.seed(7)
    now, count = int(time.time()), 300
    texts = [random.randbytes(50_000).hex() for _ in range(count)]
    router = start(split(config, aws, archive={"compression": "none", "object": {"size": "20MiB"}}))
    frames = [fwd.message(TAG, Time(now), {"log": text, "n": n}) for n, text in enumerate(texts)]
    send(router, frames, count)
    router.stop()
    stored = objects.all_records(objects.in_bucket(aws.s3, "logs"))
    assert [r["n"] for r in stored] == list(range(count))
    assert [r["log"] for r in stored] == texts
    seen = aws.checker.seen.requests
    assert seen["UploadPart"] >= 2 and seen["CompleteMultipartUpload"] >= 1, seen
    assert aws.s3.list_multipart_uploads(Bucket="logs").get("Uploads", []) == []


def test_cloudwatch_takes_log_alone_and_emf_passes_unchanged(start, config, aws):
    emf = '{"_aws":{"Timestamp":1790000000000,"CloudWatchMetrics":[]},  "requests":1, "level":"error"}'
    router = start(split(config, aws, alerts={"message": "log", "compression": "none"}))
    texts = [emf, "ERROR in text", "WARN \u00e9\u2028\"quoted\""]
    send(router, [fwd.message(TAG, Time(int(time.time()), n), {"log": text}) for n, text in enumerate(texts)], 3)
    router.stop()
    assert [e["message"] for e in aws.events("/ecs/app", f"app/{TASK}")] == texts
    assert {put.encoding for put in aws.checker.seen.puts} == {""}


def test_requests_keep_to_the_limits_whatever_comes(start, config, aws):
    """Empty messages, 10,001 small ones, megabyte messages, disorder and two days in one stream: the checker refuses
    any request that AWS would refuse."""
    now = int(time.time())
    router = start(split(config, aws, alerts={"message": "log"}))
    batch = [(Time(now, 0), {"log": "", "level": "ERROR"})] * 5
    batch += [(Time(now - n % 50, n), {"log": f"ERROR {n}"}) for n in range(25_000)]
    batch += [(Time(now - 30 * 3600 + n * 3600), {"log": f"ERROR hour {n}"}) for n in range(30)]
    batch += [(Time(now), {"log": "ERROR " + "x" * 700_000}) for _ in range(4)]
    batch += [(Time(now), {"log": "ERROR " + "\u20ac" * 340_000})]
    with Peer(router.address("tcp")) as peer:
        for at in range(0, len(batch), 100):
            peer.send(fwd.packed(TAG, batch[at : at + 100], {"chunk": str(at)}))
            peer.ack()
    ledger = router.stop(code=None)
    sink = ledger.sinks["alerts"]
    assert sink["accepted"] == len(batch) and sink["waiting"] == 0
    assert sink["delivered"] >= 25_000 + 30 + 4, sink
    assert ledger.sinks["archive"]["delivered"] == len(batch)
    events = aws.events("/ecs/app", f"app/{TASK}")
    assert len(events) == sink["delivered"]
    assert sum(e["message"].startswith("ERROR hour") for e in events) == 30


def test_events_too_old_or_too_new_are_counted_by_reason(start, config, aws):
    now = int(time.time())
    router = start(split(config, aws))
    times = [0, now - 20 * 86400, now, now + 4 * 3600, 4_102_444_800]
    send(router, [fwd.message(TAG, Time(t), {"log": "ERROR", "n": n}) for n, t in enumerate(times)], len(times))
    ledger = router.stop(code=None)
    sink = ledger.sinks["alerts"]
    assert sink["accepted"] == 5 and sink["waiting"] == 0
    assert sink["delivered"] + sum(sink["reasons"].values()) == 5
    assert sink["delivered"] >= 1
    assert ledger.sinks["archive"]["delivered"] == 5
    assert sorted(stored_numbers(aws)) == list(range(5))


def test_many_streams_are_created_once_each(start, config, aws):
    router = start(split(config, aws))
    now = int(time.time())
    frames = [
        fwd.message(f"svc{n % 20}-firelens-{n % 40:032x}", Time(now, n), {"log": f"ERROR {n}", "n": n})
        for n in range(2000)
    ]
    send(router, frames, 2000)
    router.stop()
    found = {(g, s): watched_numbers(aws, g, s) for g in aws.groups() for s in aws.streams(g)}
    assert len(aws.groups()) == 20 and len(found) == 40
    assert sorted(n for numbers in found.values() for n in numbers) == list(range(2000))
    seen = aws.checker.seen.requests
    assert seen["CreateLogGroup"] <= 20 and seen["CreateLogStream"] <= 40 + 20, seen


@pytest.mark.parametrize("api, kind", [
    ("PutLogEvents", "throttle"), ("PutLogEvents", "unavailable"), ("PutLogEvents", "cut"),
    ("PutLogEvents", "expired"), ("PutLogEvents", "denied"), ("PutLogEvents", "missing"),
    ("CreateLogGroup", "aborted"), ("CreateLogGroup", "throttle"), ("CreateLogStream", "unavailable"),
    ("PutRetentionPolicy", "aborted"),
    ("PutObject", "throttle"), ("PutObject", "internal"), ("PutObject", "cut"), ("PutObject", "cut_after"),
    ("PutObject", "denied"), ("PutObject", "expired"), ("PutObject", "missing"),
])
def test_what_fails_for_a_while_is_repeated_until_it_is_there(start, config, aws, api, kind):
    router = start(split(config, aws, alerts={"create": {"retention_days": 7}}, archive={"object": {"age": "1s"}}))
    aws.checker.fault(api, kind, times=3)
    send(router, lines(200), 200)
    eventually(lambda: router.sink("alerts", "delivered") == 20, "the alerts")
    eventually(lambda: router.sink("archive", "delivered") == 200, "the archive")
    router.stop()
    assert watched_numbers(aws) == list(range(0, 200, 10))
    assert sorted(stored_numbers(aws)) == list(range(200))


@pytest.mark.parametrize("api", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("kind", ["throttle", "cut", "cut_after"])
def test_a_multipart_upload_survives_failures_of_each_call(start, config, aws, api, kind):
    import random

    random.seed(3)
    texts = [random.randbytes(60_000).hex() for _ in range(120)]
    router = start(split(config, aws, archive={"compression": "none", "object": {"size": "40MiB"}}))
    aws.checker.fault(api, kind, times=2)
    send(router, [fwd.message(TAG, Time(int(time.time())), {"log": t, "n": n}) for n, t in enumerate(texts)], 120)
    router.stop()
    assert stored_numbers(aws) == list(range(120))


@pytest.mark.parametrize("down, other", [("s3", "alerts"), ("logs", "archive")])
def test_a_dead_service_does_not_hold_up_the_other(start, config, aws, down, other):
    router = start(split(config, aws, archive={"object": {"age": "1s"}}))
    fault = aws.checker.fault(down, "unavailable", times=None)
    send(router, lines(500), 500)
    wanted = {"alerts": 50, "archive": 500}
    eventually(lambda: router.sink(other, "delivered") == wanted[other], f"{other} while {down} is down")
    dead = ({"alerts", "archive"} - {other}).pop()
    assert router.sink(dead, "delivered") == 0 and router.sink(dead, "waiting") == wanted[dead]
    assert router.get("/live")[0] == 200 and router.get("/ready")[0] == 200
    aws.checker.lift(fault)
    eventually(lambda: router.sink(dead, "delivered") == wanted[dead], f"{dead} after {down} is back")
    router.stop()
    assert watched_numbers(aws) == list(range(0, 500, 10))
    assert sorted(stored_numbers(aws)) == list(range(500))


def test_an_invalid_parameter_is_given_up_counted_and_does_not_block(start, config, aws):
    router = start(split(config, aws))
    aws.checker.fault("PutLogEvents", "invalid", times=None, match="poison")
    now = int(time.time())
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message(TAG, Time(now), {"log": "ERROR poison", "n": 0}))
        eventually(lambda: router.ledger()["sinks"]["alerts"]["dropped"], "the poison to be given up")
        peer.send(fwd.message(TAG, Time(now), {"log": "ERROR fine", "n": 1}))
        eventually(lambda: router.sink("alerts", "delivered") == 1, "what comes after it")
    ledger = router.stop()
    assert ledger.sinks["alerts"]["dropped"] == 1 and ledger.sinks["archive"]["delivered"] == 2
    assert watched_numbers(aws) == [1]


def test_what_cannot_be_delivered_in_the_drain_is_told_by_exit_code_and_ledger(start, config, aws):
    made = split(config, aws, drain={"timeout": "3s", "quiet": "100ms"})
    router = start(made)
    aws.checker.fault("logs", "unavailable", times=None)
    send(router, lines(100), 100)
    ledger = router.stop(code=1)
    assert ledger.sinks["alerts"]["dropped"] == 10 and ledger.sinks["alerts"]["waiting"] == 0
    assert ledger.sinks["archive"]["delivered"] == 100


def test_a_slow_service_is_given_the_time_of_its_attempts(start, config, aws):
    router = start(split(config, aws))
    aws.checker.fault("*", "slow", times=6, delay=0.7)
    send(router, lines(100), 100)
    router.stop()
    assert watched_numbers(aws) == list(range(0, 100, 10))


def test_the_sent_bodies_are_smaller_than_their_events(start, config, aws):
    """gzip is on the wire, and one member is all that a request holds: the checker saw to it."""
    router = start(split(config, aws))
    send(router, lines(5000), 5000)
    router.stop()
    events = sum(len(e["message"]) for put in aws.checker.seen.puts for e in put.events)
    assert sum(put.wire_bytes for put in aws.checker.seen.puts) < events / 2


def test_the_checker_itself_refuses_what_aws_refuses(aws_server):
    """The tests above rest on it."""
    import urllib.error
    import urllib.request

    aws_server.reset()
    aws_server.logs.create_log_group(logGroupName="g")
    aws_server.logs.create_log_stream(logGroupName="g", logStreamName="s")
    now = int(time.time() * 1000)

    def put(events, body=None, encoding=None):
        call = {"logGroupName": "g", "logStreamName": "s", "logEvents": events}
        headers = {
            "x-amz-target": "Logs_20140328.PutLogEvents", "content-type": "application/x-amz-json-1.1",
            "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/logs/aws4_request",
        } | ({"content-encoding": encoding} if encoding else {})
        request = urllib.request.Request(aws_server.endpoint, body or json.dumps(call).encode(), headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return json.loads(error.read())["message"]

    def event(message="m", stamp=now):
        return {"message": message, "timestamp": stamp}

    assert put([event()]) == 200
    assert put([event("m" * (1_048_576 - 26))]) == 200
    assert put([event()] * 10_000) == 200
    assert put([event(stamp=now - 24 * 3600 * 1000), event()]) == 200
    member = gzip.compress(json.dumps({"logGroupName": "g", "logStreamName": "s", "logEvents": [event()]}).encode())
    assert put(None, member, "gzip") == 200
    refused = [
        put([]), put([event()] * 10_001), put([event("")]), put([event("m" * 1_048_551)]),
        put([event("\u20ac" * 349_520)]), put([event(stamp=now), event(stamp=now - 1)]),
        put([event(stamp=now - 24 * 3600 * 1000 - 1), event()]), put([event(stamp=-1)]),
        put(None, member + member, "gzip"), put(None, member[:-3], "gzip"), put(None, b"{}", "gzip"),
    ]
    assert [r for r in refused if r == 200] == [] and len(aws_server.checker.refusals) == len(refused), refused
