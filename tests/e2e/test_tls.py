"""TLS: the server's certificate, clients' certificates, and what happens when the files change."""

import shutil
import socket
import ssl
import time

import grpc
import pytest

from scalpel.v1 import service_pb2
from tests.support import certificates
from tests.support.client import Client
from tests.support.server import Server, is_serving, run_server

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
RELOAD_SECONDS = 10  # it looks once a second
USAGE_ERROR = 2


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("stranger"), "theirs")


@pytest.fixture(scope="module")
def identity(authority):
    return authority.sign("server")


def flags(identity, client_ca=None):
    given = ["--tls-cert", str(identity.certificate), "--tls-key", str(identity.key)]
    return given + (["--tls-client-ca", str(client_ca.certificate)] if client_ca else [])


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
            client.stub.GetModel(service_pb2.GetModelRequest(), timeout=10)
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


def test_clients_must_show_a_certificate(authority, stranger, identity):
    known = certificates.channel_credentials(authority, authority.sign("alice"))
    with Server(*flags(identity, authority), credentials=known) as server:
        assert code(server, known) == grpc.StatusCode.OK
        assert code(server, certificates.channel_credentials(authority)) == UNAVAILABLE
        other = certificates.channel_credentials(authority, stranger.sign("alice"))
        assert code(server, other) == UNAVAILABLE


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
            assert client.stub.GetModel(service_pb2.GetModelRequest(), timeout=10).model


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


def test_healthcheck_where_clients_need_certificates(authority, identity):
    """It goes through a Unix socket, since it has no certificate to show."""
    known = certificates.channel_credentials(authority, authority.sign("alice"))
    given = flags(identity, authority)
    with Server(*given, "--lame-duck-seconds", "3", credentials=known) as server:
        ask = ["--healthcheck", "--listen", server.address, *given]
        done = run_server(*ask)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        server.process.terminate()
        time.sleep(0.5)
        done = run_server(*ask)
        assert done.returncode == 1 and "NOT_SERVING" in done.stderr
        assert server.process.wait(20) == 0
    done = run_server(*ask)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_healthcheck_without_tls(server):
    assert run_server("--healthcheck", "--listen", server.address).returncode == 0
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        began = time.monotonic()
        done = run_server("--healthcheck", "--listen", address)
        assert done.returncode == 1 and address in done.stderr
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "wrong, flag",
    [
        ({"cert": None}, "--tls-cert"),
        ({"key": None}, "--tls-key"),
        ({"cert": "missing"}, "--tls-cert"),
        ({"key": "missing"}, "--tls-key"),
        ({"ca": "missing"}, "--tls-client-ca"),
        ({"cert": "nonsense"}, "--tls-cert"),
        ({"key": "nonsense"}, "--tls-key"),
        ({"ca": "nonsense"}, "--tls-client-ca"),
        ({"key": "other"}, "--tls-key"),
    ],
)
def test_it_does_not_start_with_files_that_are_wrong(
    model_dir, authority, identity, tmp_path, wrong, flag
):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    files = {"missing": tmp_path / "missing.pem", "nonsense": nonsense}
    if "other" in wrong.values():
        files["other"] = authority.sign("other").key
    given = {"cert": identity.certificate, "key": identity.key, "ca": authority.certificate}
    names = {"cert": "--tls-cert", "key": "--tls-key", "ca": "--tls-client-ca"}
    given |= {part: files.get(kind) for part, kind in wrong.items()}
    chosen = [word for part, path in given.items() if path for word in (names[part], str(path))]
    done = run_server("--model", str(model_dir), "--listen", "127.0.0.1:0", *chosen)
    assert done.returncode == USAGE_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert flag in line and "listening" not in done.stdout


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
