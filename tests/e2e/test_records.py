"""What a record becomes: JSON in `log`, Docker's parts, odd values, names of objects."""

import json

import pytest
from harness import forward as fwd
from harness import objects
from harness.forward import Peer, Time
from harness.router import eventually

START = 1_790_000_000
TIME = str(Time(START))
TAG = "app-firelens-0123456789abcdef"


def route(router, place, *records, expect=None, tag=TAG):
    """Sends records, stops the router, gives back what was stored."""
    with Peer(router.address("unix")) as peer:
        peer.send(*(fwd.message(tag, Time(START), record) for record in records))
        eventually(lambda: router.received() == (len(records) if expect is None else expect), "all records")
    router.stop()
    return objects.all_records(objects.in_directory(place / "out"))


JSON_LOG = '{"level":"INFO","big":12345678901234567890,"f":1.50,"tag":"inner","a":{"b":[1,null]}}'


@pytest.mark.parametrize("mode", ["nest", "lift", "raw"])
def test_json_in_log_is_nested_lifted_or_kept(start, config, file_sink, place, mode):
    router = start(config(sinks={"archive": file_sink(log_json=mode, compression="none")}))
    [json_line, text_line, not_quite] = route(
        router, place, {"log": JSON_LOG, "source": "stdout"}, {"log": "plain"}, {"log": '{"a":1} trailing'}
    )
    inner = json.loads(JSON_LOG)
    if mode == "nest":
        assert json_line == {"time": TIME, "tag": TAG, "log": inner, "source": "stdout"}
    elif mode == "raw":
        assert json_line == {"time": TIME, "tag": TAG, "log": JSON_LOG, "source": "stdout"}
    else:
        lifted = {k: json_line[k] for k in ("level", "big", "f", "a")}
        assert lifted == {k: inner[k] for k in lifted}
        assert (json_line["time"], json_line["tag"], json_line["source"]) == (TIME, TAG, "stdout")
    assert text_line == {"time": TIME, "tag": TAG, "log": "plain"}
    assert not_quite == {"time": TIME, "tag": TAG, "log": '{"a":1} trailing'}
    # Digits are kept as they were written.
    text = b"".join(objects.in_directory(place / "out").values())
    assert b"12345678901234567890" in text and b"1.50" in text


def part(identity, ordinal, last, log, **more):
    marks = {
        "partial_message": "true", "partial_id": identity, "partial_ordinal": str(ordinal),
        "partial_last": "true" if last else "false",
    }
    return {"log": log, "container_id": "c" * 64, "source": "stdout"} | marks | more


def test_parts_of_a_long_line_are_joined(start, config, place):
    router = start(config())
    pieces = [character * 16384 for character in "abcd"]
    parts = [part("1" * 64, n + 1, n == 3, piece) for n, piece in enumerate(pieces)]
    others = [part("2" * 64, n + 1, n == 1, text, source="stderr") for n, text in enumerate(("err", "or"))]
    # Parts of two streams interleave, and those of one come in any order.
    stream = [parts[0], others[0], parts[2], parts[1], others[1], {"log": "short"}, parts[3]]
    stored = route(router, place, *stream, expect=3)
    assert sorted(r["log"] for r in stored) == sorted(["".join(pieces), "error", "short"])
    assert not [key for record in stored for key in record if key.startswith("partial_")]


def test_a_line_whose_last_part_never_comes_is_let_go(start, config, place):
    made = config()
    made["sources"]["forward"]["join"] = {"timeout": "100ms"}
    router = start(made)
    with Peer(router.address("unix")) as peer:
        # What Docker sends for output without a newline at its end.
        peer.send(fwd.message(TAG, Time(START), part("3" * 64, 1, False, "no newline")))
        eventually(lambda: router.received() == 1, "the tail")
    router.stop()
    [record] = objects.all_records(objects.in_directory(place / "out"))
    assert record["log"] == "no newline"


def test_a_tail_is_not_lost_when_the_router_drains(start, config, place):
    made = config()
    made["sources"]["forward"]["join"] = {"timeout": "1h"}
    router = start(made)
    with Peer(router.address("unix")) as peer:
        peer.send(fwd.message(TAG, Time(START), part("3" * 64, 1, False, "tail")))
    router.stop()
    [record] = objects.all_records(objects.in_directory(place / "out"))
    assert record["log"] == "tail"


def test_odd_values_never_make_an_invalid_line(start, config, file_sink, place):
    router = start(config(sinks={"archive": file_sink(compression="none")}))
    odd = {
        "log": "bytes \udcff\udcfe here",
        "bin": b"\x00\xff",
        "control": "\x00\x1f\"\\\u2028",
        "nan": float("nan"),
        "inf": float("inf"),
        "huge": 2**64 - 1,
        "small": -(2**63),
        "none": None,
        "list": [True, {"deep": 1}],
        "": "empty key",
        "time": "mine",
        "tag": "mine too",
    }
    [record] = route(router, place, odd)
    assert record["log"] == "bytes \ufffd\ufffd here"
    assert record["control"] == odd["control"]
    assert (record["huge"], record["small"]) == (2**64 - 1, -(2**63))
    assert record["none"] is None and record["list"] == [True, {"deep": 1}] and record[""] == "empty key"
    assert (record["time"], record["tag"]) == (TIME, TAG)
    assert (record["record_time"], record["record_tag"]) == ("mine", "mine too")
    [line] = b"".join(objects.in_directory(place / "out").values()).splitlines()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_objects_are_named_by_container_and_hour_and_never_leave_their_directory(start, config, file_sink, place):
    import re
    import time

    now = int(time.time())
    router = start(config(sinks={"archive": file_sink(prefix="logs/service={container}/who={user.name}/dt=%Y-%m-%d/hour=%H/")}))
    tags = [TAG, "../../etc-firelens-1", "web-firelens-2", "no task"]
    with Peer(router.address("unix")) as peer:
        for tag in tags:
            for user in ("../x", "..", "a/b", "ok", "nul\0", ""):
                peer.send(fwd.message(tag, Time(now), {"log": "x", "user": {"name": user}}))
        eventually(lambda: router.received() == 24, "all records")
    router.stop()
    keys = list(objects.in_directory(place / "out"))
    shape = r"logs/service=[^/]+/who=[^/]+/dt=\d{4}-\d\d-\d\d/hour=\d\d/[^/]+\.(ndjson|json|jsonl)?\.?zst"
    assert [key for key in keys if not re.fullmatch(shape, key)] == []
    assert {key.split("/")[1] for key in keys} >= {"service=app", "service=web", "service=unknown"}
    assert sum(len(objects.records(k, b)) for k, b in objects.in_directory(place / "out").items()) == 24
    assert sorted(p.name for p in place.iterdir() if p.name != "fluent.sock") == ["out", "router.yaml"]


def test_stdout_gets_the_records_as_lines(start, config, place):
    router = start(config(routes=[{"to": ["lines"]}], sinks={"lines": {"type": "stdout"}}))
    with Peer(router.address("unix")) as peer:
        peer.send(*(fwd.message(TAG, Time(START), {"log": f"line {n}"}) for n in range(100)))
        eventually(lambda: router.received() == 100, "all records")
    router.stop()
    assert [json.loads(line)["log"] for line in router.stdout_lines] == [f"line {n}" for n in range(100)]


def test_a_record_without_a_sink_is_counted_as_dropped_by_its_route(start, config, place):
    routes = [
        {"name": "health-checks", "when": 'log.path == "/healthz" && log.status == 200', "to": []},
        {"name": "copied", "when": "level >= ERROR", "to": ["errors"], "continue": True},
        {"name": "rest", "to": ["archive"]},
    ]
    sinks = {name: {"type": "file", "path": f"{place}/{name}", "prefix": ""} for name in ("archive", "errors")}
    router = start(config(routes=routes, sinks=sinks))
    with Peer(router.address("unix")) as peer:
        for n in range(10):
            peer.send(fwd.message(TAG, Time(START), {"log": '{"path":"/healthz","status":200}'}))
            peer.send(fwd.message(TAG, Time(START), {"log": '{"path":"/healthz","status":500,"level":"error"}'}))
            peer.send(fwd.message(TAG, Time(START), {"log": "ERROR something"}))
            peer.send(fwd.message(TAG, Time(START), {"log": "fine"}))
        eventually(lambda: router.received() == 40, "all records")
    ledger = router.stop()
    assert ledger.sources["forward"]["dropped"] == 10 and ledger.sources["forward"]["routed"] == 30
    assert ledger.sinks["errors"]["delivered"] == 20
    assert ledger.sinks["archive"]["delivered"] == 30


def test_fields_of_the_task_come_from_the_metadata_endpoint(start, config, metadata, place):
    endpoint = metadata()
    router = start(config(metadata="ecs"), env={"ECS_CONTAINER_METADATA_URI_V4": endpoint.uri})
    [plain, own] = route(router, place, {"log": "x"}, {"log": "y", "ecs_cluster": "mine"})
    assert plain == {
        "time": TIME, "tag": TAG, "log": "x", "ecs_cluster": "production",
        "ecs_task_arn": "arn:aws:ecs:us-west-2:111122223333:task/production/158d1c8083dd49d6b527399fd6414f5c",
        "ecs_task_definition": "webshop:26",
    }
    assert own["ecs_cluster"] == "mine" and own["ecs_task_definition"] == "webshop:26"


def test_a_metadata_endpoint_that_fails_first_is_asked_again(start, config, metadata):
    endpoint = metadata(failures=2)
    router = start(config(metadata="ecs"), env={"ECS_CONTAINER_METADATA_URI_V4": endpoint.uri})
    eventually(lambda: router.status()["ecs"], "the metadata")
    assert router.status()["ecs"]["task_definition"] == "webshop" and router.status()["ecs"]["revision"] == "26"
    router.stop()
