"""A thin client for tests: sends a request, checks the stream's own rules, and puts the tensors
together."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf import json_format

from tests.support import environment
from tests.support.channel import open_channel
from tests.support.elements import ELEMENT_BYTES, decode_tensor

environment.import_stubs()

from scalpel.v1 import (  # noqa: E402
    intervention_pb2,
    model_pb2,
    observation_pb2,
    output_pb2,
    place_pb2,  # noqa: F401 (others import it from here)
    run_pb2,
    service_pb2,
    service_pb2_grpc,
    site_pb2,  # noqa: F401
    statistic_pb2,
    sweep_pb2,
    tensor_pb2,
)

# What goes with a call: names and values.
Metadata = Sequence[tuple[str, str]] | None

_MESSAGE_BYTES_MAX = 64 << 20


def make_request(source: Any, kind: type = run_pb2.RunRequest) -> Any:
    """A RunRequest, or one of another `kind`, from a message, a dict or text in protobuf's JSON
    form, or a file of it."""
    if isinstance(source, kind):
        return source
    if isinstance(source, pathlib.Path):
        source = source.read_text()
    if isinstance(source, str):
        source = json.loads(source)
    return json_format.ParseDict(source, kind())


@dataclasses.dataclass
class Event:
    """One message of the stream, its kind as `RunResponse.event` names it, and seconds since the
    call began."""

    kind: str
    message: Any
    at: float


@dataclasses.dataclass
class Tensor:
    """A tensor of the stream."""

    header: tensor_pb2.TensorHeader
    array: np.ndarray


class ProtocolError(AssertionError):
    """The stream broke a rule of the contract."""


class RunResult:
    """A whole answer: the events in order, and what they hold by name."""

    def __init__(self, events: list[Event]):
        self.events = events
        self.tensors: list[Tensor] = list(_assemble(events))
        self.statistics: list[observation_pb2.ProbeResult] = [
            result
            for event in events
            if event.kind == "layer_statistics"
            for result in event.message.results
        ]
        self.block_outputs: list[run_pb2.BlockOutput] = self._messages("block_output")
        self.top_logits: list[output_pb2.Logits] = self._messages("logits")
        self.reports: list[intervention_pb2.InterventionReport] = self._messages(
            "intervention_report"
        )

    def _messages(self, kind: str) -> list[Any]:
        return [event.message for event in self.events if event.kind == kind]

    @property
    def started(self) -> run_pb2.Started:
        return self._messages("started")[0]

    @property
    def finished(self) -> run_pb2.Finished:
        return self._messages("finished")[0]

    @property
    def tokens(self) -> list[list[int]]:
        """Token ids of the prompts."""
        return [list(prompt.ids) for prompt in self.started.prompts]

    def _tensors(self, kind: int, **facts: Any) -> list[Tensor]:
        def matches(header: tensor_pb2.TensorHeader) -> bool:
            return header.kind == kind and all(
                _fact(header, name) == value for name, value in facts.items()
            )

        return [tensor for tensor in self.tensors if matches(tensor.header)]

    def _tensor(self, kind: int, **facts: Any) -> np.ndarray:
        found = self._tensors(kind, **facts)
        if len(found) != 1:
            raise ProtocolError(f"{len(found)} tensors of kind {kind} with {facts}, not one")
        return found[0].array

    def capture(
        self, name: str, layer: int | None = None, prompt: int = 0, clean: bool = False
    ) -> np.ndarray:
        """A captured activation by the capture's name."""
        return self._tensor(
            tensor_pb2.TENSOR_KIND_CAPTURE, name=name, layer=layer, prompts=[prompt], clean=clean
        )

    def logits(self, prompt: int = 0, clean: bool = False) -> np.ndarray:
        """Full logits, [position, vocab]."""
        return self._tensor(tensor_pb2.TENSOR_KIND_LOGITS, prompts=[prompt], clean=clean)

    def hidden_states(self, prompt: int = 0, clean: bool = False) -> list[np.ndarray]:
        """The n_layer + 1 hidden states of one prompt, each [position, d_model]."""
        found = [
            tensor
            for tensor in self._tensors(tensor_pb2.TENSOR_KIND_HIDDEN_STATES, clean=clean)
            if prompt in tensor.header.prompts
        ]
        found.sort(key=lambda tensor: tensor.header.index)
        if [tensor.header.index for tensor in found] != list(range(len(found))):
            raise ProtocolError("hidden states are missing or double")
        return [tensor.array[list(tensor.header.prompts).index(prompt)] for tensor in found]

    def block_output(
        self, layer: int, prompt: int = 0, clean: bool = False
    ) -> tuple[np.ndarray, ...]:
        """The output tuple of a block, with its batch axis, of the batch that holds the prompt."""
        found = [
            output
            for output in self.block_outputs
            if output.layer == layer and output.clean == clean and prompt in output.prompts
        ]
        if len(found) != 1:
            raise ProtocolError(
                f"{len(found)} output tuples of layer {layer} for prompt {prompt}, not one"
            )
        by_id = {tensor.header.tensor_id: tensor.array for tensor in self.tensors}
        return tuple(by_id[tensor_id] for tensor_id in found[0].tensor_ids)

    def statistic(
        self,
        probe: str,
        statistic: int | str,
        layer: int | None = None,
        prompt: int = 0,
        clean: bool = False,
    ) -> np.ndarray:
        """One statistic of a probe by name, in the shape of its kept axes."""
        result = self.probe(probe, layer, prompt, clean)
        if isinstance(statistic, str):
            statistic = statistic_pb2.Statistic.Value("STATISTIC_" + statistic.upper())
        values = next(entry.values for entry in result.statistics if entry.statistic == statistic)
        return np.array(values).reshape(list(result.shape))

    def probe(
        self, name: str, layer: int | None = None, prompt: int = 0, clean: bool = False
    ) -> observation_pb2.ProbeResult:
        """What a probe saw at one layer in one prompt."""
        found = [
            result
            for result in self.statistics
            if result.name == name
            and result.prompt == prompt
            and result.clean == clean
            and (result.layer if result.HasField("layer") else None) == layer
        ]
        if len(found) != 1:
            raise ProtocolError(
                f"{len(found)} results of probe {name!r} at layer {layer}, prompt {prompt}, not one"
            )
        return found[0]

    def top_tokens(self, prompt: int = 0, clean: bool = False) -> list[output_pb2.PositionLogits]:
        """Logits asked as top_k or ids, by position."""
        found = [
            logits
            for logits in self.top_logits
            if logits.prompt == prompt and logits.clean == clean
        ]
        if len(found) != 1:
            raise ProtocolError(f"{len(found)} logits of prompt {prompt}, not one")
        return list(found[0].positions)

    def content(self) -> list[bytes]:
        """Everything that must be equal when the same request is answered twice: all but request id
        and timings."""
        return [
            event.message.SerializeToString(deterministic=True)
            for event in self.events
            if event.kind not in ("started", "finished")
        ]


class SweepResult:
    """A whole sweep: the events in order, and what they hold."""

    def __init__(self, events: list[Event]):
        self.events = events
        self.variants: dict[int, sweep_pb2.VariantResult] = {
            event.message.index: event.message for event in events if event.kind == "variant"
        }

    def _messages(self, kind: str) -> list[Any]:
        return [event.message for event in self.events if event.kind == kind]

    @property
    def started(self) -> sweep_pb2.SweepStarted:
        return self._messages("started")[0]

    @property
    def clean(self) -> sweep_pb2.SweepClean:
        return self._messages("clean")[0]

    @property
    def finished(self) -> sweep_pb2.SweepFinished:
        return self._messages("finished")[0]

    def metrics_of_one_number(self) -> list[tuple[str, int]]:
        """Each with its prompt."""
        first = self.variants[0].metrics
        return [(metric.name, metric.prompt) for metric in first if len(metric.values) == 1]

    def matrix(self, metric: str, prompt: int = 0) -> np.ndarray:
        """The values of a metric of one number by name, in the grid's shape."""
        variants = range(self.started.variants)
        values = [self.values(variant, metric, prompt).item() for variant in variants]
        shape = [len(axis.labels) for axis in self.started.axes]
        return np.array(values).reshape(shape or [len(values)])

    def values(self, variant: int, metric: str, prompt: int = 0) -> np.ndarray:
        """One variant's values of a metric by name."""
        return metric_values(self.variants[variant].metrics, metric, prompt)

    def clean_values(self, metric: str, prompt: int = 0) -> np.ndarray:
        """The clean run's values of a metric by name."""
        return metric_values(self.clean.metrics, metric, prompt)


def metric_values(results: Iterable[Any], metric: str, prompt: int = 0) -> np.ndarray:
    (found,) = (r for r in results if r.name == metric and r.prompt == prompt)
    return np.array(found.values)


def _fact(header: tensor_pb2.TensorHeader, name: str) -> Any:
    if name == "layer":
        return header.layer if header.HasField("layer") else None
    value = getattr(header, name)
    return list(value) if name == "prompts" else value


def _assemble(events: list[Event]) -> Iterator[Tensor]:
    """Puts chunks together, and checks that they come in order, without gaps, and not
    interleaved."""
    header, data = None, bytearray()
    ids = set()
    for event in events:
        if event.kind != "tensor_chunk":
            continue
        chunk = event.message
        if header is None:
            if not chunk.HasField("header") or chunk.offset != 0:
                raise ProtocolError(
                    f"tensor {chunk.tensor_id} does not begin with a header at offset 0"
                )
            header, data = chunk.header, bytearray()
            elements = int(np.prod(list(header.shape), dtype=np.int64))
            if header.size_bytes != elements * ELEMENT_BYTES[header.dtype]:
                raise ProtocolError(
                    f"tensor {header.name!r}: size_bytes {header.size_bytes} is not its shape's"
                )
        elif chunk.HasField("header"):
            raise ProtocolError(f"tensor {chunk.header.name!r} begins inside {header.name!r}")
        if chunk.tensor_id != header.tensor_id or chunk.offset != len(data):
            raise ProtocolError(
                f"tensor {header.name!r}: a chunk at {chunk.offset}, not at {len(data)}"
            )
        data += chunk.data
        if len(data) > header.size_bytes:
            raise ProtocolError(f"tensor {header.name!r} is longer than its size_bytes")
        if len(data) == header.size_bytes:
            ids.add(header.tensor_id)
            yield Tensor(header, decode_tensor(header.dtype, list(header.shape), bytes(data)))
            header = None
    if header is not None:
        raise ProtocolError(f"tensor {header.name!r} is incomplete")
    tensors = sum(event.kind == "tensor_chunk" and event.message.offset == 0 for event in events)
    if ids != set(range(tensors)):
        raise ProtocolError(f"tensor ids are not 0 to {tensors - 1}: {sorted(ids)}")


class Client:
    """Calls of one server. `stub` is there for everything this class has no method for. Further
    arguments are those of `open_channel`."""

    def __init__(self, address: str, timeout_seconds: float = 120, **identity: Any):
        options = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
        ]
        self.address, self.identity = address, identity
        self.timeout_seconds = timeout_seconds
        self.channel = open_channel(address, options=options, **identity)
        self.stub = service_pb2_grpc.InterventionServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def events(
        self, request: Any, timeout_seconds: float | None = None, metadata: Metadata = None
    ) -> Iterator[Event]:
        """The events of a run as they arrive."""
        return self._events(self.stub.Run, make_request(request), timeout_seconds, metadata)

    def _events(
        self, method: Any, request: Any, timeout_seconds: float | None, metadata: Metadata
    ) -> Iterator[Event]:
        begin = time.monotonic()
        timeout_seconds = timeout_seconds or self.timeout_seconds
        for response in method(request, timeout=timeout_seconds, metadata=metadata):
            kind = response.WhichOneof("event")
            yield Event(kind, getattr(response, kind), time.monotonic() - begin)

    def run(
        self, request: Any, timeout_seconds: float | None = None, metadata: Metadata = None
    ) -> RunResult:
        """Runs a request to its end. Raises grpc.RpcError for any status but OK."""
        return RunResult(list(self.events(request, timeout_seconds, metadata)))

    def sweep(
        self, request: Any, timeout_seconds: float | None = None, metadata: Metadata = None
    ) -> SweepResult:
        """Runs a sweep to its end. Raises grpc.RpcError for any status but OK."""
        request = make_request(request, sweep_pb2.SweepRequest)
        return SweepResult(list(self._events(self.stub.Sweep, request, timeout_seconds, metadata)))

    def model(self) -> model_pb2.GetModelResponse:
        return self.stub.GetModel(model_pb2.GetModelRequest(), timeout=self.timeout_seconds)

    def tokenize(self, text: str) -> list[int]:
        return list(
            self.stub.Tokenize(
                service_pb2.TokenizeRequest(text=text), timeout=self.timeout_seconds
            ).ids
        )

    def detokenize(self, ids: list[int]) -> service_pb2.DetokenizeResponse:
        return self.stub.Detokenize(
            service_pb2.DetokenizeRequest(ids=ids), timeout=self.timeout_seconds
        )
