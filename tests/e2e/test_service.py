"""Health, reflection, GetModel, Tokenize and Detokenize, called with grpcurl."""

import base64
import json
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pb2, json_format
from grpc_reflection.v1alpha import reflection_pb2

from scalpel.v1 import model_pb2, service_pb2, site_pb2
from tests.e2e import grpcurl

HEALTH = "grpc.health.v1.Health"


@pytest.mark.parametrize("service", ["", grpcurl.SERVICE])
def test_health_check_says_serving(server, service):
    (answer,) = grpcurl.call(server.address, f"{HEALTH}/Check", {"service": service}).messages
    assert answer == {"status": "SERVING"}


def test_health_check_of_an_unknown_service(server):
    assert grpcurl.call(server.address, f"{HEALTH}/Check", {"service": "nothing.Here"}).code == 5


@pytest.mark.parametrize("service", ["", grpcurl.SERVICE])
def test_health_watch_streams_the_state(server, service):
    """The first state comes at once, and the stream stays open until the deadline ends it."""
    answer = grpcurl.call(
        server.address, f"{HEALTH}/Watch", {"service": service}, options=["-max-time", "1.5"]
    )
    assert answer.messages == [{"status": "SERVING"}]
    assert answer.code == 4


def test_reflection_lists_the_services(server):
    services = grpcurl.reflect(server.address, "list").split()
    assert {grpcurl.SERVICE, HEALTH} <= set(services)
    assert any(name.startswith("grpc.reflection.") for name in services)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection(client, version):
    """Their messages are the same. grpcurl asks for the first that it finds."""
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services="*"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=grpcurl.SERVICE),
        reflection_pb2.ServerReflectionRequest(file_by_filename="no/such.proto"),
    ]
    listed, file, none = client.channel.stream_stream(
        method,
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(iter(questions), timeout=20)
    assert {service.name for service in listed.list_services_response.service} == {
        grpcurl.SERVICE,
        HEALTH,
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert file.original_request == questions[1]
    first = file.file_descriptor_response.file_descriptor_proto[0]
    assert descriptor_pb2.FileDescriptorProto.FromString(first).name == "scalpel/v1/service.proto"
    assert none.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("name", [HEALTH, "grpc.reflection.v1.ServerReflection"])
def test_reflection_describes_what_is_not_ours(server, name):
    assert f"service {name.rsplit('.', 1)[1]} {{" in grpcurl.reflect(
        server.address, "describe", name
    )


def test_reflection_lists_and_describes_every_method(server):
    methods = set(grpcurl.reflect(server.address, "list", grpcurl.SERVICE).split())
    expected = service_pb2.DESCRIPTOR.services_by_name["InterventionService"].methods_by_name
    assert methods == {f"{grpcurl.SERVICE}.{name}" for name in expected}
    described = grpcurl.reflect(server.address, "describe", f"{grpcurl.SERVICE}.Run")
    assert (
        "rpc Run ( .scalpel.v1.RunRequest ) returns ( stream .scalpel.v1.RunResponse )" in described
    )


def test_reflection_describes_messages_and_the_facts_of_sites(server):
    intervention = grpcurl.reflect(server.address, "describe", "scalpel.v1.Intervention")
    assert ".scalpel.v1.ProjectOut project_out = 18" in intervention
    site = grpcurl.reflect(server.address, "describe", "scalpel.v1.Site")
    assert "SITE_HEAD_RESULT = 13" in site and "attn.hook_result" in site


@pytest.fixture(scope="module")
def model(server):
    (message,) = grpcurl.call(server.address, "GetModel").messages
    return json_format.ParseDict(message, model_pb2.GetModelResponse())


def test_get_model_tells_the_configuration(model, model_dir):
    file = json.loads((model_dir / "config.json").read_text())
    assert model.model and model.config.model_type == "gpt2"
    assert (model.config.n_layer, model.config.n_head) == (file["n_layer"], file["n_head"])
    assert (model.config.d_model, model.config.n_ctx) == (file["n_embd"], file["n_positions"])
    assert model.config.vocab_size == file["vocab_size"]
    assert model.config.d_head * model.config.n_head == model.config.d_model
    assert model.config.d_mlp == (file["n_inner"] or 4 * model.config.d_model)
    assert model.config.layer_norm_epsilon == pytest.approx(file["layer_norm_epsilon"])
    assert model.config.activation_function == file["activation_function"]
    assert model.config.scale_attn_weights and model.config.tied_head


def test_get_model_tells_where_it_runs(model):
    assert model.device == "cpu" or model.device.startswith("cuda:")
    assert model.kernels in ("avx512", "avx2", "neon", "portable", "cublas")
    assert model.threads >= 1 and model.has_tokenizer and model.server_version
    assert model.tuple_convention == "transformers-4.52..5.2"
    assert len(model.weights_sha256) == 64


def test_get_model_lists_every_site_with_its_facts(model):
    """Sites come in order of computation, with the facts that stand on the enum."""
    values = site_pb2.Site.DESCRIPTOR.values[1:]
    assert [site.site for site in model.sites] == [value.number for value in values]
    for site, value in zip(model.sites, values, strict=True):
        assert site.name == value.name.removeprefix("SITE_").lower()
        assert site.facts == value.GetOptions().Extensions[site_pb2.site]
        has_unit = site_pb2.AXIS_UNIT in site.facts.axes
        assert (site.unit_size > 0) == has_unit
    sizes = {site.name: site.unit_size for site in model.sites}
    assert sizes["qkv"] == 3 * model.config.d_model and sizes["logits"] == model.config.vocab_size


def test_get_model_tells_every_limit(model):
    for field, value in [
        (field.name, getattr(model.limits, field.name)) for field in model.limits.DESCRIPTOR.fields
    ]:
        none_by_default = field == "max_tokens_per_second_per_caller"
        assert (value > 0) != none_by_default, f"limits.{field} is not told"


def test_get_model_by_name(server, model):
    (message,) = grpcurl.call(server.address, "GetModel", {"model": model.model}).messages
    assert message["weights_sha256"] == model.weights_sha256


@pytest.mark.parametrize(
    "text",
    [
        "When Mary and John went to the store,",
        " leading",
        "naïve café 日本 🙂",
        "line\nline\ttab",
        "<|endoftext|>",
        "",
    ],
)
def test_tokenize_and_detokenize_are_inverse(server, text):
    (tokenized,) = grpcurl.call(server.address, "Tokenize", {"text": text}).messages
    ids = tokenized.get("ids", [])
    assert len(tokenized.get("tokens", [])) == len(ids) and bool(ids) == bool(text)
    (detokenized,) = grpcurl.call(server.address, "Detokenize", {"ids": ids}).messages
    assert detokenized.get("text", "") == text
    assert base64.b64decode(detokenized.get("raw", "")) == text.encode()


def test_special_token_is_one_token(server):
    (tokenized,) = grpcurl.call(server.address, "Tokenize", {"text": "a<|endoftext|>"}).messages
    assert tokenized["tokens"][1:] == ["<|endoftext|>"]


def test_part_of_a_character_is_shown_as_a_replacement(server):
    """One token of a character that takes several: its bytes are exact, its text is U+FFFD."""
    (tokenized,) = grpcurl.call(server.address, "Tokenize", {"text": "🙂"}).messages
    assert len(tokenized["ids"]) > 1
    (part,) = grpcurl.call(server.address, "Detokenize", {"ids": tokenized["ids"][:1]}).messages
    assert "\N{REPLACEMENT CHARACTER}" in part["text"]
    assert "🙂".encode().startswith(base64.b64decode(part["raw"]))


def test_the_line_that_the_server_prints_can_be_pasted(server):
    """Model, device, sites and address are printed; so is a grpcurl line that works as it is."""
    log = server.log()
    assert server.address in log and "12 layers" in log and "cpu" in log
    (line,) = [line.strip() for line in log.splitlines() if line.strip().startswith("grpcurl ")]
    tool = grpcurl.environment.grpcurl_binary()
    path = {"PATH": f"{tool.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        line,
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=path,
        cwd=grpcurl.environment.ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "finished" in grpcurl.parse_messages(done.stdout)[-1]
