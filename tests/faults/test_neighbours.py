"""Hostile senders beside well-behaved ones, which must not notice: no cut, no chunk sent twice, nothing lost."""

import random

from e2e.test_hostile import ATTACKS
from harness.forward import Peer

from .rig import Rig


def test_good_senders_do_not_notice_hostile_ones(table, form, seed):
    config = {"memory": "64MiB", "source": {"limits": {"inflated": "8MiB", "frame_time": "2s"}}}
    with Rig("beside hostile senders", seed, **config) as rig:
        rig.start()
        attacks = list(ATTACKS) * form.attacks
        random.Random(seed).shuffle(attacks)
        lingering = []
        for n, attack in enumerate(attacks):
            peer = Peer(rig.addresses[n % 2])
            try:
                peer.send(ATTACKS[attack])
            except OSError:
                pass  # cut off in the middle: its due
            # Some stay, so that others come while they are there.
            lingering.append(peer)
            rig.sleep(0, 0.1)
            if len(lingering) > 5:
                lingering.pop(0).close()
        while lingering:
            lingering.pop().close()
        rested = rig.rest()
        assert rested["cuts"] == 0, rested
        rig.stop()
        # What random bytes say to the archive is none of the oracle's records.
        services = {path.name for path in (rig.place / "aws/s3/logs/logs").iterdir()}
        foreign = {name for name in services if not name.startswith("service=app")}
        assert foreign <= {"service=unknown"}, foreign
        verdict, _ = rig.judge(table, len(attacks))
        assert verdict["resent"] == 0, verdict
