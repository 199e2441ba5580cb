"""Messages of a generation to its events: beside `scalpel.decoding`, which has the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from scalpel import token_text
from scalpel.decoding import Order, cost_of, probe_result, prompts_of, report_of, token_logits
from scalpel.errors import ProtocolError
from scalpel.events import Finished
from scalpel.generation_events import (
    GeneratedToken,
    GenerationEvent,
    GenerationStarted,
    StepLogits,
    StepStatistics,
    StepTensor,
    StreamFinished,
    StreamInfo,
)
from scalpel.spec import enum_name
from scalpel.tensors import TensorAssembler
from scalpel.v1 import generate_pb2, output_pb2, run_pb2, tensor_pb2


class _StreamState:
    """What has come of one stream."""

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.ids: list[int] = []
        self.tensors = TensorAssembler(0)
        self.over = False

    @property
    def step(self) -> int:
        """The step that is under way."""
        return len(self.ids)


class GenerationDecoder:
    """The decoder of Generate. Streams may come between each other; each is checked by itself."""

    def __init__(self) -> None:
        self._order = Order("generation")
        self._request = generate_pb2.GenerateRequest()
        self._streams: list[_StreamState] = []
        self._bytes_left = 0

    def decode(self, response: generate_pb2.GenerateResponse) -> Iterator[GenerationEvent]:
        kind = response.WhichOneof("event")
        self._order.see(kind, response.started.normalized.validate_only)
        if kind == "started":
            yield self._start(response.started)
        elif kind == "step":
            yield from self._step(response.step)
        elif kind == "token":
            yield self._token(response.token)
        elif kind == "stream_finished":
            yield self._stream_finished(response.stream_finished)
        elif kind == "intervention_report":
            yield report_of(response.intervention_report)
        elif kind == "finished":
            yield _finished(response.finished)

    def finish(self) -> None:
        validated = self._request.validate_only
        self._order.finish(whole=validated or all(stream.over for stream in self._streams))

    def _start(self, started: generate_pb2.GenerateStarted) -> GenerationStarted:
        self._request = started.normalized
        self._bytes_left = started.cost.response_bytes
        prompts = prompts_of(started.prompts)
        streams = tuple(
            StreamInfo(one.prompt, one.continuation, one.unsteered) for one in started.streams
        )
        if any(not 0 <= one.prompt < len(prompts) for one in streams):
            raise ProtocolError("a stream continues a prompt that there is not")
        self._streams = [_StreamState(one) for one in streams]
        for stream in self._streams:
            self._expect_tensors(stream)
        return GenerationStarted(
            request_id=started.request_id,
            digest=started.digest,
            cost=cost_of(started.cost),
            prompts=prompts,
            streams=streams,
            kv_bytes=started.kv_bytes,
            normalized=started.normalized,
        )

    def _expect_tensors(self, stream: _StreamState) -> None:
        """Tensors have ids of their own in each step."""
        if stream.tensors.is_open:
            raise ProtocolError(f"a tensor of step {stream.step} is not complete")
        selections = {one.name: one.place.where for one in self._request.captures}
        stream.tensors = TensorAssembler(self._bytes_left, selections)

    def _of(self, index: int, step: int) -> _StreamState:
        """The stream that an event is of. Its steps come in order, and none after its end."""
        if not 0 <= index < len(self._streams):
            raise ProtocolError(f"there is no stream {index}")
        stream = self._streams[index]
        if stream.over or step != stream.step:
            raise ProtocolError(f"step {step} of stream {index} came where another is due")
        return stream

    def _step(self, event: generate_pb2.StepEvent) -> Iterator[GenerationEvent]:
        stream = self._of(event.stream, event.step)
        kind = event.WhichOneof("event")
        if kind == "layer_statistics":
            yield self._layer(stream, event.stream, event.layer_statistics)
        elif kind == "tensor_chunk":
            yield from self._chunk(stream, event.stream, event.tensor_chunk)
        elif kind == "logits":
            yield _logits(event.stream, stream.step, event.logits)

    def _layer(
        self, stream: _StreamState, index: int, layer: run_pb2.LayerStatistics
    ) -> StepStatistics:
        results = (probe_result(result, self._request.probes) for result in layer.results)
        info = stream.info
        return StepStatistics(
            stream=index,
            step=stream.step,
            layer=layer.layer if layer.HasField("layer") else None,
            results=tuple(
                dataclasses.replace(one, prompt=info.prompt, clean=info.unsteered)
                for one in results
            ),
        )

    def _chunk(
        self, stream: _StreamState, index: int, chunk: tensor_pb2.TensorChunk
    ) -> Iterator[StepTensor]:
        # Each assembler may take what all of them together may; this is before it takes memory.
        self._bytes_left -= chunk.header.size_bytes
        if self._bytes_left < 0:
            raise ProtocolError("the tensors have more bytes than were announced")
        complete = stream.tensors.add(chunk)
        if complete is None:
            return
        info = stream.info
        tensor = dataclasses.replace(complete[1], prompts=(info.prompt,), clean=info.unsteered)
        yield StepTensor(index, stream.step, tensor)

    def _token(self, token: generate_pb2.GeneratedToken) -> GeneratedToken:
        stream = self._of(token.stream, token.step)
        made = GeneratedToken(
            stream=token.stream,
            step=token.step,
            token_id=token.id,
            token=token_text.decoded(token.token, token.id),
            text=token.text,
            log_prob=token.log_prob,
            sampling_log_prob=token.sampling_log_prob,
        )
        self._expect_tensors(stream)
        stream.ids.append(token.id)
        return made

    def _stream_finished(self, finished: generate_pb2.StreamFinished) -> StreamFinished:
        stream = self._of(finished.stream, len(finished.ids))
        if list(finished.ids) != stream.ids:
            raise ProtocolError(f"stream {finished.stream} ended with other tokens than it sent")
        stream.over = True
        reason = enum_name(generate_pb2.FinishReason, "FINISH_REASON_", finished.reason)
        ids = tuple(finished.ids)
        return StreamFinished(finished.stream, reason, finished.stop_string, ids, finished.text)


def _logits(stream: int, step: int, logits: output_pb2.Logits) -> StepLogits:
    (position,) = logits.positions
    return StepLogits(stream, step, token_logits(position.tokens))


def _finished(finished: generate_pb2.GenerateFinished) -> Finished:
    return Finished(
        queue_seconds=finished.queue_us * 1e-6,
        compute_seconds=finished.compute_us * 1e-6,
        tokens_computed=finished.tokens_computed,
        tensor_bytes=finished.tensor_bytes,
        new_tokens=finished.new_tokens,
    )
