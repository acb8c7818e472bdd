"""Clients that others wrote."""

import subprocess
from pathlib import Path

from fluent import event, sender
from harness import objects
from harness.router import environment, eventually


def test_python_fluent_logger(start, config, place):
    router = start(config())
    host, port = router.address("tcp").removeprefix("tcp://").rsplit(":", 1)
    over_tcp = sender.FluentSender("web", host=host, port=int(port), nanosecond_precision=True)
    over_unix = sender.FluentSender("unix", host=router.address("unix"), nanosecond_precision=False)
    for n in range(500):
        assert over_tcp.emit("access", {"n": n, "log": f"GET /{n}"}), over_tcp.last_error
        assert over_unix.emit_with_time("access", 1_790_000_000 + n, {"n": n}), over_unix.last_error
    over_tcp.close()
    over_unix.close()
    eventually(lambda: router.received() == 1000, "all records")
    router.stop()
    stored = objects.all_records(objects.in_directory(place / "out"))
    assert [r["n"] for r in stored if r["tag"] == "web.access"] == list(range(500))
    assert [r["n"] for r in stored if r["tag"] == "unix.access"] == list(range(500))
    assert event.Event  # the package's second way to send uses the same sender


NODE = r"""
const { FluentClient } = require("@fluent-org/logger");
const [host, port, count, mode] = process.argv.slice(2);
(async () => {
  const client = new FluentClient("node", {
    socket: { host, port: Number(port) }, eventMode: mode, ack: { ackTimeout: 30000 },
    flushInterval: 10, sendQueueIntervalSize: { bytes: 65536 },
  });
  const sent = [];
  for (let n = 0; n < Number(count); n++) sent.push(client.emit(mode, { n, log: "line " + n }));
  await Promise.all(sent);  // resolved by the acks
  await client.disconnect();
  console.log("acked", sent.length);
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_node_fluent_org_logger_with_acks(start, config, place):
    router = start(config())
    host, port = router.address("tcp").removeprefix("tcp://").rsplit(":", 1)
    script = Path(place) / "client.js"
    script.write_text(NODE)
    modes = ["Message", "Forward", "PackedForward", "CompressedPackedForward"]
    for mode in modes:
        ended = subprocess.run(
            ["node", script, host, port, "300", mode], capture_output=True, text=True, timeout=120, env=environment()
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.strip() == "acked 300"
    router.stop()
    stored = objects.all_records(objects.in_directory(place / "out"))
    for mode in modes:
        assert sorted(r["n"] for r in stored if r["tag"] == f"node.{mode}") == list(range(300)), mode
