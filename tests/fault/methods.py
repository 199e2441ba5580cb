"""Every method that a server offers, as its reflection lists them, with a good request for each."""

import grpc
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from scalpel.v1 import generate_pb2, model_pb2, server_status_pb2, service_pb2, sweep_pb2
from tests.support.client import make_request

SERVICE = "/scalpel.v1.InterventionService/"
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = [
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
]
RUN = {"prompts": [{"token_ids": {"ids": [1, 2]}}]}
SWEEP = {
    **RUN,
    "variants": {"variants": [{"interventions": [{"place": {"site": "SITE_K"}, "zero": {}}]}]},
    "metrics": [{"kl_from_clean": {}}],
}
GENERATE = {**RUN, "stop": {"max_new_tokens": 2}}
REQUESTS = {
    SERVICE + "GetModel": model_pb2.GetModelRequest(),
    SERVICE + "Tokenize": service_pb2.TokenizeRequest(text="a"),
    SERVICE + "Detokenize": service_pb2.DetokenizeRequest(ids=[1]),
    SERVICE + "Run": make_request(RUN),
    SERVICE + "Sweep": make_request(SWEEP, sweep_pb2.SweepRequest),
    SERVICE + "Generate": make_request(GENERATE, generate_pb2.GenerateRequest),
    SERVICE + "GetStatus": server_status_pb2.GetStatusRequest(),
    **dict.fromkeys(REFLECTION, reflection_pb2.ServerReflectionRequest(list_services="")),
    HEALTH + "Check": None,
    HEALTH + "Watch": None,
}


def listed(channel):
    """`/package.Service/Method` of every method of every service."""
    database = ProtoReflectionDescriptorDatabase(channel)
    return sorted(
        f"/{service}/{method.name}"
        for service in database.get_services()
        for method in _service(database, service).method
    )


def _service(database, name) -> descriptor_pb2.ServiceDescriptorProto:
    file = database.FindFileContainingSymbol(name)
    (found,) = (each for each in file.service if f"{file.package}.{each.name}" == name)
    return found


def status(channel, path, metadata=None):
    """How the server takes a good call of the method: its status, or OK once it answers."""
    request = REQUESTS[path].SerializeToString() if REQUESTS[path] else b""
    call = channel.unary_stream(path)(request, timeout=20, metadata=metadata)
    try:
        next(call)
        return grpc.StatusCode.OK
    except StopIteration:
        return call.code()
    except grpc.RpcError as error:
        return error.code()
    finally:
        call.cancel()
