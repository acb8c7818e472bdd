"""A Docker daemon of the tests' own: its data, socket and pid file lie in a temporary directory, and it is ended by its
pid. It needs root and Debian's `docker.io` and `busybox-static`; no image is pulled."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from harness.router import binary, eventually

ROOT = Path(__file__).parents[2]
CA_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Docker:
    """The `docker` command at our daemon."""

    def __init__(self, directory):
        self.directory = directory
        self.socket = f"unix://{directory}/docker.sock"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        # The builder of the daemon: buildx is another package.
        self.env |= {"DOCKER_HOST": self.socket, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(directory / "client")}

    def __call__(self, *args, check=True, **more):
        done = subprocess.run(
            ["docker", *map(str, args)], capture_output=True, text=True, timeout=120, env=self.env, **more
        )
        assert not check or done.returncode == 0, f"docker {args}: {done.stderr}"
        return done.stdout.strip() if check else done

    def start(self):
        self.log = open(self.directory / "dockerd.log", "w")
        self.process = subprocess.Popen(
            [
                "dockerd", f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec",
                f"--pidfile={self.directory}/pid", f"--host={self.socket}", "--iptables=false", "--ip6tables=false",
                "--bridge=none", "--ip-forward=false", "--ip-masq=false",
            ],
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        eventually(self._up, "the Docker daemon")

    def _up(self):
        assert self.process.poll() is None, (self.directory / "dockerd.log").read_text()[-3000:]
        return self("version", check=False).returncode == 0

    def stop(self):
        if containers := self("ps", "-aq", check=False).stdout.split():
            self("rm", "-f", *containers, check=False)
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
        # The daemon leaves the mounts of its network namespaces behind; nothing could be removed.
        for namespace in (self.directory / "exec" / "netns").glob("*"):
            subprocess.run(["umount", namespace], check=False, capture_output=True)

    def inspect(self, name, template):
        return json.loads(self("inspect", "--format", f"{{{{json {template}}}}}", name))


@pytest.fixture(scope="session")
def docker():
    assert os.geteuid() == 0, "a Docker daemon needs root"
    for program in ("dockerd", "docker", "busybox"):
        assert shutil.which(program), f"{program} is missing: apt-get install docker.io busybox-static"
    with tempfile.TemporaryDirectory(prefix="lwd", ignore_cleanup_errors=True) as path:
        docker = Docker(Path(path))
        docker.start()
        try:
            yield docker
        finally:
            docker.stop()


@pytest.fixture(scope="session")
def busybox(docker):
    """An image with nothing but a shell, packed from the host's static busybox."""
    archive = docker.directory / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in ("sh", "sleep", "head", "tr", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    docker("import", archive, "logweir-busybox")
    return "logweir-busybox"


@pytest.fixture(scope="session")
def image(docker):
    """The image of `docker/Dockerfile`; with LOGWEIR_IMAGE_TAR it is saved there."""
    context = docker.directory / "context"
    context.mkdir()
    shutil.copy(binary(), context / "logweir")
    assert CA_CERTIFICATES.is_file(), "apt-get install ca-certificates"
    shutil.copy(CA_CERTIFICATES, context)
    docker("build", "--tag", "logweir", "--file", ROOT / "docker" / "Dockerfile", context)
    if path := os.environ.get("LOGWEIR_IMAGE_TAR"):
        docker("save", "--output", path, "logweir")
    return "logweir"


@pytest.fixture
def dns():
    from nameserver import Dns

    server = Dns()
    yield server
    server.stop()
