"""Calls as careless or hostile clients make them, and the status that comes back."""

import dataclasses
import importlib.resources
import json

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from tests.support import environment

RUN = "/scalpel.v1.InterventionService/Run"
DETAILS_KEY = "grpc-status-details-bin"
# The configuration of the model that is served; its sizes are what faults go beyond.
CONFIG = json.loads((environment.model_dir() / "config.json").read_text())


def _rpc_messages():
    """google.rpc's Status and details, in a pool of their own: other packages define them too."""
    files = environment.scratch_dir() / "rpc_details.binpb"
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"-I{environment.PROTO}",
        f"-I{well_known}",
        "--include_imports",
        f"--descriptor_set_out={files}",
        "google/rpc/status.proto",
        "google/rpc/error_details.proto",
    ]
    assert protoc.main(arguments) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(files.read_bytes()).file:
        pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}"))
        for name in ("Status", "BadRequest", "QuotaFailure", "RetryInfo")
    }


_MESSAGES = _rpc_messages()


@dataclasses.dataclass
class Refusal:
    """How a call ended: code, message, and details by their short name."""

    code: grpc.StatusCode
    message: str
    details: dict

    @property
    def violations(self) -> set[str]:
        """The fields that the BadRequest names."""
        return {violation.field for violation in self.details["BadRequest"].field_violations}


def refusal(error):
    """A grpc.RpcError as a Refusal."""
    details = {}
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            status = _MESSAGES["Status"].FromString(value)
            assert status.code == error.code().value[0] and status.message == error.details()
            for detail in status.details:
                name = detail.type_url.removeprefix("type.googleapis.com/google.rpc.")
                if name in _MESSAGES:
                    details[name] = _MESSAGES[name].FromString(detail.value)
    return Refusal(error.code(), error.details(), details)


def refused(call):
    """The Refusal that a call ends in; an answer instead is a failure."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return refusal(error)
    raise AssertionError(f"answered instead of refused: {str(answer)[:500]}")


def send_raw(client, message, method=RUN, timeout=30):
    """Sends bytes as the message of a method; returns the list of raw answers."""
    return list(client.channel.unary_stream(method)(message, timeout=timeout))
