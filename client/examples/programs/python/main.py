"""Scalpel from Python: statistics and tensors of a run, a refused request, a deadline, a cancel."""

import pathlib
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import vectors
from scalpel.v1 import (
    intervention_pb2,
    observation_pb2,
    output_pb2,
    place_pb2,
    prompt_pb2,
    run_pb2,
    service_pb2_grpc,
    statistic_pb2,
)
from tensors import Assembler

TEXT = "When Mary and John went to the store, John gave a drink to"


def make_request(prompts: int = 1) -> run_pb2.RunRequest:
    """Block 9 scaled by 0.1, beside the clean run; statistics, and an attention pattern."""
    prompt = prompt_pb2.Prompt(text=" ".join([TEXT] * 16))
    return run_pb2.RunRequest(
        prompts=[prompt] * prompts,
        interventions=[
            intervention_pb2.Intervention(
                place=place_pb2.Place(path="blocks.9.hook_resid_post"),
                scale=intervention_pb2.Scale(factor=0.1),
            )
        ],
        probes=[
            observation_pb2.Probe(
                place=place_pb2.Place(path="resid_post"), statistics=[statistic_pb2.STATISTIC_STD]
            )
        ],
        captures=[
            observation_pb2.Capture(place=place_pb2.Place(path="blocks.10.attn.hook_pattern"))
        ],
        logits=output_pb2.LogitsRequest(none=output_pb2.NoLogits()),
        include_clean_run=True,
    )


def slow_request() -> run_pb2.RunRequest:
    """A request of seconds: the medians of the attention patterns of 32 prompts."""
    request = make_request(prompts=32)
    request.probes.add(place=place_pb2.Place(path="pattern"), quantiles=[0.5])
    return request


def run(stub: service_pb2_grpc.InterventionServiceStub) -> None:
    """Events arrive while later layers still compute."""
    assembler = Assembler()
    for response in stub.Run(make_request()):
        match response.WhichOneof("event"):
            case "started":
                print(f"started {len(response.started.prompts[0].ids)} tokens")
            case "layer_statistics":
                results = response.layer_statistics.results
                std = {result.clean: result.statistics[0].values[0] for result in results}
                layer = response.layer_statistics.layer
                print(f"layer {layer} std clean {std[True]:.4f} edited {std[False]:.4f}")
            case "tensor_chunk":
                if line := assembler.add(response.tensor_chunk):
                    print(line)
    assembler.finish()


def refused(stub: service_pb2_grpc.InterventionServiceStub) -> None:
    """A wrong request is answered with every violation at once."""
    request = make_request()
    request.interventions[0].place.path = "resid_post"
    request.interventions[0].place.where.layers.append(1000)
    request.interventions[0].scale.ClearField("factor")
    try:
        list(stub.Run(request))
    except grpc.RpcError as error:
        print(f"refused {error.code().name}")
        bad = error_details_pb2.BadRequest()
        for detail in rpc_status.from_call(error).details:
            if detail.Unpack(bad):
                for violation in bad.field_violations:
                    print(f"violation {violation.field}: {violation.description}")
        return
    raise AssertionError("a wrong request was accepted")


def deadline(stub: service_pb2_grpc.InterventionServiceStub) -> None:
    try:
        list(stub.Run(slow_request(), timeout=0.2))
    except grpc.RpcError as error:
        print(f"deadline {error.code().name}")
        return
    raise AssertionError("the run was complete before its deadline")


def cancel(stub: service_pb2_grpc.InterventionServiceStub) -> None:
    call = stub.Run(slow_request())
    event = next(call).WhichOneof("event")
    call.cancel()
    try:
        list(call)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.CANCELLED:
            print(f"cancelled after {event}")
            return
        raise
    raise AssertionError("the run was complete before it was cancelled")


def talk(address: str) -> None:
    # With TLS: grpc.secure_channel(address, grpc.ssl_channel_credentials()).
    # With a token: metadata=[("authorization", f"Bearer {token}")] with each call of the stub.
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.InterventionServiceStub(channel)
        for step in (run, refused, deadline, cancel):
            step(stub)


def main() -> None:
    match sys.argv[1:]:
        case ["check-vectors", folder]:
            vectors.check(pathlib.Path(folder))
        case [address]:
            talk(address)
        case _:
            talk("127.0.0.1:50051")


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
