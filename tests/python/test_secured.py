"""Both command lines say who they are in the same way: TLS, certificates, tokens."""

import os
import subprocess
import sys

import pytest

from tests.python.fake_server import FakeServer, server_credentials
from tests.support import environment

SECRET = "scalpel_secret"
COMMANDS = {
    "scalpel": [sys.executable, "-m", "scalpel", "info"],
    "scalpel-cli": [str(environment.cli_binary()), "model"],
}
# What the environment might say of a server.
_OURS = ("SCALPEL_TOKEN", "SCALPEL_SERVER_ADDRESS")


@pytest.fixture(params=COMMANDS)
def ask(request):
    """Asks for the model by one of the command lines."""

    def run(*arguments, **variables):
        bare = {name: value for name, value in os.environ.items() if name not in _OURS}
        return subprocess.run(
            [*COMMANDS[request.param], *map(str, arguments)],
            capture_output=True, text=True, timeout=60, env={**bare, **variables}, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def plain(server):
    """Wants a token, and speaks no TLS."""
    with FakeServer(server.address, token=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(server, authority):
    """Wants a token and a certificate, by TLS."""
    with FakeServer(server.address, server_credentials(authority), token=SECRET) as running:
        yield running


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(SECRET + "\n")
    return path


def shows_model(done):
    return done.returncode == 0 and "resid_post" in done.stdout


def test_certificates_on_both_sides_and_a_token(ask, mutual, authority, token_file):
    mine = authority.sign("me")
    who = ["--cert", mine.certificate, "--key", mine.key, "--token-file", token_file]
    trusted = ["--server", mutual.address, "--ca", authority.certificate]
    done = ask(*trusted, *who)
    assert shows_model(done), done.stderr
    assert shows_model(ask(*trusted, *who, "--server-name", "localhost", "--tls"))
    for arguments in (
        [*trusted, "--token-file", token_file],  # No certificate.
        ["--server", mutual.address, "--tls", *who],  # The system does not trust the authority.
        [*trusted, *who, "--server-name", "elsewhere.test"],
    ):
        refused = ask(*arguments)
        assert refused.returncode in (1, 3) and "UNAVAILABLE" in refused.stderr, refused.stderr


def test_a_token_from_the_environment(ask, plain):
    address = {"SCALPEL_SERVER_ADDRESS": plain.address}
    assert shows_model(ask(**address, SCALPEL_TOKEN=SECRET + "\n"))
    for variables in ({}, {"SCALPEL_TOKEN": "guess"}):
        done = ask(**address, **variables)
        assert done.returncode == 1 and "UNAUTHENTICATED: the token is wrong" in done.stderr


def test_the_file_is_nearer_than_the_environment(ask, plain, token_file):
    assert shows_model(
        ask("--server", plain.address, "--token-file", token_file, SCALPEL_TOKEN="guess")
    )


def test_a_token_is_not_sent_in_the_open(ask, plain, token_file):
    elsewhere = f"0.0.0.0:{plain.port}"  # This machine, but not by its spelling.
    calls = len(plain.calls)
    done = ask("--server", elsewhere, "--token-file", token_file)
    assert done.returncode == 2 and f"would travel to {elsewhere} unencrypted" in done.stderr
    assert len(plain.calls) == calls
    allowed = ["--token-file", token_file, "--allow-plaintext-token"]
    assert shows_model(ask("--server", elsewhere, *allowed))


@pytest.mark.parametrize("flag", ["--ca", "--token-file"])
def test_a_file_that_cannot_be_read_is_named(ask, flag, tmp_path):
    done = ask(flag, tmp_path / "missing")
    assert done.returncode == 2 and "missing" in done.stderr


def test_a_certificate_needs_its_key(ask, tmp_path, token_file):
    done = ask("--cert", token_file)
    assert done.returncode == 2 and "belong together" in done.stderr


def test_no_flag_takes_a_token(ask):
    for arguments in (["--token", SECRET], [f"--token={SECRET}"]):
        done = ask(*arguments)
        assert done.returncode == 2 and SECRET not in done.stderr
        assert "--token-file" in done.stderr and "other users" in done.stderr


def test_nothing_shows_the_token(ask, plain, token_file):
    for arguments in (["--token-file", token_file], ["--help"]):
        done = ask("--server", plain.address, *arguments, SCALPEL_TOKEN=SECRET)
        assert SECRET not in done.stdout + done.stderr
