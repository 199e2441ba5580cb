"""scalpel-cli and grpcurl against a server that wants TLS, tokens, or certificates of clients."""

import json
import os
import subprocess

import pytest

from tests.support import environment
from tests.support.certificates import Authority, channel_credentials
from tests.support.server import Server
from tests.support.tokens import TokenFile

OK, REFUSED, UNREACHABLE = 0, 1, 3
PROMPT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def tls(authority):
    """The flags with which a server speaks TLS."""
    made = authority.sign("server")
    return ["--tls-cert", str(made.certificate), "--tls-key", str(made.key)]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A token of each role, and the server's file of them."""
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")
    return file, {role: file.add(role, role) for role in ("reader", "runner")}


@pytest.fixture(scope="module")
def with_tokens(authority, tls, tokens):
    flags = [*tls, "--tokens", str(tokens[0].path)]
    with Server(*flags, credentials=channel_credentials(authority)) as running:
        yield running


@pytest.fixture(scope="module")
def with_certificates(authority, tls):
    """It asks clients for a certificate, and for nothing else."""
    flags = [*tls, "--tls-client-ca", str(authority.certificate)]
    credentials = channel_credentials(authority, authority.sign("probe"))
    with Server(*flags, credentials=credentials) as running:
        yield running


def cli(server, *arguments, token=None):
    own = {name: value for name, value in os.environ.items() if not name.startswith("SCALPEL_")}
    return subprocess.run(
        [str(environment.cli_binary()), *map(str, arguments), "--server", server.address],
        capture_output=True, text=True, timeout=120, check=False,
        env={**own, **({"SCALPEL_TOKEN": token} if token else {})},
    )  # fmt: skip


def test_a_runner_runs_and_a_reader_reads(with_tokens, authority, tokens):
    trust = ["--ca", authority.certificate]
    run = ["run", PROMPT, "--zero", "z:layer=0,head=8"]
    done = cli(with_tokens, *run, *trust, token=tokens[1]["runner"])
    assert done.returncode == OK and "Mary" in done.stdout, done.stderr
    assert cli(with_tokens, "model", *trust, token=tokens[1]["reader"]).returncode == OK
    done = cli(with_tokens, *run, *trust, token=tokens[1]["reader"])
    assert done.returncode == REFUSED and "PERMISSION_DENIED" in done.stderr
    assert "for a role that may" in done.stderr


@pytest.mark.parametrize(
    "token, remedy", [(None, "--token-file"), ("guess" * 9, "ask the operator of")]
)
def test_who_is_not_known_is_told_what_to_do(with_tokens, authority, token, remedy):
    done = cli(with_tokens, "model", "--ca", authority.certificate, token=token)
    assert done.returncode == REFUSED and "UNAUTHENTICATED" in done.stderr
    assert remedy in done.stderr and "guess" not in done.stderr


def test_health_needs_no_token(with_tokens, authority):
    done = cli(with_tokens, "health", "--ca", authority.certificate)
    assert (done.returncode, done.stdout) == (OK, "SERVING\n"), done.stderr


def test_a_sweep_of_a_runner(with_tokens, authority, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens[1]["runner"] + "\n")
    flags = ["--ca", authority.certificate, "--token-file", file, "--json"]
    done = cli(with_tokens, "sweep", PROMPT, "--zero", "z", "--over", "layers", *flags)
    assert done.returncode == OK, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum("variant" in event for event in events) == 12


def test_without_tls_nothing_is_said(with_tokens, tokens):
    done = cli(with_tokens, "model", token=tokens[1]["runner"])
    assert done.returncode == UNREACHABLE and "--tls" in done.stderr


def test_a_server_that_is_not_trusted_is_not_used(with_tokens, tokens):
    done = cli(with_tokens, "model", "--tls", token=tokens[1]["runner"])
    assert done.returncode == UNREACHABLE and "--ca" in done.stderr


def test_a_certificate_is_enough_where_that_is_asked(with_certificates, authority):
    mine = authority.sign("alice")
    trust = ["--ca", authority.certificate]
    done = cli(
        with_certificates, "run", PROMPT, *trust, "--cert", mine.certificate, "--key", mine.key
    )
    assert done.returncode == OK, done.stderr
    assert cli(with_certificates, "model", *trust).returncode == UNREACHABLE


def test_grpcurl_takes_the_token_from_the_environment(with_tokens, authority, tokens):
    done = subprocess.run(
        [str(environment.grpcurl_binary()), "-cacert", str(authority.certificate),
         "-expand-headers", "-H", "authorization: Bearer ${SCALPEL_TOKEN}", "-d",
         json.dumps({"prompts": [{"text": PROMPT}]}), with_tokens.address,
         "scalpel.v1.InterventionService/Run"],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "SCALPEL_TOKEN": tokens[1]["runner"]},
    )  # fmt: skip
    assert done.returncode == 0 and '"finished"' in done.stdout, done.stderr
