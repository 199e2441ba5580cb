"""TLS: the server's certificate, and what happens when its files change."""

import shutil
import socket
import ssl
import time

import grpc
import pytest

from scalpel.v1 import model_pb2
from tests.support import certificates
from tests.support.client import Client
from tests.support.server import Server, is_serving

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
RELOAD_SECONDS = 10  # it looks once a second


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("stranger"), "theirs")


@pytest.fixture(scope="module")
def identity(authority):
    return authority.sign("server")


def flags(identity):
    return ["--tls-cert", str(identity.certificate), "--tls-key", str(identity.key)]


@pytest.fixture(scope="module")
def secure(authority, identity):
    """A server with TLS that asks no client for a certificate."""
    known = certificates.channel_credentials(authority)
    with Server(*flags(identity), credentials=known) as server:
        yield server


def code(server, credentials=None):
    """OK, or how a call ends on a connection of its own."""
    with Client(server.address, credentials=credentials) as client:
        try:
            client.stub.GetModel(model_pb2.GetModelRequest(), timeout=10)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()


def handshake(server, authority, version=None):
    """The names in the certificate that the server shows, and the version of TLS."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(["h2"])
    if version is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # for versions that are long out of use
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        with context.wrap_socket(link, server_hostname="127.0.0.1") as secured:
            subject = dict(pair for (pair,) in secured.getpeercert()["subject"])
            return subject["commonName"], secured.version()


def test_a_client_that_trusts_the_authority(secure, authority):
    assert code(secure, certificates.channel_credentials(authority)) == grpc.StatusCode.OK


def test_a_client_that_trusts_another_authority(secure, stranger):
    assert code(secure, certificates.channel_credentials(stranger)) == UNAVAILABLE


def test_a_client_without_tls(secure):
    assert code(secure) == UNAVAILABLE


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_of_tls(secure, authority):
    version = ssl.TLSVersion
    assert handshake(secure, authority) == ("server", "TLSv1.3")
    assert handshake(secure, authority, version.TLSv1_2) == ("server", "TLSv1.2")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(secure, authority, version.TLSv1_1)


def replace(files, new):
    """One file at a time, each in one step."""
    for old, fresh in ((files.certificate, new.certificate), (files.key, new.key)):
        beside = old.with_suffix(".new")
        shutil.copy(fresh, beside)
        beside.replace(old)


def test_a_new_certificate_is_shown_without_a_restart(authority, identity, tmp_path):
    files = certificates.Certificate(tmp_path / "tls.pem", tmp_path / "tls.key")
    replace(files, identity)
    known = certificates.channel_credentials(authority)
    with Server(*flags(files), credentials=known) as server:
        with Client(server.address, credentials=known) as client:
            assert handshake(server, authority)[0] == "server"
            replace(files, authority.sign("renewed"))
            _assert_soon_shown(server, authority, "renewed")
            assert client.stub.GetModel(model_pb2.GetModelRequest(), timeout=10).model


def _assert_soon_shown(server, authority, name):
    deadline = time.monotonic() + RELOAD_SECONDS
    while handshake(server, authority)[0] != name:
        assert time.monotonic() < deadline, f"{name} is not shown:\n{server.log()}"
        time.sleep(0.2)


def test_what_is_no_certificate_changes_nothing(authority, identity, tmp_path):
    """A file in the middle of being copied is empty at first, and then cut off."""
    files = certificates.Certificate(tmp_path / "tls.pem", tmp_path / "tls.key")
    replace(files, identity)
    known = certificates.channel_credentials(authority)
    with Server(*flags(files), credentials=known) as server:
        for path in (files.certificate, files.key):
            whole = path.read_bytes()
            for part in (b"", whole[: len(whole) // 2], b"nonsense"):
                path.write_bytes(part)
                time.sleep(1.1)
                assert handshake(server, authority)[0] == "server"
                assert code(server, known) == grpc.StatusCode.OK
            path.unlink()
            time.sleep(1.1)
            assert code(server, known) == grpc.StatusCode.OK
            path.write_bytes(whole)
        log = server.log()
        assert "--tls-cert" in log and "--tls-key" in log, "it is not told in the log"
        replace(files, authority.sign("renewed"))
        _assert_soon_shown(server, authority, "renewed")


def test_an_expired_certificate_is_a_warning(authority):
    late = authority.sign("late", days=certificates.EXPIRED)
    server = Server(*flags(late)).launch()
    try:
        deadline = time.monotonic() + 60
        while "has expired" not in server.log():
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
    finally:
        server.kill()


def test_plain_server_is_still_plain(server):
    """The control: without the flags there is no TLS, and no socket beside the port."""
    assert is_serving(server.address)
    assert not is_serving(f"unix-abstract:scalpel-{server.port}")
