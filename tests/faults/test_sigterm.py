"""SIGTERM: what was accepted is delivered, once, and the exit code is 0."""

import time

from .rig import Rig


def test_data_flows_while_it_is_stopped(table, form, seed):
    """Senders rest at some moment of the drain, or never: what is read no more is sent again to the next life."""
    with Rig("SIGTERM while data flows", seed, drain={"timeout": "8s", "quiet": "100ms"}) as rig:
        for n in range(form.terms):
            rig.start()
            rig.oracle.ask("resume")
            rig.sleep(0.05, 1)
            rig.router.signal()
            if n % 5:
                rig.sleep(0, 0.4)
                # Those that wait for acks that do not come any more rest in the next life.
                rig.oracle.ask("pause", patience=1)
            assert rig.router.wait() == 0, "\n".join(rig.router.lines[-20:])
            rig.keep_log()
            if n % 5 == 0:
                # Nothing says to a sender without acks which of its last records nobody read.
                now = time.monotonic()
                rig.oracle.ask("excuse", since=now - 10, until=now)
        rig.start()
        rig.oracle.ask("resume")
        rig.rest()
        rig.stop()
        verdict, _ = rig.judge(table, form.terms)
        assert verdict["cloudwatch_duplicates"] == 0, verdict


def test_an_app_prints_its_lines_and_exits_with_its_router(table, form, seed):
    """No acks, no second try: the app is gone, SIGTERM follows at once, and all lines are there."""
    oracle = {"modes": ["docker"], "connections": 4, "rate": 8e6}
    with Rig("an app prints and exits, then SIGTERM", seed, oracle) as rig:
        for _ in range(form.exits):
            rig.start()
            rig.oracle.ask("resume")
            rig.sleep(0.02, 0.3)
            rig.oracle.ask("pause", patience=10)
            rig.stop()
        verdict, _ = rig.judge(table, form.exits)
        assert verdict["cloudwatch_duplicates"] == verdict["excused"] == 0, verdict
