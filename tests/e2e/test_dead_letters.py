"""What cannot be delivered or read: where it goes, what of it is kept, and that the books add up."""

import base64
import json
import time

import pytest
from harness import forward as fwd
from harness import objects
from harness.aws import logs_sink, s3_sink
from harness.forward import Peer, Time
from harness.router import eventually, logweir

TASK = "0123456789abcdef0123456789abcdef"
TAG = f"app-firelens-{TASK}"
DAY = 86_400
MIB = 1_048_576


def letters_in(stored, prefix="dead-letters/dt="):
    return objects.all_records({key: body for key, body in stored.items() if key.startswith(prefix)})


def records_in(stored):
    return objects.all_records({key: body for key, body in stored.items() if not key.startswith("dead-letters/")})


def alerting(config, aws, alerts=None, archive=None, **more):
    """Everything to CloudWatch Logs, dead letters into S3."""
    sinks = {"alerts": logs_sink(aws, **(alerts or {})), "archive": archive or s3_sink(aws)}
    more = {"routes": [{"name": "rest", "to": ["alerts"]}], "dead_letters": {"to": "archive"}} | more
    return config(sinks=sinks, **{key: value for key, value in more.items() if value is not None})


def send(router, *frames, count=None):
    with Peer(router.address("unix")) as peer:
        peer.send(*frames)
        eventually(lambda: router.received() == (len(frames) if count is None else count), "all records")


def bad_at_its_end(size):
    """A frame whose last value is no msgpack."""
    return b"\x93" + fwd.pack("app") + fwd.pack(int(time.time())) + b"\x82" + fwd.pack("log") + fwd.pack(b"\xff" * size) + fwd.pack("x") + b"\xc1"


def check_copies(ledger, lines, copies, archive="archive"):
    """The sum of what sinks accepted is the copies that the routes made, the dead letters and what was diverted."""
    said = next((line for line in lines if f"of what sink {archive} accepted" in line), "0 0")
    others = sum(int(word) for word in said.split() if word.isdigit())
    assert sum(book["accepted"] for book in ledger.sinks.values()) == copies + others
    return others


def test_what_cloudwatch_refuses_is_kept_with_its_reason_origin_and_bytes(start, config, aws):
    now = int(time.time())
    aws.checker.fault("PutLogEvents", "retention", match="expired")
    router = start(alerting(config, aws))
    old, new = fwd.message(TAG, Time(now - 20 * DAY), {"log": "old \"é\""}), fwd.message(TAG, Time(now + 3 * 3600), {"log": "new"})
    expired = fwd.message("b-firelens-1", Time(now - 5 * DAY), {"log": "expired"})
    send(router, old, new, fwd.message(TAG, Time(now), {"log": "fine"}), expired)
    ledger = router.stop(code=None)
    assert ledger.sinks["alerts"]["reasons"] == {"too_old": 1, "too_new": 1, "expired": 1}
    assert ledger.sinks["archive"]["delivered"] == 3
    assert check_copies(ledger, router.lines, copies=4) == 3
    letters = {letter["reason"]: letter for letter in letters_in(objects.in_bucket(aws.s3, "logs"))}
    assert sorted(letters) == ["expired", "too_new", "too_old"]
    for reason, text, at in [("too_old", "old \"é\"", now - 20 * DAY), ("too_new", "new", now + 3 * 3600)]:
        letter = letters[reason]
        assert json.loads(letter["data"])["log"] == text
        assert (letter["sink"], letter["log_group"], letter["log_stream"]) == ("alerts", "/ecs/app", f"app/{TASK}")
        assert (letter["record_time"], letter["encoding"]) == (str(Time(at)), "utf8")
    assert letters["expired"]["log_stream"] == "b/1"


def test_an_oversize_event_is_split_into_pieces_that_together_are_the_message(start, config, aws):
    text = "é\"\\\n" * 900_000
    router = start(alerting(config, aws, alerts={"message": "log"}, dead_letters=None))
    send(router, fwd.message(TAG, Time(int(time.time())), {"log": text}))
    ledger = router.stop()
    assert ledger.sinks["alerts"]["delivered"] == 1
    events = aws.events("/ecs/app", f"app/{TASK}")
    assert len(events) > 3 and len({event["timestamp"] for event in events}) == 1
    assert "".join(event["message"] for event in events) == text


def test_an_oversize_event_is_cut_with_a_mark_if_asked(start, config, aws):
    router = start(alerting(config, aws, alerts={"message": "log", "oversize": "truncate"}))
    send(router, fwd.message(TAG, Time(int(time.time())), {"log": "x" * 2 * MIB}))
    ledger = router.stop()
    assert (ledger.sinks["alerts"]["delivered"], ledger.sinks["archive"]["accepted"]) == (1, 0)
    [event] = aws.events("/ecs/app", f"app/{TASK}")
    assert event["message"].endswith("x…[truncated]") and len(event["message"].encode()) == MIB - 26


def test_an_oversize_event_goes_whole_to_the_dead_letters_if_asked(start, config, aws):
    text = "é\"\\\n" * 900_000
    router = start(alerting(config, aws, alerts={"message": "log", "oversize": "divert"}))
    now = int(time.time())
    send(router, fwd.message(TAG, Time(now), {"log": text}), fwd.message(TAG, Time(now), {"log": "short"}))
    ledger = router.stop(code=None)
    assert (ledger.sinks["alerts"]["delivered"], ledger.sinks["alerts"]["reasons"]) == (1, {"too_large": 1})
    [letter] = letters_in(objects.in_bucket(aws.s3, "logs"))
    assert (letter["reason"], letter["data"]) == ("too_large", text)


def test_what_is_given_up_after_the_deadline_is_kept_record_by_record(start, config, aws, file_sink, place):
    """An S3 that is down, dead letters on the disk; without dead letters in the way of later records."""
    retry = {"initial": "50ms", "max": "200ms", "attempt_timeout": "5s", "deadline": "1s"}
    sinks = {"archive": s3_sink(aws, retry=retry, object={"age": "1s"}), "local": file_sink(compression={"gzip": 6})}
    router = start(config(sinks=sinks, dead_letters={"to": "local", "prefix": "dead-letters/dt=%Y/"}))
    fault = aws.checker.fault("s3", "unavailable", times=None)
    now = int(time.time())
    frames = [fwd.message(TAG, Time(now, n), {"log": f"line \"{n}\" é", "n": n}) for n in range(500)]
    send(router, *frames)
    eventually(lambda: router.ledger()["sinks"]["archive"]["dropped"], "the archive to give up")
    aws.checker.lift(fault)
    send(router, fwd.message(TAG, Time(now), {"n": 500}), count=501)
    eventually(lambda: router.sink("archive", "delivered") == 1, "what comes later")
    ledger = router.stop(code=None)
    assert ledger.sinks["archive"]["reasons"] == {"retry_deadline": 500}
    assert check_copies(ledger, router.lines, copies=501, archive="local") == 500
    letters = letters_in(objects.in_directory(place / "out"), "dead-letters/dt=")
    assert {(letter["reason"], letter["sink"]) for letter in letters} == {("retry_deadline", "archive")}
    assert letters[0]["prefix"].startswith("logs/service=app/dt=")
    kept = [json.loads(letter["data"]) for letter in letters]
    assert [(record["n"], record["log"]) for record in kept] == [(n, f"line \"{n}\" é") for n in range(500)]


def test_letters_that_are_left_in_the_drain_find_their_sink(start, config, aws, file_sink, place):
    """The sink of the dead letters has nothing to do and could end at once; the other one gives up later."""
    retry = {"initial": "50ms", "max": "200ms", "attempt_timeout": "5s", "deadline": "2s"}
    router = start(alerting(config, aws, alerts={"retry": retry}, archive=file_sink()))
    aws.checker.fault("logs", "unavailable", times=None)
    send(router, *[fwd.message(TAG, Time(int(time.time()), n), {"n": n}) for n in range(10)])
    ledger = router.stop(code=1)
    assert ledger.sinks["alerts"]["reasons"] == {"retry_deadline": 10}
    assert (ledger.sinks["archive"]["accepted"], ledger.sinks["archive"]["delivered"]) == (10, 10)
    assert len(letters_in(objects.in_directory(place / "out"))) == 10


def test_what_cannot_be_read_is_kept_with_its_peer(start, config, place):
    router = start(config(dead_letters={"to": "archive"}))
    text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    broken = bad_at_its_end(100_000)
    compressed = fwd.compressed("app", [(Time(1), {"log": "x"})], "gzip").replace(b"\x1f\x8b\x08", b"\x1f\x8b\x09")
    for frame in (text, broken, compressed):
        with Peer(router.address("tcp")) as peer:
            peer.send(frame)
            assert peer.closed_by_router()
    no_map = fwd.forward("app", [(Time(int(time.time())), [1, 2]), (Time(int(time.time())), {"log": "good"})])
    send(router, no_map, count=2)
    ledger = router.stop()
    assert ledger.sources["forward"]["reasons"] == {"not_a_map": 1}
    assert check_copies(ledger, router.lines, copies=1) == 4
    letters = letters_in(objects.in_directory(place / "out"))
    assert [letter["reason"] for letter in letters] == ["not_a_frame", "malformed_msgpack", "bad_compression", "not_a_map"]
    assert all(letter["source"] == "forward" for letter in letters)
    assert letters[0]["data"].encode() == text and letters[0]["peer"].startswith("127.0.0.1:")
    assert base64.b64decode(letters[1]["data"]) == broken[: 64 << 10] and letters[1]["data_len"] > 100_000
    assert base64.b64decode(letters[2]["data"]) == compressed
    assert (base64.b64decode(letters[3]["data"]) if letters[3]["encoding"] == "base64" else letters[3]["data"].encode()) == b"\x92\x01\x02"
    assert letters[3]["peer"] == "unix"
    assert [record["log"] for record in records_in(objects.in_directory(place / "out"))] == ["good"]


def test_hostile_bytes_cannot_fill_the_archive(start, config, place):
    router = start(config(dead_letters={"to": "archive"}))
    attack = bad_at_its_end(60_000)
    for _ in range(100):
        with Peer(router.address("tcp")) as peer:
            try:
                peer.send(attack)
                peer.closed_by_router()
            except OSError:
                pass
    metrics = router.get("/metrics")[1]
    assert 'logweir_events_total{component="forward",kind="undecodable_not_kept"}' in metrics
    router.stop()
    kept = letters_in(objects.in_directory(place / "out"))
    # A megabyte at once; what is permitted a second is far less than this test sends.
    assert 1 <= len(kept) < 100


def test_a_full_sink_diverts_and_every_record_stands_once(start, config, aws):
    made = alerting(
        config, aws, memory="32MiB", alerts={"when_full": {"divert": "archive"}, "message": "log"}, dead_letters=None
    )
    router = start(made)
    fault = aws.checker.fault("logs", "unavailable", times=None)
    now = int(time.time())
    texts = [f"{n} " + "x" * 20_000 for n in range(1000)]
    with Peer(router.address("tcp")) as peer:
        for n, text in enumerate(texts):
            peer.send(fwd.message(TAG, Time(now, n), {"log": text}, {"chunk": str(n)}))
            assert peer.ack() == str(n).encode()
    book = router.ledger()["sinks"]
    assert book["alerts"]["dropped"]["diverted"]["records"] == book["archive"]["of_which"]["diverted"]["records"] > 0
    aws.checker.lift(fault)
    eventually(lambda: router.sink("alerts", "waiting") == 0, "the alerts")
    ledger = router.stop()
    diverted = check_copies(ledger, router.lines, copies=1000)
    assert ledger.sinks["alerts"]["delivered"] == 1000 - diverted
    watched = [event["message"] for event in aws.events("/ecs/app", f"app/{TASK}")]
    archived = [record["log"] for record in records_in(objects.in_bucket(aws.s3, "logs"))]
    assert len(archived) == diverted and sorted(watched + archived) == sorted(texts)


def test_without_dead_letters_what_is_refused_is_counted_as_ever(start, config, aws):
    router = start(alerting(config, aws, dead_letters=None))
    send(router, fwd.message(TAG, Time(int(time.time()) - 20 * DAY), {"log": "old"}))
    ledger = router.stop(code=None)
    assert ledger.sinks["alerts"]["reasons"] == {"too_old": 1} and ledger.sinks["archive"]["accepted"] == 0
    assert objects.in_bucket(aws.s3, "logs") == {}


@pytest.fixture
def given_up(start, config, aws, file_sink, place):
    """A router that has left 300 letters of an archive and three of others on the disk, and is still there."""

    def given_up(letters):
        retry = {"initial": "50ms", "max": "200ms", "attempt_timeout": "5s", "deadline": "1s"}
        archive = s3_sink(aws, retry=retry, object={"age": "1s"})
        alerts = logs_sink(aws, message="log")
        router = start(config(
            sinks={"archive": archive, "alerts": alerts, "letters": letters},
            routes=[{"name": "old", "when": 'log == "old"', "to": ["alerts"]}, {"name": "rest", "to": ["archive"]}],
            dead_letters={"to": "letters"},
        ))
        fault = aws.checker.fault("PutObject", "unavailable", times=None, match="/logs/logs/")
        now = int(time.time())
        frames = [fwd.message(TAG, Time(now, n), {"log": json.dumps({"n": n}), "big": 1.5}) for n in range(300)]
        frames += [fwd.message(TAG, Time(now - 20 * DAY, n), {"log": "old"}) for n in range(2)]
        frames += [fwd.forward(TAG, [(Time(now), "no map")])]
        send(router, *frames)
        eventually(lambda: router.sink("letters", "delivered") == 303, "the letters")
        aws.checker.lift(fault)
        return router

    return given_up


@pytest.mark.parametrize("kind", ["file", "s3"])
@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_dead_letters_are_listed_shown_and_sent_again(given_up, aws, file_sink, place, kind, compression):
    more = {"compression": compression, "object": {"age": "1s"}}
    router = given_up(file_sink(**more) if kind == "file" else s3_sink(aws, **more))
    config = ("--config", router.config_path)
    where = str(place / "out") if kind == "file" else "s3://logs/dead-letters/"
    env = {} if kind == "file" else {"AWS_ENDPOINT_URL": aws.endpoint}

    def run(*args, code=0, **more):
        answer = logweir("deadletter", *args, **more)
        assert answer.returncode == code, answer.stderr
        return answer

    table = run("ls", *config).stdout
    rows = [line.split()[:3] for line in table.splitlines()[1:]]
    assert rows == [["alerts", "too_old", "2"], ["archive", "retry_deadline", "300"], ["forward", "not_a_map", "1"]]
    assert run("ls", where, env=env).stdout == table
    assert "no dead letters" in run("ls", *config, "--reason", "expired").stdout
    assert "no dead letters" in run("ls", *config, "--since", "2099-01-01T00:00:00Z").stdout
    assert run("ls", *config, "--since", "1h").stdout == table
    shown = run("show", *config, "--sink", "archive", "--limit", "7").stdout.splitlines()
    assert [json.loads(json.loads(line)["data"])["log"]["n"] for line in shown] == list(range(7))

    dry = run("retry", *config, "--dry-run").stdout
    assert "would send 302 records" in dry and "passed over 1 that are no records: not_a_map 1" in dry
    assert router.received() == 303
    again = run("retry", *config, "--reason", "retry_deadline").stdout
    assert "sent 300 records" in again and "300 confirmed" in again
    to = router.address("tcp")
    assert "1 confirmed" not in run("retry", where, "--to", to, "--sink", "forward", env=env).stdout
    eventually(lambda: router.sink("archive", "delivered") == 300, "what was sent again")
    assert run("ls", *config).stdout == table, "nothing is deleted"
    router.stop(code=None)
    stored = [r for key, body in objects.in_bucket(aws.s3, "logs").items() if key.startswith("logs/") for r in objects.records(key, body)]
    assert [record["log"]["n"] for record in stored] == list(range(300))
    assert all(record["tag"] == TAG and record["big"] == 1.5 and "record_time" not in record for record in stored)


def test_a_retry_says_what_is_missing(place):
    (place / "a.ndjson").write_text('{"time":"2026-01-01T00:00:00.000000000Z","reason":"too_old","sink":"s","encoding":"utf8","data":"x"}\n')
    answer = logweir("deadletter", "retry", place)
    assert answer.returncode == 64 and "--to" in answer.stderr
    answer = logweir("deadletter", "retry", place, "--to", "http://x")
    assert answer.returncode == 64 and "unix:///path" in answer.stderr
    answer = logweir("deadletter", "retry", place, "--to", f"unix://{place}/none.sock")
    assert answer.returncode == 1 and "is the router running?" in answer.stderr
    answer = logweir("deadletter", "ls", "--since", "never", place)
    assert answer.returncode == 64 and "--since" in answer.stderr
    answer = logweir("deadletter", "ls", place / "nowhere")
    assert answer.returncode == 1 and "nowhere" in answer.stderr
