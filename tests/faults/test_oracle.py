"""The oracle finds what it is there to find: its verdict over a bucket that somebody has tampered with."""

import json
import shutil

import pytest
import zstandard

from .rig import NEVER, Rig


@pytest.fixture(scope="module")
def rig():
    oracle = {"sizes": [50, 200], "modes": ["packed", "docker"], "connections": 2, "rate": 3e5}
    with Rig("oracle", "1", oracle) as rig:
        rig.start()
        rig.sleep(1.5, 1.5)
        rig.rest()
        rig.stop()
        shutil.copytree(rig.place / "aws", rig.place / "kept")
        yield rig


@pytest.fixture
def aws(rig):
    """What the router wrote, for this test to change."""
    shutil.rmtree(rig.place / "aws")
    shutil.copytree(rig.place / "kept", rig.place / "aws")
    return rig.place / "aws"


def objects(aws, service="app0"):
    return sorted(aws.glob(f"s3/logs/logs/service={service}/**/*.zst"))


def verdict(rig):
    found = rig.oracle.ask("judge", directory=str(rig.place / "aws"))
    return {what for what in (*NEVER, "cloudwatch_duplicates") if found[what]}


def test_an_honest_run_is_spotless(rig, aws):
    assert len(objects(aws)) >= 1 and verdict(rig) == set()


def test_a_missing_object_is_a_loss(rig, aws):
    objects(aws, "app1")[0].unlink()
    assert verdict(rig) == {"lost"}


def test_an_object_twice_is_a_duplicate(rig, aws):
    shutil.copy(objects(aws)[0], objects(aws)[0].with_name("again.ndjson.zst"))
    assert verdict(rig) == {"duplicated"}


def test_an_object_of_another_service_is_misrouted(rig, aws):
    other = aws / "s3/logs/logs/service=app1/x.ndjson.zst"
    objects(aws)[0].rename(other)
    assert verdict(rig) == {"misrouted"}


def test_a_torn_object_is_corrupt(rig, aws):
    path = objects(aws)[0]
    path.write_bytes(path.read_bytes()[:-20])
    assert "corrupted" in verdict(rig)


def test_a_changed_letter_is_corrupt(rig, aws):
    path = objects(aws)[0]
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
    at = text.index(b" #") - 5
    path.write_bytes(zstandard.compress(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]))
    assert verdict(rig) == {"corrupted", "lost"}


def change_events(aws, change):
    path = aws / "logs.jsonl"
    path.write_text("".join(json.dumps(put) + "\n" for put in change([json.loads(x) for x in path.open()])))


def test_a_missing_event_a_doubled_one_and_one_in_a_wrong_group_are_seen(rig, aws):
    change_events(aws, lambda puts: [[g, s, events[1:]] for g, s, events in puts])
    assert verdict(rig) == {"cloudwatch_lost"}
    shutil.copy(rig.place / "kept/logs.jsonl", aws)
    change_events(aws, lambda puts: puts + puts[:1])
    assert verdict(rig) == {"cloudwatch_duplicates"}
    shutil.copy(rig.place / "kept/logs.jsonl", aws)
    change_events(aws, lambda puts: [["/ecs/other", s, events] for _, s, events in puts])
    assert verdict(rig) == {"misrouted"}


def test_an_event_that_is_no_error_is_misrouted(rig, aws):
    """Moved from the archive, where it belongs too."""
    line = zstandard.ZstdDecompressor().stream_reader(objects(aws)[0].read_bytes(), read_across_frames=True).read()
    info = next(x for x in line.decode().splitlines() if '"INFO ' in x)
    change_events(aws, lambda puts: puts + [["/ecs/app0", "s", [{"timestamp": 0, "message": info}]]])
    assert "misrouted" in verdict(rig)
