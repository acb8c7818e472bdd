"""Fixtures: a router that is surely ended, AWS in small for the whole run and empty for each test, configs."""

import os
import tempfile
from pathlib import Path

import pytest

# Before boto3 reads it: no settings of the machine's owner.
for name in [n for n in os.environ if n.startswith("AWS_")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

from harness.aws import Aws  # noqa: E402
from harness.certs import Authority  # noqa: E402
from harness.metadata import Metadata  # noqa: E402
from harness.router import Router  # noqa: E402


@pytest.fixture
def place():
    """A directory with a short name: the path of a unix socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lw") as path:
        yield Path(path)


@pytest.fixture
def start(place):
    """Starts routers and ends those that the test leaves behind."""
    routers = []

    def start(config, **more):
        router = Router(config, place, **more)
        routers.append(router)
        return router.start()

    yield start
    for router in routers:
        if router.process is not None and router.process.poll() is None:
            router.kill()
        # Shown by pytest when the test failed.
        print("\n".join(["router's stderr:", *router.lines[-80:]]))


@pytest.fixture(scope="session")
def aws_server():
    server = Aws()
    yield server
    server.stop()


@pytest.fixture
def aws(aws_server):
    """An empty account; at the end nothing may have been refused that AWS would refuse."""
    aws_server.reset()
    yield aws_server
    assert aws_server.checker.refusals == []


@pytest.fixture
def metadata():
    servers = []

    def serve(**more):
        servers.append(Metadata(**more))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def config(place):
    """A config around routes and sinks: both kinds of sockets, the admin server on a free port, a short drain."""

    def config(routes=None, sinks=None, **more):
        return {
            "sources": {"forward": {"listen": [f"unix://{place}/fluent.sock", "tcp://127.0.0.1:0"]}},
            "routes": routes or [{"name": "rest", "to": ["archive"]}],
            "sinks": sinks or {"archive": file_sink(place)},
            "admin": {"listen": "127.0.0.1:0"},
            "drain": {"timeout": "20s", "quiet": "200ms"},
        } | more

    return config


def file_sink(place, **more):
    return {"type": "file", "path": str(place / "out"), "prefix": "{tag}/"} | more


@pytest.fixture(name="file_sink")
def file_sink_fixture(place):
    return lambda **more: file_sink(place, **more)


@pytest.fixture
def authority(place):
    return Authority(place)


@pytest.fixture
def secured(config, authority):
    """A config that listens with TLS, and in the clear, with what `more` says of the source."""

    def secured(client_ca=None, **more):
        made = config()
        cert, key = authority.issue("router")
        source = made["sources"]["forward"]
        source["listen"] = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
        source["tls"] = {"cert": cert, "key": key, "reload": "50ms"}
        if client_ca:
            source["tls"]["client_ca"] = client_ca
        source |= more
        return made

    return secured
