"""TLS and the handshake of the protocol: who proves itself is let in, nobody else is, and files are read anew."""

import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from harness import forward as fwd
from harness import objects
from harness.certs import Authority, trusting
from harness.forward import Peer, Time
from harness.router import environment, eventually, logweir

START = 1_790_000_000
KEY = "s3cret-of-the-test"


def asking(chunk, **record):
    return fwd.message("app", Time(START), record or {"log": "x"}, {"chunk": chunk})


def ended(router):
    """Connections that the router ended, by reason."""
    found = re.findall(r'source_connections_ended_total\{.*?reason="(\w+)"\} (\d+)', router.get("/metrics")[1])
    return {reason: int(count) for reason, count in found}


def metric(router, name):
    return int(re.search(rf"^logweir_{name}_total{{.*?}} (\d+)", router.get("/metrics")[1], re.M)[1])


def serial_seen(router, context):
    with Peer(router.address("tls"), tls=context) as peer:
        return peer.socket.getpeercert()["serialNumber"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_both_versions_brings_every_record_and_ack(start, secured, authority, place, version):
    router = start(secured())
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    big = "x" * 3_000_000
    with Peer(router.address("tls"), tls=context) as peer:
        for n in range(300):
            peer.send(asking(str(n), n=n))
        assert [peer.ack() for _ in range(300)] == [str(n).encode() for n in range(300)]
        peer.send(asking("big", log=big))
        assert peer.ack() == b"big"
    router.stop()
    stored = objects.all_records(objects.in_directory(place / "out"))
    assert sorted(r["n"] for r in stored if "n" in r) == list(range(300))
    assert [r["log"] for r in stored if "log" in r] == [big]


def test_the_end_of_a_drain_is_told_in_tls_words(start, secured, authority):
    router = start(secured())
    context = trusting(authority)
    raw = socket.create_connection(router.address("tls").removeprefix("tls://").split(":"))
    tls = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
    tls.sendall(fwd.message("app", Time(START), {"log": "x"}))
    router.signal()
    assert tls.recv(10) == b"", "a bare hang-up raises instead"
    assert router.wait() == 0


def test_plain_bytes_at_tls_and_tls_at_plain_end_with_their_reasons(start, secured, authority):
    router = start(secured())
    with Peer(router.address("tls").replace("tls:", "tcp:")) as plain:
        plain.send(fwd.message("app", Time(START), {"log": "x"}))
        assert plain.closed_by_router()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Peer(router.address("tcp").replace("tcp:", "tls:"), tls=trusting(authority))
    eventually(lambda: ended(router) == {"plain_on_tls": 1, "tls_on_plain": 1}, "both reasons")
    assert "does not speak TLS" in router.stderr and "speaks TLS, and this address does not" in router.stderr
    assert router.stop().sources["forward"]["received"] == 0


def test_a_client_certificate_is_asked_for_and_judged(start, secured, authority, place):
    clients, strangers = Authority(place, "clients"), Authority(place, "strangers")
    router = start(secured(client_ca=clients.ca))
    with Peer(router.address("tls"), tls=trusting(authority, clients.issue("known"))) as known:
        known.send(asking("a"))
        assert known.ack() == b"a"
    for cert in [None, strangers.issue("unknown")]:
        try:
            with Peer(router.address("tls"), tls=trusting(authority, cert)) as unknown:
                # In TLS 1.3 a client learns of the refusal only when it reads.
                unknown.send(asking("b"))
                assert unknown.closed_by_router()
        except (ssl.SSLError, ConnectionError):
            pass
    eventually(lambda: ended(router) == {"client_certificate": 2}, "both refusals")
    assert router.stop().sources["forward"]["received"] == 1


def test_a_changed_certificate_is_taken_over_and_a_broken_one_is_not(start, secured, authority):
    made = secured()
    router = start(made)
    context = trusting(authority)
    files = made["sources"]["forward"]["tls"]
    with Peer(router.address("tls"), tls=context) as old:
        first = serial_seen(router, context)
        authority.issue("router")
        eventually(lambda: serial_seen(router, context) != first, "the second certificate")
        second = serial_seen(router, context)
        eventually(lambda: metric(router, "source_tls_reloads") == 1, "the count")

        Path(files["cert"]).write_text("no certificate")
        eventually(lambda: metric(router, "source_tls_reload_errors") == 1, "the error")
        assert f"`{files['cert']}` holds no certificate" in router.stderr
        assert serial_seen(router, context) == second

        authority.issue("router")
        eventually(lambda: serial_seen(router, context) != second, "the third certificate")
        old.send(asking("still here"))
        assert old.ack() == b"still here"
    assert KEY not in router.stderr
    router.stop()


def test_who_knows_the_key_may_send_and_nobody_else(start, secured, authority):
    router = start(secured(auth={"shared_key": KEY, "self_hostname": "weir"}))
    context = trusting(authority)
    for scheme in ("tls", "tcp"):
        with Peer(router.address(scheme), tls=context) as knows, Peer(router.address(scheme), tls=context) as guesses:
            assert knows.shake(KEY) == (True, "")
            assert guesses.shake("another") == (False, "shared_key mismatch")
            assert guesses.closed_by_router()
            knows.send(asking("a"))
            assert knows.ack() == b"a"
        with Peer(router.address(scheme), tls=context) as rude:
            rude.send(asking("b"))
            assert rude.answer()[0] == b"HELO"
            assert rude.answer()[:3] == [b"PONG", False, b"invalid ping message"]
            assert rude.closed_by_router()
        with Peer(router.address(scheme), tls=context) as hasty:
            assert hasty.shake(KEY, behind=asking("c")) == (False, "invalid ping message")
            assert hasty.closed_by_router()
    reasons = {"shared_key_mismatch": 2, "no_handshake": 2, "early_data": 2}
    eventually(lambda: ended(router) == reasons, "the refusals")
    for text in (router.stderr, router.get("/status")[1], router.get("/metrics")[1]):
        assert KEY not in text
    assert router.stop().sources["forward"]["received"] == 2


def test_users_need_their_own_password(start, secured, authority):
    users = [{"username": "ann", "password": "pass-of-ann"}, {"username": "bob", "password": "pass-of-bob"}]
    router = start(secured(auth={"shared_key": KEY, "users": users}))
    context = trusting(authority)
    for user, password, welcome in [
        ("ann", "pass-of-ann", True),
        ("bob", "pass-of-bob", True),
        ("ann", "pass-of-bob", False),
        ("eve", "pass-of-ann", False),
        ("", "", False),
    ]:
        with Peer(router.address("tls"), tls=context) as peer:
            expected = (True, "") if welcome else (False, "username/password mismatch")
            assert peer.shake(KEY, user, password) == expected, user
    eventually(lambda: ended(router) == {"user_mismatch": 3}, "the refusals")
    assert "pass-of" not in router.stderr
    router.stop()


def test_the_last_connection_is_for_whoever_proves_itself_first(start, secured, authority):
    router = start(secured(auth={"shared_key": KEY}, limits={"connections": 1, "handshake_time": "1h"}))
    with Peer(router.address("tcp")) as silent, Peer(router.address("tls"), tls=trusting(authority), timeout=20) as good:
        assert silent.answer()[0] == b"HELO"
        assert good.shake(KEY) == (True, "")
        good.send(asking("a"))
        assert good.ack() == b"a"
    router.stop()


def test_strangers_are_sent_away_in_time_and_take_nobodys_connection(start, secured, authority):
    made = secured(auth={"shared_key": KEY}, limits={"connections": 2, "handshake_time": "2s"})
    router = start(made)
    context = trusting(authority)
    good = Peer(router.address("tls"), tls=context)
    assert good.shake(KEY) == (True, "")
    # More than there are places for strangers, silent or in the middle of a handshake of either kind.
    silent = [Peer(router.address("tls").replace("tls:", "tcp:")) for _ in range(100)]
    silent += [Peer(router.address("tcp")) for _ in range(100)]
    for peer in silent[50:150]:
        try:
            peer.send(b"\x16\x03\x01" if peer in silent[:100] else b"\x96\xa4PING")
        except OSError:
            pass  # sent away already
    with Peer(router.address("tls"), tls=context) as late:
        assert late.shake(KEY) == (True, "")
        late.send(asking("late"))
        assert late.ack() == b"late"
        good.send(asking("good"))
        assert good.ack() == b"good"
    for peer in silent:
        assert peer.closed_by_router()
    eventually(lambda: sum(ended(router).values()) == 200, "the end of all strangers")
    assert set(ended(router)) <= {"handshake_time", "tls_on_plain", "io"}, ended(router)
    good.close()
    router.stop()


def test_a_crowd_at_tls_keeps_out_neither_who_comes_in_the_clear_nor_who_speaks_tls(start, secured, authority):
    router = start(secured(limits={"handshake_time": "1h"}))
    crowd = [Peer(router.address("tls").replace("tls:", "tcp:")) for _ in range(300)]
    with Peer(router.address("tcp")) as plain, Peer(router.address("tls"), tls=trusting(authority)) as secure:
        for peer in (plain, secure):
            peer.send(asking("a"))
            assert peer.ack() == b"a"
    eventually(lambda: ended(router).get("handshake_time", 0) >= 300 - 128, "the end of those who had to make way")
    for peer in crowd:
        peer.close()
    router.stop()


def test_storms_of_connections_without_a_word_are_normal(start, secured, authority):
    router = start(secured(auth={"shared_key": KEY}))
    for _ in range(200):
        for scheme in ("tls", "tcp"):
            # fluentd's heartbeats and the health checks of load balancers.
            Peer(router.address(scheme).replace("tls:", "tcp:")).close()
    with Peer(router.address("tls"), tls=trusting(authority)) as good:
        assert good.shake(KEY) == (True, "")
        good.send(asking("a"))
        assert good.ack() == b"a"
    eventually(lambda: router.received() == 1 and metric(router, "source_connections") == 401, "all connections")
    assert ended(router) == {}
    router.stop()


NODE = r"""
const { FluentClient } = require("@fluent-org/logger");
const { readFileSync } = require("fs");
const [host, port, ca, count, key, username, password] = process.argv.slice(2);
(async () => {
  const client = new FluentClient("node", {
    socket: { host, port: Number(port), tls: { ca: readFileSync(ca), servername: "localhost" } },
    security: { clientHostname: "node", sharedKey: key, username, password },
    ack: { ackTimeout: 30000 }, flushInterval: 10, disableAutoconnect: true,
  });
  await client.connect();
  const sent = [];
  for (let n = 0; n < Number(count); n++) sent.push(client.emit("secured", { n }));
  await Promise.all(sent);  // resolved by the acks
  await client.disconnect();
  console.log("acked", sent.length);
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_node_fluent_org_logger_over_tls_with_key_and_user(start, secured, authority, place):
    users = [{"username": "ann", "password": "pass-of-ann"}]
    router = start(secured(auth={"shared_key": KEY, "users": users}))
    host, port = router.address("tls").removeprefix("tls://").rsplit(":", 1)
    script = place / "client.js"
    script.write_text(NODE)

    def node(password):
        args = ["node", script, host, port, authority.ca, "300", KEY, "ann", password]
        return subprocess.run(args, capture_output=True, text=True, timeout=60, env=environment())

    good = node("pass-of-ann")
    assert (good.returncode, good.stdout.strip()) == (0, "acked 300"), good.stderr
    # This client gives up without a word.
    assert node("wrong").stdout == ""
    assert ended(router) == {"user_mismatch": 1}
    assert router.stop().sources["forward"]["received"] == 300


def test_check_says_what_is_wrong_with_a_certificate_and_keeps_secrets(config, secured, authority, place):
    def check(made):
        import json

        path = place / "checked.yaml"
        path.write_text(json.dumps(made, indent=1))
        return logweir("check", "--config", path)

    made = secured(auth={"shared_key": KEY, "users": [{"username": "ann", "password": "pass-of-ann"}]})
    fine = check(made)
    assert fine.returncode == 0, fine.stderr
    assert KEY not in fine.stdout and "pass-of-ann" not in fine.stdout
    fingerprint = re.search(r"fingerprint (\w+)", fine.stdout)[1]
    made["sources"]["forward"]["auth"]["shared_key"] = "another"
    assert fingerprint in check(made).stdout

    source = made["sources"]["forward"]
    _, other_key = authority.issue("other")
    for change, says in [
        ({"tls": source["tls"] | {"cert": "/nowhere/x.crt"}}, "`/nowhere/x.crt` cannot be read: No such file"),
        ({"tls": source["tls"] | {"key": source["tls"]["cert"]}}, "holds no private key that can be read"),
        ({"tls": source["tls"] | {"key": other_key}}, f"is not the certificate of `{other_key}`"),
        ({"tls": source["tls"] | {"client_ca": str(place)}}, "is no file"),
        ({"tls": None}, "needs a certificate; write for example"),
        ({"listen": ["tcp://127.0.0.1:0"]}, "no address of this source begins with tls://"),
        ({"auth": {"shared_key": ""}}, "the shared key is empty"),
        ({"auth": {}}, "shared_key"),
    ]:
        changed = {k: v for k, v in (source | change).items() if v is not None}
        bad = check(made | {"sources": {"forward": changed}})
        assert bad.returncode == 64 and says in bad.stderr, (change, bad.stderr)
