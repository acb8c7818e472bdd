"""The spool's disk fails: full, over its quota, read-only, an error of fsync. The router goes on from memory, says so in
`/metrics`, and is durable again without a restart when the disk is. Real file systems and real errors; wants root."""

import contextlib
import shutil
import subprocess
import time

import pytest
from harness.router import eventually

from .rig import Rig


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def tmpfs(path, size):
    path.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield
    finally:
        run("umount", "--lazy", str(path))


class Full:
    """A file system that has room for the spool, until somebody else takes the rest of it."""

    size = "64MiB"
    # Whether records are still taken, into memory, while the disk takes none.
    goes_on = True

    def __init__(self, rig, spool):
        self.spool, self.stack = spool, contextlib.ExitStack()

    def prepare(self):
        self.stack.enter_context(tmpfs(self.spool, "80m"))

    def fail(self):
        with open(self.spool / "somebody-else", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    def repair(self):
        (self.spool / "somebody-else").unlink()

    def end(self):
        self.stack.close()


class Quota(Full):
    """The spool's own bound; `when_full: block` holds the senders up."""

    size = "32MiB"
    goes_on = False

    def prepare(self):
        self.spool.mkdir()

    def fail(self):
        pass

    def repair(self):
        pass


class ReadOnly(Full):
    """A read-only mount over the directory: what is open stays so, no segment can be begun."""

    def prepare(self):
        self.spool.mkdir()

    def fail(self):
        run("mount", "--bind", str(self.spool), str(self.spool))
        run("mount", "-o", "remount,bind,ro", str(self.spool))

    def repair(self):
        run("umount", "--lazy", str(self.spool))

    def end(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.repair()


class BrokenSync(Full):
    """Every fsync answers EIO, as a disk does whose blocks cannot be written."""

    def __init__(self, rig, spool):
        super().__init__(rig, spool)
        self.rig, self.strace = rig, None

    def prepare(self):
        self.spool.mkdir()

    def fail(self):
        calls = "fsync,fdatasync,sync_file_range,msync"
        self.strace = subprocess.Popen(
            ["strace", "-f", "-qq", "-p", str(self.rig.router.process.pid), "-o", str(self.rig.place / "strace"),
             "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"],
        )
        seen = self.rig.place / "strace"
        eventually(lambda: seen.exists() and "(INJECTED)" in seen.read_text(), "an fsync to fail")

    def repair(self):
        self.strace.terminate()
        self.strace.wait()

    def end(self):
        if self.strace and self.strace.poll() is None:
            self.repair()


FAULTS = {"disk full": Full, "quota reached": Quota, "read-only": ReadOnly, "EIO of fsync": BrokenSync}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_disk_fails_and_comes_back(table, form, seed, root, fault):
    # Enough for a segment to end within the fault's time, whatever the disk.
    oracle, archive = {"rate": 16e6, "sizes": [500, 4000], "connections": 4}, {"compression": "none"}
    with Rig(f"spool: {fault}", seed, oracle, archive=archive) as rig:
        spool = rig.place / "spool"
        disk = FAULTS[fault](rig, spool)
        rig.config["spool"] = {"path": str(spool), "size": disk.size}
        disk.prepare()
        try:
            rig.start()
            rig.sleep(0.5, 1)
            # Both sinks are down, so that what comes has to be kept.
            rig.fake.break_with(("*", "unavailable"))
            disk.fail()
            eventually(lambda: trouble(rig), "/metrics to tell of it")
            before = rig.router.received()
            time.sleep(form.fault_seconds)
            if disk.goes_on:
                eventually(lambda: rig.router.received() > before, "it to go on from memory")
            assert rig.router.get("/live")[0] == 200, rig.router.stderr
            disk.repair()
            rig.fake.heal()
            rig.rest()
            rig.delivered()
            eventually(lambda: not trouble(rig), "the spool to be well")
            # Durable again: what is acked from here on outlives a kill.
            rig.oracle.ask("resume")
            rig.sleep(1, 1)
            rig.rest()
            rig.fake.break_with(("*", "unavailable"))
            rig.oracle.ask("resume")
            rig.sleep(1, 1)
            begun = time.monotonic()
            rig.oracle.ask("excuse", since=begun - 3, until=rig.kill())
            rig.fake.heal()
            rig.start()
            rig.oracle.ask("resume")
            rig.rest()
            rig.delivered()
            rig.stop()
            rig.judge(table, 1)
        finally:
            disk.end()
            shutil.rmtree(spool, ignore_errors=True)


def trouble(rig):
    """What `/metrics` tells of a spool that does not take what comes."""
    lines = rig.router.get("/metrics")[1].splitlines()
    return [x for x in lines if x.startswith(("logweir_spool_failing{", "logweir_spool_full{")) and float(x.split()[-1])]
