"""The subcommands, as a user types them."""

import json
import re
import socket
from pathlib import Path

import pytest
from harness.router import logweir

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "config").glob("*.yaml"))
ENV = {"LOG_BUCKET": "example-logs"}
GOOD = """\
sources:
  forward:
    listen: [tcp://127.0.0.1:{port}]
routes:
  - name: errors
    when: level >= WARN
    to: [archive]
  - name: rest
    to: [archive]
sinks:
  archive:
    type: file
    path: {place}/out
admin: {{listen: 127.0.0.1:0}}
"""
# What is changed in the config above, and what the answer must name.
MISTAKES = {
    "an unknown key": ("  archive:\n", "  archive:\n    colour: red\n", ["sinks.archive.colour", ":12:"]),
    "a wrong type": ("    to: [archive]\n  - name: rest", "    to: 5\n  - name: rest", ["routes", "to", ":7:"]),
    "an unknown sink": ("    to: [archive]\n  - name: rest", "    to: [archiv]\n  - name: rest", ["archiv", ":7:"]),
    "no catch-all": ("  - name: rest\n    to: [archive]\n", "", ["when"]),
    "a route after the catch-all": ("sinks:\n", "  - {name: late, to: [archive]}\nsinks:\n", ["rest"]),
    "bad CEL": ("level >= WARN", "level >= ", [":6:", "when"]),
    "CEL outside the subset": ("level >= WARN", "[1].map(x, x).size() == 1", [":6:", "when"]),
    "an unknown level": ("level >= WARN", "level >= LOUD", [":6:", "LOUD"]),
    "a bad regular expression": ("level >= WARN", 'log.matches("(")', [":6:"]),
    "a bad template": ("    path:", '    prefix: "{container"\n    path:', ["prefix", ":13:"]),
    "duplicate keys": ("  archive:\n", "  archive:\n    path: /x\n", ["path"]),
    "an unset variable": ("type: file", "type: ${NOT_SET_ANYWHERE}", ["NOT_SET_ANYWHERE", ":12:"]),
    "an unknown type": ("type: file", "type: fille", ["fille", "file", ":12:"]),
    "a bad size": ("admin:", "memory: lots\nadmin:", ["memory", "lots"]),
    "a bad address": ("tcp://127.0.0.1:", "http://127.0.0.1:", ["listen", ":3:"]),
    "broken YAML": ("routes:", "routes: [", [":"]),
    "no sinks": (GOOD[GOOD.index("sinks:") : GOOD.index("admin:")], "", ["unknown sink `archive`"]),
    "nothing": (GOOD, "", ["sources"]),
}


@pytest.fixture
def port():
    """A port that somebody else holds: `run` must not get as far as binding it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_config_is_named_with_its_place(place, port, mistake):
    old, new, named = MISTAKES[mistake]
    template = GOOD if old == GOOD else GOOD
    text = template.format(port=port, place=place) if old != GOOD else ""
    if old != GOOD:
        changed = text.replace(old.format(place=place) if "{place}" in old else old, new, 1)
        assert changed != text, "the test does not change the config"
        text = changed
    path = place / "bad.yaml"
    path.write_text(text)
    answers = [logweir(command, "--config", path) for command in ("check", "run")]
    for answer in answers:
        assert answer.returncode == 64, answer.stderr
        assert "bad.yaml" in answer.stderr
        for name in named:
            assert name in answer.stderr, f"{name} is not in:\n{answer.stderr}"
    assert answers[0].stderr == answers[1].stderr


def test_several_mistakes_are_told_in_one_run(place, port):
    text = GOOD.format(port=port, place=place)
    text = text.replace("type: file", "type: file\n    colour: red").replace("level >= WARN", "level >=")
    text = text.replace("to: [archive]\nsinks", "to: [nowhere]\nsinks")
    (place / "bad.yaml").write_text(text)
    answer = logweir("check", "-c", place / "bad.yaml")
    assert answer.returncode == 64
    for name in ("colour", ":6:", "nowhere"):
        assert name in answer.stderr, answer.stderr


@pytest.mark.parametrize("arguments", [["run", "--colour"], ["fly"], [], ["run", "-c", "/does/not/exist.yaml"], ["check"]])
def test_wrong_usage_ends_with_64(arguments):
    answer = logweir(*arguments)
    assert answer.returncode == 64, answer.stderr
    assert answer.stderr


def test_the_config_comes_from_the_environment_too(place, port):
    text = GOOD.format(port=port, place=place)
    path = place / "good.yaml"
    path.write_text(text)
    for env in ({"LOGWEIR_CONFIG": str(path)}, {"LOGWEIR_CONFIG_YAML": text}):
        assert logweir("check", env=env).returncode == 0
    assert logweir("check", env={"LOGWEIR_CONFIG_YAML": "sources: ["}).returncode == 64


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_examples_are_valid_and_pass_their_own_tests(path):
    for command in ("check", "test"):
        answer = logweir(command, "--config", path, env=ENV)
        assert answer.returncode == 0, answer.stderr + answer.stdout


def test_there_are_examples():
    assert {path.name for path in EXAMPLES} >= {"sidecar.yaml", "aggregator.yaml", "local.yaml"}


def test_a_config_whose_own_test_fails_is_told(place, port):
    tests = """\
tests:
  - name: errors are routed
    tag: app-firelens-0123
    record: {log: "ERROR boom"}
    expect: {routes: [errors], to: [archive]}
  - name: this one is wrong
    tag: app-firelens-0123
    record: {log: "INFO fine"}
    expect: {routes: [errors]}
"""
    (place / "c.yaml").write_text(GOOD.format(port=port, place=place) + tests)
    answer = logweir("test", "-c", place / "c.yaml")
    assert answer.returncode == 1, answer.stderr
    assert "this one is wrong" in answer.stdout + answer.stderr
    assert "rest" in answer.stdout + answer.stderr


def test_explain_says_why(place, port):
    (place / "c.yaml").write_text(GOOD.format(port=port, place=place))
    tag = "app-firelens-0123456789abcdef"
    answer = logweir("explain", "-c", place / "c.yaml", "--tag", tag, stdin='{"log": "{\\"level\\":\\"info\\"}"}')
    assert answer.returncode == 0, answer.stderr
    for word in ("errors", "rest", "archive", "INFO", "WARN"):
        assert word in answer.stdout, f"{word} is not in:\n{answer.stdout}"
    answer = logweir("explain", "-c", place / "c.yaml", "--tag", tag, stdin="no json")
    assert answer.returncode == 64 or answer.returncode == 1
    assert answer.stderr


def test_the_schema_is_json_and_knows_the_sections():
    answer = logweir("schema")
    assert answer.returncode == 0, answer.stderr
    schema = json.loads(answer.stdout)
    for section in ("sources", "routes", "sinks", "memory", "admin", "drain", "tests"):
        assert section in schema["properties"], section


def test_help_of_each_subcommand_ends_with_an_example():
    for command in ("run", "check", "test", "explain", "schema", "demo", "health", "version"):
        answer = logweir(command, "--help")
        assert answer.returncode == 0, command
        assert "logweir " + command in answer.stdout.split("Example")[-1], command


def test_version_says_the_version():
    answer = logweir("version")
    assert answer.returncode == 0 and re.search(r"\d+\.\d+\.\d+", answer.stdout)


def test_demo_shows_what_went_where(place):
    answer = logweir("demo", cwd=place)
    assert answer.returncode == 0, answer.stderr
    assert "$" in answer.stdout, answer.stdout
