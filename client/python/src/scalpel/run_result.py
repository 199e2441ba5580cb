"""The answer to a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scalpel import display, indices, lookup
from scalpel.events import (
    BlockOutput,
    Cost,
    Finished,
    FirstNonFinite,
    LayerStatistics,
    Prediction,
    Report,
    RunEvent,
    Started,
    TokenLogit,
    Tokens,
)
from scalpel.stats import Stats
from scalpel.tensors import Tensor
from scalpel.v1 import run_pb2

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas

E = TypeVar("E")


class RunResult:
    """Everything that a run brought. Immutable, but for the elements of arrays.

    A place is said by the name that was given to the probe or capture, by the site as it was
    written in the request, or by the site's own name. Its layers come in the order in which they
    were asked for. `layer` counts from 0, and negative ones from the last; `prompt` is an index;
    `clean=True` means the run without interventions, where it was asked for.
    """

    request: run_pb2.RunRequest
    """The request as it was sent."""
    normalized: run_pb2.RunRequest
    """The request as the server understood it."""
    request_id: str
    """Names the call in the server's log."""
    digest: str
    """Equal digests mean equal answers."""
    cost: Cost
    """What was foretold to be its cost."""
    prompts: tuple[Tokens, ...]
    """The prompts as tokens: `.ids` and `.tokens`."""
    stats: Stats
    """Statistics, by layer."""
    tensors: tuple[Tensor, ...]
    """Captures, hidden states and full logits, as they came."""
    block_outputs: tuple[BlockOutput, ...]
    """Block output tuples, as they came."""
    predictions: tuple[Prediction, ...]
    """Decoded logits, by prompt and position."""
    reports: tuple[Report, ...]
    """What each intervention did."""
    finished: Finished
    """Times, and how much was computed."""

    def __init__(self, request: run_pb2.RunRequest, events: Sequence[RunEvent]):
        (started,) = _of(Started, events)
        self.request, self.normalized = request, started.normalized
        self.request_id, self.digest = started.request_id, started.digest
        self.cost, self.prompts = started.cost, started.prompts
        results = [r for layer in _of(LayerStatistics, events) for r in layer.results]
        names = lookup.Names(request.probes, self.normalized.probes)
        self.stats = Stats(results, names)
        self.tensors = tuple(_of(Tensor, events))
        self.block_outputs = tuple(_of(BlockOutput, events))
        self.predictions = tuple(_of(Prediction, events))
        self.reports = tuple(_of(Report, events))
        (self.finished,) = _of(Finished, events)
        self._captures = lookup.Names(request.captures, self.normalized.captures)

    @property
    def first_non_finite(self) -> FirstNonFinite | None:
        """Where the first value arose that is infinite or NaN: `.site`, `.layer`, `.head`,
        `.prompt`, `.position`, `.clean`, `.by_intervention`; None where there is none in the
        residual stream, nor in the logits. What depends on it is NaN, or means nothing."""
        return self.finished.first_non_finite

    def stat(
        self,
        place: str,
        statistic: str | float,
        *,
        layer: int | None = None,
        prompt: int = 0,
        clean: bool = False,
    ) -> npt.NDArray[np.float64]:
        """One statistic by name, or one quantile by its number: [layer, *kept axes], without the
        first axis where there is one layer or `layer` says which."""
        return self.stats.array(place, statistic, layer=layer, prompt=prompt, clean=clean)

    def capture(
        self, place: str, *, layer: int | None = None, prompt: int = 0, clean: bool = False
    ) -> npt.NDArray[Any]:
        """A captured activation: [layer, *the site's axes], without the first axis where there is
        one layer or `layer` says which. One layer's array is not copied."""
        found = self._select(place, layer, prompt, clean)
        array: npt.NDArray[Any] = lookup.stack([tensor.numpy() for tensor in found])
        return array

    def tensor(
        self, place: str, *, layer: int | None = None, prompt: int = 0, clean: bool = False
    ) -> Tensor:
        """A captured activation of one layer with what it is, for `.torch()` and `.to_xarray()`.
        `layer` may be left out where there is only one."""
        found = self._select(place, layer, prompt, clean)
        if len(found) != 1:
            layers = [tensor.layer for tensor in found]
            raise LookupError(f"{place!r} is there at layers {layers}; say which")
        return found[0]

    def _select(self, place: str, layer: int | None, prompt: int, clean: bool) -> list[Tensor]:
        names = self._captures.names(place)
        layer = self._captures.layer(place, layer)
        found = [
            tensor
            for tensor in self.tensors
            if tensor.kind == "capture"
            and tensor.name in names
            and prompt in tensor.prompts
            and tensor.clean == clean
            and layer in (None, tensor.layer)
        ]
        what = f"capture of {place!r} at layer {layer}, prompt {prompt}, clean {clean}"
        return lookup.by_layer(found, what, self._captures.order(place))

    def logits(self, *, prompt: int = 0, clean: bool = False) -> npt.NDArray[Any]:
        """Full logits [position, vocab] of the positions asked: of `logits="full"`."""
        for tensor in self.tensors:
            if tensor.kind == "logits" and prompt in tensor.prompts and tensor.clean == clean:
                return tensor.numpy()
        raise LookupError(
            f"there are no full logits of prompt {prompt}, clean {clean}; ask for logits='full', "
            "or see `top`"
        )

    def top(
        self, *, prompt: int = 0, position: int = -1, clean: bool = False
    ) -> tuple[TokenLogit, ...]:
        """Decoded logits at one of the positions asked, by falling logit or in the order of the ids
        asked: `.token`, `.token_id`, `.logit`, `.log_prob`, `.prob`."""
        if position < 0:
            position += len(self.prompts[prompt])
        for one in self.predictions:
            if (one.prompt, one.position, one.clean) == (prompt, position, clean):
                return one.tokens
        raise LookupError(
            f"there are no decoded logits of prompt {prompt}, position {position}, clean {clean}"
        )

    def hidden_states(
        self, *, prompt: int = 0, clean: bool = False
    ) -> tuple[npt.NDArray[Any], ...]:
        """The n_layer + 1 hidden states of one prompt, each [position, d_model]: the embeddings,
        then each block's output, the last after the final LayerNorm."""
        found = [
            tensor
            for tensor in self.tensors
            if tensor.kind == "hidden_states" and prompt in tensor.prompts and tensor.clean == clean
        ]
        if not found:
            raise LookupError("there are no hidden states; ask with output_hidden_states=True")
        found.sort(key=lambda tensor: tensor.index or 0)
        return tuple(tensor.numpy()[tensor.prompts.index(prompt)] for tensor in found)

    def block_output(
        self, layer: int, *, prompt: int = 0, clean: bool = False
    ) -> tuple[npt.NDArray[Any], ...]:
        """A block's output tuple as HuggingFace transformers 4.52 to 5.2 has it: hidden states
        [batch, position, d_model] and, with `output_attentions`, attention weights [batch, head,
        query, key]. The batch are the prompts of equal length: see `block_outputs`."""
        asked = self.request.block_outputs.layers, self.normalized.block_outputs.layers
        layer = lookup.layer_from_start(layer, indices.depth(*asked))  # type: ignore[assignment]
        for output in self.block_outputs:
            if output.layer == layer and output.clean == clean and prompt in output.prompts:
                return tuple(tensor.numpy() for tensor in output.tensors)
        raise LookupError(f"there is no output of block {layer}, prompt {prompt}, clean {clean}")

    def predictions_to_pandas(self) -> pandas.DataFrame:
        """One row for each decoded logit: prompt, clean, position, rank, token_id, token, logit,
        log_prob, prob. Needs pandas."""
        import pandas

        rows = [
            {
                "prompt": one.prompt,
                "clean": one.clean,
                "position": one.position,
                "rank": rank,
                "token_id": token.token_id,
                "token": token.shown,
                "logit": token.logit,
                "log_prob": token.log_prob,
                "prob": token.prob,
            }
            for one in self.predictions
            for rank, token in enumerate(one.tokens)
        ]
        return pandas.DataFrame(rows)

    def reports_to_pandas(self) -> pandas.DataFrame:
        """One row for each intervention: the fields of `Report`. Needs pandas."""
        import pandas

        return pandas.DataFrame([vars(report) for report in self.reports])

    def __repr__(self) -> str:
        parts = [f"{len(self.prompts)} prompts", f"{len(self.reports)} interventions"]
        for name in ("stats", "tensors", "block_outputs", "predictions"):
            if count := len(getattr(self, name)):
                parts.append(f"{count} {name}")
        if self.first_non_finite is not None:
            parts.append(f"not finite: {self.first_non_finite}")
        seconds = self.finished.compute_seconds
        return f"<RunResult {self.request_id}: {', '.join(parts)}, {seconds * 1000:.1f} ms>"

    def _repr_html_(self) -> str:
        tensors = [*self.tensors, *(t for block in self.block_outputs for t in block.tensors)]
        several = display.first_prompts(self.prompts)
        parts = [
            display.title(f"run {self.request_id}"),
            display.prompts(self.prompts),
            *(display.predictions(self.predictions, prompt) for prompt in several),
            display.pictures(self.stats),
            display.reports(self.reports),
            display.tensors(tensors),
            display.finished(self.finished, str(self.first_non_finite or "")),
        ]
        return "".join(parts)


def _of(kind: type[E], events: Sequence[Any]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]
