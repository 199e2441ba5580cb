"""What a server is told by flags, environment and file, as operators see it: by a running server.

The rules themselves are in the unit tests of the configuration, and files of anything in
test_settings.py.
"""

import json

import pytest

from tests.support.client import Client
from tests.support.server import run_server
from tests.support.tokens import TokenFile

USAGE_ERROR = 2


@pytest.fixture
def settings(tmp_path):
    """Writes a file of settings."""

    def write(content):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def test_flag_beats_environment_beats_file_beats_default(start_server, settings):
    file = settings({"max-queue": 11, "max-tokens": 1100, "max-prompts": 12})
    environment = {"SCALPEL_MAX_TOKENS": "1300", "SCALPEL_MAX_QUEUE": "13"}
    server = start_server("--config", file, "--max-queue", "17", env=environment)
    with Client(server.address) as client:
        limits = client.model().limits
    assert (limits.max_queue, limits.max_tokens, limits.max_prompts) == (17, 1300, 12)
    assert limits.max_probes == 1024
    (line,) = [line for line in server.log().splitlines() if "max-tokens=1300" in line]
    for told in ("max-queue=17 (flag)", "max-tokens=1300 (environment)", "max-prompts=12 (file)"):
        assert told in line
    assert "max-probes" not in line and "1100" not in line


def test_the_file_can_be_named_by_the_environment(start_server, settings):
    environment = {"SCALPEL_CONFIG": settings({"max-queue": 19})}
    with Client(start_server(env=environment).address) as client:
        assert client.model().limits.max_queue == 19


def test_variables_that_are_not_the_servers_are_none_of_its_business(start_server):
    """Kubernetes tells each container about each service; clients have variables of their own."""
    secret = "scalpel_" + "s" * 43
    environment = {
        "SCALPEL_PORT": "tcp://10.0.0.1:50051",
        "SCALPEL_SERVICE_HOST": "10.0.0.1",
        "SCALPEL_SERVICE_PORT": "50051",
        "SCALPEL_PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "SCALPEL_PORT_50051_TCP_ADDR": "10.0.0.1",
        "SCALPEL_SERVER": "elsewhere:1",
        "SCALPEL_TOKEN": secret,
    }
    server = start_server("--log-level", "debug", env=environment)
    assert secret not in server.log() and "10.0.0.1" not in server.log()


@pytest.mark.parametrize(
    "flags, environment, file, names",
    [
        (["--max-que", "5"], {}, None, ["--max-que: "]),
        ([], {"SCALPEL_MAX_QUEU": "5"}, None, ["SCALPEL_MAX_QUEU: "]),
        ([], {}, {"max-quee": 5}, ["settings.json: ", "max-quee: "]),
        ([], {"SCALPEL_MAX_QUEUE": "many"}, None, ["SCALPEL_MAX_QUEUE: "]),
        ([], {}, {"max-queue": -1}, ["settings.json: ", "max-queue: "]),
        ([], {"SCALPEL_CONFIG": "/no/such/settings.json"}, None, ["/no/such/settings.json: "]),
    ],
)
def test_a_mistake_is_fatal_and_named(model_dir, settings, flags, environment, file, names):
    """port taken; bad flag; unreadable cert: exit 2 with the name that the operator used"""
    config = ["--config", settings(file)] if file is not None else []
    start = ["--model", str(model_dir), "--listen", "127.0.0.1:0"]
    done = run_server(*start, *config, *flags, env=environment)
    assert done.returncode == USAGE_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    for name in names:
        assert name in line, line
    assert "listening" not in done.stdout


@pytest.mark.parametrize(
    "flag, kind",
    [
        ("--tls-cert", "left out"),
        ("--tls-key", "left out"),
        ("--tls-cert", "missing"),
        ("--tls-key", "missing"),
        ("--tls-client-ca", "missing"),
        ("--tls-cert", "nonsense"),
        ("--tls-key", "nonsense"),
        ("--tls-client-ca", "nonsense"),
        ("--tls-cert", "empty"),
        ("--tls-key", "empty"),
        ("--tls-client-ca", "empty"),
        ("--tls-key", "another's"),
    ],
)
def test_bad_certificates(model_dir, tls_flags, authority, tmp_path, flag, kind):
    """port taken; bad flag; unreadable cert: exit 2 with the flag's name"""
    files = {"missing": tmp_path / "missing.pem", "another's": authority.sign("another").key}
    for name, text in (("empty", ""), ("nonsense", "-----BEGIN CERTIFICATE-----\nnothing\n")):
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_text(text)
    given = dict(zip(tls_flags[::2], tls_flags[1::2], strict=True))
    given |= {"--tls-client-ca": authority.certificate, flag: files.get(kind)}
    flags = [str(word) for pair in given.items() if pair[1] for word in pair]
    done = run_server("--model", str(model_dir), "--listen", "127.0.0.1:0", *flags)
    assert done.returncode == USAGE_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert flag in line and "listening" not in done.stdout


@pytest.mark.parametrize(
    "flags",
    [
        ["--tls-cert", "{cert}", "--tls-key", "{key}"],
        ["--tokens", "{tokens}"],
    ],
)
def test_beyond_loopback_identity_and_tls_are_a_must(model_dir, tls_flags, tmp_path, flags):
    """port taken; bad flag; unreadable cert

    Half of it is not enough, and the message says how to insist.
    """
    tokens = TokenFile(tmp_path / "tokens.json").path
    known = {"cert": tls_flags[1], "key": tls_flags[3], "tokens": tokens}
    given = [flag.format(**known) for flag in flags]
    done = run_server("--model", str(model_dir), "--listen", "0.0.0.0:0", *given)
    assert done.returncode == USAGE_ERROR and "--allow-insecure" in done.stderr, done.stderr
    assert "listening" not in done.stdout
