"""S3 and CloudWatch Logs that fail in every way they can: what fails for a while is repeated until it is there, each object
once, and the one that works is not harmed by the one that does not."""

import pytest
from harness.router import eventually

from .rig import Rig

SLOW = {"delay": 1.0, "chance": 0.5}
CASES = {
    "S3 down": [("s3", "cut")],
    "CloudWatch Logs down": [("logs", "cut")],
    "both throttle": [("*", "throttle", {"chance": 0.8})],
    "both answer 500": [("s3", "internal"), ("logs", "unavailable")],
    "both slow": [("*", "slow", SLOW)],
    "requests read slowly": [("*", "sip", {"delay": 0.8, "chance": 0.7})],
    "answers come byte by byte": [("*", "dribble", {"chance": 0.5})],
    "requests cut in the middle": [("*", "cut", {"chance": 0.7})],
    "S3's answers lost after it took the request": [("s3", "cut_after", {"chance": 0.7})],
    "answers cut in the middle": [("s3", "truncated", {"chance": 0.5})],
    "no answer at all": [("*", "silent", {"chance": 0.3})],
    "credentials expired": [("*", "expired")],
    "permissions missing": [("*", "denied")],
    "everything at once": [
        ("*", kind, {"chance": 0.1, "delay": 0.2}) for kind in ("cut", "throttle", "slow", "sip", "silent", "dribble")
    ] + [("s3", "cut_after", {"chance": 0.2})],
}


def patient(rig):
    """Attempts end soon, so that silence is no longer than the test."""
    for sink in rig.config["sinks"].values():
        sink["retry"] |= {"attempt_timeout": "1s"}
    return rig


@pytest.mark.parametrize("case", CASES)
def test_faults_that_end(table, form, seed, case):
    with patient(Rig(case, seed)) as rig:
        rig.start()
        rig.sleep(0.2, 0.4)
        rig.fake.break_with(*CASES[case])
        rig.sleep(form.fault_seconds, form.fault_seconds)
        assert rig.fake.report()["injected"], "no fault was met"
        assert rig.router.get("/live")[0] == 200 and rig.router.get("/ready")[0] == 200
        rig.fake.heal()
        rig.rest()
        rig.delivered()
        rig.stop()
        _, report = rig.judge(table, 1)
        if case == "S3's answers lost after it took the request":
            # It did ask again, and the object stands once.
            assert report["s3"]["repeats"] + report["s3"]["precondition_failed"] > 0, report


@pytest.mark.parametrize("down, other", [("s3", "alerts"), ("logs", "archive")])
def test_the_other_sink_goes_on(table, form, seed, down, other):
    """All of what came while one is down is in the other before the first is back."""
    with Rig(f"{down} down, all of it in {other} meanwhile", seed) as rig:
        rig.fake.break_with((down, "unavailable"))
        rig.start()
        rig.sleep(form.fault_seconds, form.fault_seconds)
        sent = rig.rest()
        rig.delivered([other])
        dead = {"alerts": "archive", "archive": "alerts"}[other]
        assert rig.router.sink(other, "delivered") == (sent["errors"] if other == "alerts" else sent["records"])
        assert rig.router.sink(dead, "delivered") == 0 and rig.router.sink(dead, "waiting") > 0
        rig.fake.heal()
        rig.delivered()
        rig.stop()
        rig.judge(table, 1)


def test_a_group_name_that_is_refused_costs_only_its_own_records(table, form, seed):
    with Rig("a log group that CloudWatch Logs refuses", seed) as rig:
        rig.fake.break_with(wrong_name="app2")
        rig.start()
        rig.sleep(form.fault_seconds, form.fault_seconds)
        rig.rest()
        rig.delivered()
        dropped = rig.router.ledger()["sinks"]["alerts"]["dropped"]
        rig.stop()
        assert set(dropped) == {"rejected"}, dropped
        records = dropped["rejected"]["records"]
        verdict, _ = rig.judge(table, 1, counted={"cloudwatch_lost": records})
        assert records > 0 and all(sample.startswith("2-") for sample in verdict["samples"]["cloudwatch_lost"]), verdict
        table.figure(f"{rig.case}: its {records} records are counted as `rejected` and stand in S3")


def test_names_that_do_not_resolve(table, form, seed, root):
    """A name server that is gone: the router sees /etc of its own, where the name comes and goes."""
    with Rig("DNS failure", seed) as rig:
        hosts, resolv = rig.place / "hosts", rig.place / "resolv.conf"
        hosts.write_text("127.0.0.1 localhost\n")
        # Nothing listens there: the question is refused at once.
        resolv.write_text("nameserver 127.0.0.1\n")
        for sink in rig.config["sinks"].values():
            sink["endpoint"] = sink["endpoint"].replace("127.0.0.1", "aws.test")
        mounts = f"mount --bind {hosts} /etc/hosts && mount --bind {resolv} /etc/resolv.conf"
        rig.start(wrapper=["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"])
        failures = 'result="unreachable"'
        eventually(lambda: failures in rig.router.get("/metrics")[1], "a failure to resolve")
        rig.sleep(form.fault_seconds, form.fault_seconds)
        assert rig.router.sink("archive", "delivered") == 0
        with hosts.open("a") as file:
            file.write("127.0.0.1 aws.test\n")
        rig.rest()
        rig.delivered()
        rig.stop()
        rig.judge(table, 1)
