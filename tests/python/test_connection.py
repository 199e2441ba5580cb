"""How a server is reached: TLS, tokens, metadata, names of the model."""

import subprocess

import grpc
import pytest

import scalpel
from scalpel import TLS, connection
from tests.python.fake_server import FakeServer
from tests.python.test_aio import with_model


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate authority, a server's certificate for `scalpel.test`, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    for name in ("server", "client"):
        names = ["-addext", "subjectAltName=DNS:scalpel.test"]
        openssl("req", "-x509", *key, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN={name}", *names)  # fmt: skip
    return folder


@pytest.fixture
def tls_server(server, certificates):
    """Speaks TLS and wants a token; asks for a client's certificate too."""
    pair = [((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())]
    ca = (certificates / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials(pair, ca, require_client_auth=True)
    with FakeServer(server.address, credentials, token="secret") as running:
        yield running


def test_tls_with_certificates_on_both_sides(tls_server, certificates):
    tls = TLS(
        root_certificates=certificates / "ca.pem",
        certificate=str(certificates / "client.pem"),
        key=(certificates / "client.key").read_bytes(),
        server_name="scalpel.test",
    )
    with scalpel.connect(tls_server.address, tls=tls, token="secret") as model:
        assert model.run("a").top()
    assert with_model(tls_server.address, lambda m: m.run("a"), tls=tls, token="secret").top()
    with pytest.raises(scalpel.AccessDenied, match="token"):
        scalpel.connect(tls_server.address, tls=tls, token="guess")


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_is_not_trusted_is_not_used(tls_server, tls):
    with pytest.raises(scalpel.Unavailable):
        scalpel.connect(tls_server.address, tls=tls, token="secret", retry=None)
    assert not tls_server.calls


def test_a_token_can_change_with_each_call(server):
    tokens = iter(["one", "two", "three"])
    with FakeServer(server.address) as fake:
        with scalpel.connect(fake.address, token=lambda: next(tokens)) as model:
            model.run("a")
            model.tokenize("a")
    assert [metadata["authorization"] for _, metadata in fake.calls] == [
        "Bearer one", "Bearer two", "Bearer three",
    ]  # fmt: skip


@pytest.mark.parametrize("address, local", [
    ("localhost:50051", True), ("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True),
    ("unix:/tmp/socket", True), ("dns:///localhost:1", True), ("ipv4:127.0.0.1:1", True),
    ("example.org:1", False), ("127.0.0.1.example.org:1", False), ("10.0.0.1:1", False),
    ("[2001:db8::1]:1", False), ("dns:///example.org:1", False), ("localhost.example.org", False),
])  # fmt: skip
def test_a_token_never_leaves_this_machine_in_the_open(address, local):
    assert connection.is_local(address) == local
    options = {name: None for name in ("model", "timeout", "retry", "keepalive", "metadata")}
    settings = {"token": "secret", "options": None, **options}
    if local:
        connection.settings(address, tls=False, **settings)
    else:
        with pytest.raises(ValueError, match="token: it would travel to"):
            connection.settings(address, tls=False, **settings)
    connection.settings(address, tls=True, **settings)


def test_metadata_goes_with_every_call(server):
    with FakeServer(server.address) as fake:
        with scalpel.connect(fake.address, metadata={"x-lab": "7"}) as model:
            model.run("a")
            model.tokenize("a")
    assert [metadata["x-lab"] for _, metadata in fake.calls] == ["7"] * 3


def test_a_request_id_comes_back(model):
    assert model.run("a", request_id="mine").request_id == "mine"
    assert model.validate("a", request_id="mine").request_id == "mine"


def test_the_models_name_goes_with_requests(server, model):
    with scalpel.connect(server.address, model=model.info.name) as named:
        run = named.run("a")
        assert run.normalized.model == model.info.name and run.digest == model.run("a").digest
        with pytest.raises(scalpel.NotFound):
            named.run_request(scalpel.v1.service_pb2.RunRequest(model="another", prompts=[]))


def test_keepalive_is_one_that_servers_allow():
    settings = {name: None for name in ("model", "token", "timeout", "retry", "metadata")}
    made = connection.settings("a:1", tls=False, options={"grpc.primary_user_agent": "lab"},
                               keepalive=scalpel.Keepalive(), **settings)  # fmt: skip
    options = dict(made.channel_options())
    assert options["grpc.keepalive_time_ms"] >= 300_000  # gRPC's default tolerance.
    assert options["grpc.primary_user_agent"] == "lab"
    assert "grpc.enable_http_proxy" not in options


def test_a_closed_model_is_closed(server):
    model = scalpel.connect(server.address)
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.run("a")


def test_info_is_what_the_server_says(model, client):
    raw = client.model()
    info = model.get_info()
    assert info.config == raw.config and info.limits == raw.limits
    assert list(info.sites) == [site.name for site in raw.sites]
    assert info.sites["z"].axes == ("position", "head", "unit")
    assert info.sites["z"].unit_size == raw.config.d_head and info.sites["z"].editable
    assert "attn.hook_z" in info.sites["z"].aliases and not info.sites["head_result"].editable
    assert set(info.operations) == set(raw.operations) and "std" in info.statistics
    table = info.sites_to_pandas()
    assert len(table) == len(raw.sites) and list(table.columns)[0] == "name"
    assert info.cache.max_bytes == raw.baseline_cache.max_bytes


def test_tokens(model):
    text = "When Mary naïvely"
    tokens = model.tokenize(text)
    assert "".join(tokens.tokens).startswith("When Mary") and len(tokens) == len(tokens.ids)
    assert model.detokenize(tokens.ids) == text
    assert model.detokenize_bytes(tokens.ids) == text.encode()
    assert model.tokenize(" Mary").ids == (model.token_id(" Mary"),)
    with pytest.raises(ValueError, match="not one token"):
        model.token_id("Mary and John")
    with pytest.raises(scalpel.InvalidArgument):
        model.detokenize([5000])
