"""Who may call: certificates of clients, alone and beside tokens."""

import pytest

from tests.fault import methods
from tests.fault.identity import (
    EXEMPT,
    LEAST_ROLE,
    OK,
    PERMISSION_DENIED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    status,
    statuses,
)
from tests.support import certificates
from tests.support.server import Server


@pytest.fixture(scope="module")
def tokens(file) -> dict[str, str]:
    return {role: file.add(f"a-{role}", role) for role in ("reader", "operator")}


@pytest.fixture(scope="module")
def clients(authority, tmp_path_factory):
    """Clients' certificates, by what is wrong with them."""
    stranger = certificates.Authority(tmp_path_factory.mktemp("stranger"), "theirs")
    return {
        "right": authority.sign("alice"),
        "none": None,
        "expired": authority.sign("late", days=certificates.EXPIRED),
        "wrong authority": stranger.sign("alice"),
        "odd name": authority.sign("alice and bob"),
    }


@pytest.fixture(scope="module")
def mutual(authority, clients, tls_flags):
    """A server that wants clients' certificates, and no tokens."""
    known = certificates.channel_credentials(authority, clients["right"])
    flags = [*tls_flags, "--tls-client-ca", str(authority.certificate)]
    with Server(*flags, credentials=known) as server:
        yield server


@pytest.mark.parametrize(
    "name, expected",
    [
        ("right", OK),
        ("none", UNAVAILABLE),
        ("expired", UNAVAILABLE),
        ("wrong authority", UNAVAILABLE),
        ("odd name", UNAUTHENTICATED),
    ],
)
def test_client_certificates(mutual, authority, clients, name, expected):
    """no token / wrong token / expired client cert

    A wrong one gets no connection; one whose name is none for a log gets no further.
    """
    credentials = certificates.channel_credentials(authority, clients[name])
    assert status(mutual, credentials=credentials) == expected
    right = certificates.channel_credentials(authority, clients["right"])
    assert status(mutual, credentials=right) == OK, "the server is not what it was"


def test_a_certificate_makes_a_runner(mutual, authority, clients):
    """valid token, method outside its role"""
    right = certificates.channel_credentials(authority, clients["right"])
    found = statuses(mutual.address, credentials=right)
    refused = {path for path, code in found.items() if code != OK}
    assert refused == {path for path, role in LEAST_ROLE.items() if role == "operator"}


@pytest.fixture(scope="module")
def mutual_with_tokens(authority, clients, tls_flags, file, tokens):
    known = certificates.channel_credentials(authority, clients["right"])
    flags = [*tls_flags, "--tls-client-ca", str(authority.certificate), "--tokens", str(file.path)]
    with Server(*flags, credentials=known) as server:
        yield server


def test_a_certificate_does_not_replace_a_token(mutual_with_tokens, authority, clients, tokens):
    """no token / wrong token / expired client cert

    Where both are asked for, both are needed.
    """
    right, none = (
        certificates.channel_credentials(authority, clients[name]) for name in ("right", "none")
    )
    server = mutual_with_tokens
    assert status(server, credentials=right) == UNAUTHENTICATED
    assert status(server, "scalpel_" + "x" * 43, credentials=right) == UNAUTHENTICATED
    assert status(server, tokens["reader"], credentials=none) == UNAVAILABLE
    assert status(server, tokens["reader"], credentials=right) == OK
    run = methods.SERVICE + "Run"
    assert status(server, tokens["reader"], run, credentials=right) == PERMISSION_DENIED


def test_the_socket_for_health_serves_nothing_else(mutual_with_tokens, tokens):
    """every method of the descriptor without token (loop over reflection)

    --healthcheck goes another way than TLS; nobody else gets through there, not even with a token.
    """
    local = f"unix-abstract:scalpel-{mutual_with_tokens.port}"
    for token in (None, tokens["operator"]):
        found = statuses(local, token)
        assert {path for path, code in found.items() if code == OK} == EXEMPT
