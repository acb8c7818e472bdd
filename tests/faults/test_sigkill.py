"""SIGKILL at any moment: in the start, under load, with uploads under way, in the drain. Then another life.

Chunks that ask for acks are lost in no moment, and none is there more often than it was sent. What was sent without acks
is lost only if it was sent within WINDOW before a kill. `ack` is left at its default, which is durable with a spool.
"""

import time

import pytest

from .rig import Rig

# A block is written a second after its first record at the latest; the rest is a busy machine's.
WINDOW = 3.0
# S3 and CloudWatch Logs as they are on a bad day: so uploads are under way when the kill comes, and answers get lost.
BAD_DAY = (
    ("PutObject", "slow", {"chance": 0.2, "delay": 0.3}), ("UploadPart", "slow", {"chance": 0.2, "delay": 0.3}),
    ("CompleteMultipartUpload", "cut_after", {"chance": 0.1}), ("*", "cut_after", {"chance": 0.05}),
    ("*", "cut", {"chance": 0.05}), ("*", "throttle", {"chance": 0.05}),
)
SMALL = {
    "archive": {"object": {"size": "256KiB", "age": "1s"}},
    "oracle": {"rate": 1e6},
}
# Above 8 MiB: uploads in parts.
LARGE = {
    "archive": {"object": {"size": "20MiB", "age": "4s"}, "compression": "none"},
    "oracle": {"rate": 16e6, "sizes": [2000, 8000], "modes": ["packed", "forward"], "connections": 2},
}
# As much as a connection takes, half of the connections without acks: does WINDOW hold there too?
FAST = LARGE | {"oracle": LARGE["oracle"] | {"modes": ["packed", "docker"]}}


@pytest.mark.parametrize("case, share, size", [
    ("SIGKILL", 0.8, SMALL), ("SIGKILL, objects in parts", 0.2, LARGE), ("SIGKILL at full speed", 0.08, FAST),
])
def test_killed_at_any_moment(table, form, seed, case, share, size):
    kills = round(form.kills * share)
    with Rig(case, seed, **size) as rig:
        rig.config["spool"] = {"path": str(rig.place / "spool"), "size": "1GiB"}
        rig.fake.break_with(*BAD_DAY)
        for n in range(kills):
            live(rig, n)
            begun = time.monotonic()
            dead = rig.kill()
            rig.oracle.ask("excuse", since=begun - WINDOW, until=dead)
        rig.start()
        rig.rest()
        rig.fake.heal()
        rig.delivered()
        rig.stop()
        # What was delivered is out of the spool: one more life finds nothing to do.
        before = rig.fake.report()["requests"]
        rig.start()
        rig.stop()
        assert rig.fake.report()["requests"] == before
        _, report = rig.judge(table, kills)
        # A few short lives may meet no bad luck.
        assert report["injected"] or kills < 10, report
        s3 = report["s3"]
        if size is LARGE:
            assert s3["multipart_objects"] > 0, report
        table.figure(f"{case}: {s3['objects']:,} objects, {s3['multipart_objects']:,} of them in parts; written again with the "
                     f"same bytes {s3['repeats']:,}, refused as there already {s3['precondition_failed']:,}; "
                     f"{s3['open_uploads']:,} uploads left open")


def live(rig, n):
    """One life up to the moment of its kill."""
    moment = rig.random.choice(("start", "flow", "flow", "flow", "drain"))
    if n % 6 == 5:
        # Long enough for the promise to records without acks to say something.
        moment = "long"
    if moment == "start":
        rig.spawn()
        rig.sleep(0, 0.2)
        return
    rig.start()
    rig.oracle.ask("resume")
    rig.sleep(*((WINDOW + 0.5, WINDOW + 2) if moment == "long" else (0.02, 1.5)))
    if moment == "drain":
        rig.router.signal()
        rig.sleep(0, 0.4)
