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
SMALL = {"object": {"size": "256KiB", "age": "1s"}}
# Above 8 MiB: uploads in parts.
LARGE = {"object": {"size": "20MiB", "age": "4s"}, "compression": "none"}


@pytest.mark.parametrize("share, archive, rate", [(0.8, SMALL, 1e6), (0.2, LARGE, 8e6)], ids=["small", "parts"])
def test_killed_at_any_moment(table, form, seed, share, archive, rate):
    kills = round(form.kills * share)
    case = "SIGKILL, objects in parts" if archive is LARGE else "SIGKILL"
    oracle = {"rate": rate, "sizes": [20, 600] if archive is SMALL else [1000, 4000]}
    with Rig(case, seed, oracle, archive=archive) as rig:
        rig.config["spool"] = {"path": str(rig.place / "spool"), "size": "1GiB"}
        rig.fake.break_with(*BAD_DAY)
        for n in range(kills):
            live(rig, n, archive)
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
        assert report["injected"], report
        if archive is LARGE:
            assert report["s3"].get("multipart_objects", 0) > 0, report
        table.figure(f"{case}: {report['s3']['objects']:,} objects, {report['s3'].get('multipart_objects', 0):,} of them in "
                     f"parts, {report['s3'].get('repeats', 0) + report['s3'].get('precondition_failed', 0):,} asked for again "
                     f"with the same bytes, {report['s3']['open_uploads']} uploads left open")


def live(rig, n, archive):
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
