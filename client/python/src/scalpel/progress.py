"""Progress bars: bytes of a run that brings tensors, layers of another run, variants of a sweep,
tokens of a generation."""

from __future__ import annotations

from typing import Any

from scalpel.v1 import generate_pb2, run_pb2, sweep_pb2

Response = run_pb2.RunResponse | sweep_pb2.SweepResponse | generate_pb2.GenerateResponse


class Progress:
    """Shows how far a call is, from its responses. Needs tqdm."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self._tqdm = tqdm
        self._bar: Any = None

    def see(self, response: Response) -> None:
        """Takes the next response."""
        kind = response.WhichOneof("event")
        event: Any = getattr(response, kind) if kind else None
        if kind == "started":
            self._bar = self._tqdm(**_bar(response))
        elif kind == "tensor_chunk":
            self._advance("B", len(event.data))
        elif kind == "layer_statistics" and event.HasField("layer"):
            self._advance("layer", 1)
        elif kind == "variant":
            self._advance("variant", 1)
        elif kind == "token":
            self._advance("token", 1)

    def close(self, complete: bool = False) -> None:
        """Ends the bar; full if the call is complete, for what was foretold was an upper bound."""
        if self._bar is not None:
            if complete:
                self._bar.total = self._bar.n
            self._bar.close()

    def _advance(self, unit: str, by: int) -> None:
        if self._bar is not None and self._bar.unit == unit:
            self._bar.update(by)


class VariantsDone:
    """Shows how far a sweep over several servers is. Needs tqdm."""

    def __init__(self, total: int) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, unit="variant", desc="sweep")

    def add(self, variants: int) -> None:
        """So many more are done."""
        self._bar.update(variants)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def _bar(response: Any) -> dict[str, Any]:
    started = response.started
    if isinstance(response, sweep_pb2.SweepResponse):
        return {"total": started.variants, "unit": "variant", "desc": "sweep"}
    request = started.normalized
    if isinstance(response, generate_pb2.GenerateResponse):
        total = len(started.streams) * request.stop.max_new_tokens
        return {"total": total, "unit": "token", "desc": "generate"}
    layers = {layer for probe in request.probes for layer in probe.place.where.layers}
    if layers and not (request.captures or request.output_hidden_states):
        return {"total": len(layers), "unit": "layer", "desc": "run"}
    total = started.cost.response_bytes
    return {"total": total, "unit": "B", "unit_scale": True, "unit_divisor": 1024, "desc": "run"}
