"""How a server is reached: TLS, tokens, metadata, names of the model."""

import concurrent.futures
import copy
import dataclasses
import multiprocessing
import pickle

import numpy as np
import pytest

import scalpel
from scalpel import TLS, connection
from scalpel.connection import AFFINITY as KEY
from tests.python.fake_server import FakeServer, server_credentials
from tests.python.raw import OTHER, PROMPT
from tests.python.test_aio import with_model

# What `connect` is told where nothing is said.
NOTHING = {
    "model": None, "tls": False, "token": None, "allow_plaintext_token": False, "timeout": None,
    "retry": None, "keepalive": None, "metadata": None, "options": None,
}  # fmt: skip


@pytest.fixture
def tls_server(server, authority):
    """Speaks TLS and wants a token; asks for a client's certificate too."""
    with FakeServer(server.address, server_credentials(authority), token="secret") as running:
        yield running


def test_tls_with_certificates_on_both_sides(tls_server, authority):
    mine = authority.sign("client")
    tls = TLS(
        root_certificates=authority.certificate,
        certificate=str(mine.certificate),
        key=mine.key.read_bytes(),
        server_name="localhost",
    )
    with scalpel.connect(tls_server.address, tls=tls, token="secret") as model:
        assert model.run("a").top()
    assert with_model(tls_server.address, lambda m: m.run("a"), tls=tls, token="secret").top()
    with pytest.raises(scalpel.Unauthenticated, match="token"):
        scalpel.connect(tls_server.address, tls=tls, token="guess")
    elsewhere = dataclasses.replace(tls, server_name="elsewhere.test")
    with pytest.raises(scalpel.Unavailable):
        scalpel.connect(tls_server.address, tls=elsewhere, token="secret", retry=None)


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
    ("dns://8.8.8.8/localhost:1", False), ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
])  # fmt: skip
def test_a_token_never_leaves_this_machine_in_the_open(address, local):
    assert connection.is_local(address) == local
    for secret in ({"token": "secret"}, {"metadata": {"authorization": "Bearer secret"}}):
        settings = {**NOTHING, **secret}
        if local:
            connection.settings(address, **settings)
        else:
            with pytest.raises(ValueError, match="token: it would travel to"):
                connection.settings(address, **settings)
        connection.settings(address, **{**settings, "tls": True})
        connection.settings(address, **{**settings, "allow_plaintext_token": True})
    connection.settings(address, **{**NOTHING, "metadata": {"x-team": "probing"}})


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "naïve", "", " secret"])
def test_what_metadata_cannot_carry_is_refused_and_not_repeated(server, token):
    with pytest.raises(ValueError, match="visible ASCII") as raised:
        scalpel.connect(server.address, token=token)
    with pytest.raises(ValueError, match="visible ASCII"):
        scalpel.connect(server.address, token=lambda: token)
    assert not token or token not in str(raised.value)


def test_secrets_are_not_shown():
    made = connection.settings("localhost:1", **{**NOTHING, "token": "secret"})
    assert "secret" not in repr(made)
    assert "PRIVATE" not in repr(TLS(certificate=b"PUBLIC", key=b"PRIVATE"))


@pytest.mark.parametrize("half", [{"certificate": "client.pem"}, {"key": "client.key"}])
def test_a_certificate_goes_with_its_key(half):
    with pytest.raises(ValueError, match="belong together"):
        TLS(**half)


def test_metadata_goes_with_every_call(server):
    with FakeServer(server.address) as fake:
        with scalpel.connect(fake.address, metadata={"x-lab": "7"}) as model:
            model.run("a")
            model.tokenize("a")
    assert [metadata["x-lab"] for _, metadata in fake.calls] == ["7"] * 3


def test_calls_on_one_prompt_belong_together(server):
    """tests/unit/client has the same value: both clients are led to one server."""
    with FakeServer(server.address) as fake:
        with scalpel.connect(fake.address) as model:
            model.run("When Mary and John")
            model.run(["When Mary and John", "a"])
            model.sweep("When Mary and John", scalpel.zero("z"), over=["layers"],
                        metrics=scalpel.logit_diff(" Mary", " John"))  # fmt: skip
            model.run("a")
        with scalpel.connect(fake.address, metadata={KEY: "mine"}) as model:
            model.run("a")
    sent = [metadata.get(KEY) for name, metadata in fake.calls if name in ("Run", "Sweep")]
    assert sent[:3] == ["796b503b5abe338e"] * 3
    assert len(set(sent)) == 3 and sent[4] == "mine"


def test_a_request_id_comes_back(model):
    assert model.run("a", request_id="mine").request_id == "mine"
    assert model.validate("a", request_id="mine").request_id == "mine"


def test_the_models_name_goes_with_requests(server, model):
    with scalpel.connect(server.address, model=model.info.name) as named:
        run = named.run("a")
        assert run.normalized.model == model.info.name and run.digest == model.run("a").digest
        with pytest.raises(scalpel.NotFound):
            named.run_request(scalpel.v1.run_pb2.RunRequest(model="another", prompts=[]))


def test_keepalive_is_one_that_servers_allow():
    more = {"options": {"grpc.primary_user_agent": "lab"}, "keepalive": scalpel.Keepalive()}
    made = connection.settings("a:1", **{**NOTHING, **more})
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
    assert len(table) == len(raw.sites) and next(iter(table.columns)) == "name"
    assert info.cache.max_bytes == raw.baseline_cache.max_bytes


def test_status_is_what_the_server_does(model):
    before = model.status()
    model.run("When Mary")
    after = model.status()
    assert after.state == "serving" and after.uptime > before.uptime > 0
    assert after.calls["GetStatus"] == 1 and after.callers == {"anonymous": 1}
    assert after.engine.waves > before.engine.waves and after.engine.queued == 0
    assert after.engine.tokens >= after.engine.tokens_computed > 0
    assert after.rejections.keys() >= {"queue_full", "invalid", "connections"}
    assert repr(after).startswith("<ServerStatus serving, up ")


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


# ---- pickles -------------------------------------------------------------------------------------


def test_a_model_connects_again_where_it_is_unpickled(tls_server, authority):
    """With the token, the certificate and all else that `connect` was told."""
    mine = authority.sign("client")
    tls = TLS(authority.certificate, mine.certificate.read_bytes(), mine.key.read_bytes(),
              server_name="localhost")  # fmt: skip
    options = {"token": "secret", "metadata": {"x-who": "me"}, "timeout": 30.0}
    with scalpel.connect(tls_server.address, tls=tls, **options) as model:
        with pickle.loads(pickle.dumps(model)) as again, copy.copy(model) as other:
            assert again.settings == other.settings == model.settings
            assert again.run("a").top() == other.run("a").top() == model.run("a").top()
    assert {metadata["x-who"] for _, metadata in tls_server.calls} == {"me"}


def test_a_pool_of_processes_can_use_a_model(model):
    """A method of it is what each process is given; each connects once for itself, or often."""
    spawn = multiprocessing.get_context("spawn")
    prompts = [PROMPT, OTHER, "The war"]
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        runs = list(pool.map(model.run, prompts))
        started = list(pool.map(model.validate, prompts))
    for prompt, run, cost in zip(prompts, runs, started, strict=True):
        assert run.digest == model.run(prompt).digest and run.top() == model.run(prompt).top()
        assert cost.cost == model.validate(prompt).cost and cost.digest == run.digest


@pytest.mark.parametrize("kind", [scalpel.Model, scalpel.aio.AsyncModel])
def test_a_method_is_pickled_as_itself(kind):
    """By its name: two are made of the same function."""
    for name, value in vars(kind).items():
        if callable(value):
            assert value.__name__ == name and value.__qualname__ == f"{kind.__name__}.{name}"


def test_results_can_be_pickled(model):
    run = model.run(PROMPT, capture="z", stats={"z": "std"}, logits="full")
    again = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(again.capture("z"), run.capture("z"))
    assert again.stat("z", "std", layer=-1) == run.stat("z", "std", layer=11)
    sweep = model.sweep(PROMPT, scalpel.zero("z"), over="layers", metrics=scalpel.loss())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sweep)).array(), sweep.array())
