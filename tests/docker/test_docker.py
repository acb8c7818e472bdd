"""Docker's own fluentd driver, set up as ECS does for FireLens: what real containers print stands, each line once and
whole, in CloudWatch Logs (the errors) and in S3 (everything). Once with the binary on the host, once as image with the
socket's directory mounted at /var/run."""

import collections
import json
import os
import uuid
from pathlib import Path

import pytest
from harness import objects
from harness.aws import logs_sink, s3_sink
from harness.router import Ledger, Router, eventually

# One line a command, so that the list of what must be found stands beside what prints it.
SCRIPT = r"""
i=0
while [ $i -lt 300 ]; do
  if [ $((i % 10)) -eq 0 ]; then echo "ERROR text $i"; else echo "plain text $i"; fi
  i=$((i + 1))
done
i=0
while [ $i -lt 100 ]; do
  if [ $((i % 5)) -eq 0 ]; then level=error; else level=info; fi
  echo "{\"level\":\"$level\",\"n\":$i,\"path\":\"/a b\"}"
  i=$((i + 1))
done
echo "WARN on stderr" >&2
echo "quiet on stderr" >&2
head -c 40000 /dev/zero | tr '\0' x
echo
head -c 16384 /dev/zero | tr '\0' y
echo
printf 'binary \001\377\376\200 end\n'
echo
# The asynchronous driver drops what is queued when the container ends.
sleep 3
"""
# Docker sends a line without newline when the container ends, and only the synchronous driver, which Fargate uses by
# default, is sure to get it out.
TAIL = "printf 'no newline at exit'"
TEXT = [f"ERROR text {i}" if i % 10 == 0 else f"plain text {i}" for i in range(300)]
JSON = [{"level": "error" if i % 5 == 0 else "info", "n": i, "path": "/a b"} for i in range(100)]
STDERR = ["WARN on stderr", "quiet on stderr"]
ODD = ["x" * 40_000, "y" * 16_384, "binary \x01\ufffd\ufffd\ufffd end", ""]
EVERYTHING = TEXT + JSON + STDERR + ODD
WATCHED = [t for t in TEXT if t.startswith("ERROR")] + [j for j in JSON if j["level"] == "error"] + STDERR[:1]


def counted(logs):
    """How often each line stands; long ones shortened to what a failed test can show."""

    def plain(log):
        text = json.dumps(log, sort_keys=True)
        return text if len(text) < 100 else f"{text[:20]}… {len(text)} characters"

    return collections.Counter(map(plain, logs))


def router_config(aws, socket, endpoint=None):
    sinks = {"alerts": logs_sink(aws), "archive": s3_sink(aws)}
    for sink in sinks.values():
        sink["endpoint"] = endpoint or sink["endpoint"]
    return {
        "sources": {"forward": {"listen": [f"unix://{socket}"]}},
        "routes": [
            {"name": "errors", "when": "level >= WARN", "to": ["alerts", "archive"]},
            {"name": "rest", "to": ["archive"]},
        ],
        "sinks": sinks,
        "admin": {"listen": "127.0.0.1:0"},
        "drain": {"timeout": "20s", "quiet": "1s"},
    }


def run_app(docker, busybox, socket, app, script, asynchronous):
    """A container as the ECS agent starts it; its task's id."""
    task = uuid.uuid4().hex
    docker(
        "run", "--detach", f"--name=app-{task}", "--network=none", "--log-driver=fluentd",
        f"--log-opt=fluentd-address=unix://{socket}", "--log-opt=fluentd-sub-second-precision=true",
        f"--log-opt=fluentd-async={asynchronous}", f"--log-opt=tag={app}-firelens-{task}",
        busybox, "/bin/sh", "-c", script,
    )  # fmt: skip
    return task


def run_apps(docker, busybox, socket):
    """Containers side by side, to their ends: by name of the app its task and the lines that it prints."""
    apps = {app: (run_app(docker, busybox, socket, app, SCRIPT, "true"), EVERYTHING) for app in ("app0", "app1")}
    apps["tail"] = (run_app(docker, busybox, socket, "tail", TAIL, "false"), ["no newline at exit"])
    for task, _ in apps.values():
        assert docker("wait", f"app-{task}") == "0"
    return apps


def check_what_came(aws, docker, apps):
    stored = objects.in_bucket(aws.s3, "logs")
    for app, (task, lines) in apps.items():
        records = objects.all_records({k: v for k, v in stored.items() if f"service={app}/" in k})
        assert {r["tag"] for r in records} == {f"{app}-firelens-{task}"}
        assert {r["container_name"] for r in records} == {f"/app-{task}"}
        assert {r["container_id"] for r in records} == {docker.inspect(f"app-{task}", ".Id")}
        assert counted(r["log"] for r in records) == counted(lines)
        assert not [key for r in records for key in r if key.startswith("partial_")]
        if app == "tail":
            continue
        texts = [r["log"] for r in records if r["source"] == "stdout" and r["log"] in TEXT]
        assert texts == TEXT, "the order of a stream is kept"
        assert [r["log"] for r in records if r["source"] == "stderr"] == STDERR
        events = [json.loads(e["message"]) for e in aws.events(f"/ecs/{app}", f"{app}/{task}")]
        assert counted(e["log"] for e in events) == counted(WATCHED)


def check_ledger(ledger, apps):
    count = sum(len(lines) for _, lines in apps.values())
    assert ledger.sources["forward"]["received"] == count
    assert ledger.sinks["archive"]["delivered"] == count
    assert ledger.sinks["alerts"]["delivered"] == 2 * len(WATCHED)


def test_containers_log_through_the_binary_on_the_host(docker, busybox, aws, place):
    with Router(router_config(aws, f"{place}/fluent.sock"), place) as router:
        apps = run_apps(docker, busybox, f"{place}/fluent.sock")
        ledger = router.stop()
    check_what_came(aws, docker, apps)
    check_ledger(ledger, apps)


def start_image(docker, image, sockets, config, *options):
    """The router as FireLens starts it: the socket's directory of the host at /var/run, its YAML in the environment."""
    name = f"router-{uuid.uuid4().hex}"
    env = {
        "LOGWEIR_CONFIG_YAML": json.dumps(config), "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_EC2_METADATA_DISABLED": "true", "LOGWEIR_ADMIN": config["admin"]["listen"],
    }  # fmt: skip
    docker(
        "run", "--detach", f"--name={name}", "--network=host", "--read-only", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", "--memory=128m", f"--volume={sockets}:/var/run", "--health-interval=1s",
        *(f"--env={k}={v}" for k, v in env.items()), *options, image,
    )  # fmt: skip

    def listening():
        assert docker.inspect(name, ".State.Running"), docker("logs", name, check=False).stderr
        return (Path(sockets) / "fluent.sock").exists()

    eventually(listening, "the router's socket")
    return name


def stop_image(docker, name):
    docker("stop", "--time=30", name)
    logs = docker("logs", name, check=False).stderr
    assert docker.inspect(name, ".State.ExitCode") == 0, logs
    ledger = Ledger(logs.splitlines())
    ledger.check()
    return ledger


@pytest.fixture
def sockets(place):
    """The directory that the ECS agent would make, where it would lie."""
    directory = place / "socket"
    directory.mkdir()
    return directory


@pytest.fixture
def port():
    """Free a moment ago; the router in the container cannot tell which one it got."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_containers_log_through_the_image(docker, busybox, image, aws, sockets, port, user):
    config = router_config(aws, "/var/run/fluent.sock") | {"admin": {"listen": f"127.0.0.1:{port}"}}
    options = []
    if user == "nobody":
        # What agents from 1.96 do for a container with `user`.
        os.chown(sockets, 65532, 65532)
        options = ["--user=65532:65532"]
    name = start_image(docker, image, sockets, config, *options)
    apps = run_apps(docker, busybox, f"{sockets}/fluent.sock")
    ledger = stop_image(docker, name)
    check_what_came(aws, docker, apps)
    check_ledger(ledger, apps)


def test_the_image_is_healthy_and_holds_two_files(docker, image, aws, sockets, port):
    config = router_config(aws, "/var/run/fluent.sock") | {"admin": {"listen": f"127.0.0.1:{port}"}}
    name = start_image(docker, image, sockets, config)
    assert docker("exec", name, "/logweir", "health") == "live"
    eventually(lambda: docker.inspect(name, ".State.Health.Status") == "healthy", "the daemon to see it healthy")
    stop_image(docker, name)
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}} {{.Size}}", image)
    assert history.count("COPY") == 2, history
    assert docker.inspect(image, ".Config.Entrypoint") == ["/logweir"]
    assert docker("run", "--rm", "--network=none", image, "version").startswith("logweir ")
    bad = docker("run", "--rm", "--network=none", "--env=LOGWEIR_CONFIG_YAML=sources: [", image, check=False)
    assert bad.returncode == 64


def test_names_resolve_in_the_image_by_hosts_and_by_dns(docker, image, aws, sockets, port, dns, place):
    for number, options in enumerate((["--add-host=aws.example:127.0.0.1"], dns.options(place))):
        endpoint = aws.endpoint.replace("127.0.0.1", "aws.example")
        config = router_config(aws, "/var/run/fluent.sock", endpoint) | {"admin": {"listen": f"127.0.0.1:{port}"}}
        name = start_image(docker, image, sockets, config, *options)
        from harness import forward as fwd

        with fwd.Peer(f"unix://{sockets}/fluent.sock") as peer:
            peer.send(fwd.message(f"app-firelens-{number}", fwd.Time(1_790_000_000), {"log": "x", "n": number}))
        assert stop_image(docker, name).sinks["archive"]["delivered"] == 1
    assert sorted(r["n"] for r in objects.all_records(objects.in_bucket(aws.s3, "logs"))) == [0, 1]
    assert "aws.example" in dns.asked
