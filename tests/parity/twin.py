"""The HuggingFace twin: what a request should be answered, found with transformers' GPT-2 and
forward hooks alone.

Every row of a request (a prompt, or its clean run) is one call of the model's own `forward`, in its
own thread, without padding. The hooks stop each thread at every site where the request looks or
edits, until all rows are there; then one of them does what the request says, for all rows and in
the request's order. So patches between rows need no second implementation of the model. Scores and
pattern are reached by intercepting the one softmax of eager attention, with a TorchFunctionMode.
"""

import collections
import threading
from collections.abc import Callable

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from tests.parity import meaning, operations, places, statistics
from tests.parity.answer import LOGITS_TOLERANCE, Answer, Item, activation, key
from tests.parity.twin_hooks import Hooks, SoftmaxTap
from tests.support.client import run_pb2, site_pb2, tensor_pb2

# Rows already run side by side; with threads of their own they would only be in each other's way.
torch.set_num_threads(1)

_TORCH_TYPES = {
    tensor_pb2.DATA_TYPE_FLOAT16: torch.float16,
    tensor_pb2.DATA_TYPE_BFLOAT16: torch.bfloat16,
}


def load(folder, dtype: torch.dtype = torch.float32) -> GPT2LMHeadModel:
    """A model as the reference runs it."""
    model, info = GPT2LMHeadModel.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    invented = set(info["missing_keys"]) - {"lm_head.weight"}
    assert not invented, (
        f"{folder} lacks weights, which transformers would make up: {sorted(invented)}"
    )
    return model.eval()


def answer(model: GPT2LMHeadModel, request: run_pb2.RunRequest, tokens: list[list[int]]) -> Answer:
    """What the server should answer. `tokens`: the prompts as token ids."""
    return _Run(model, request, tokens).answer()


class _Row:
    """One call of the model: a prompt with its interventions, or clean."""

    def __init__(self, index: int, prompt: int, clean: bool, tokens: list[int]):
        self.index, self.prompt, self.clean, self.tokens = index, prompt, clean, tokens
        self.tuples: dict[int, tuple[torch.Tensor, ...]] = {}  # block outputs, by layer
        self.hidden_states: tuple[torch.Tensor, ...] = ()
        self.logits: torch.Tensor | None = None


class _Run:
    """One request."""

    def __init__(
        self, model: GPT2LMHeadModel, request: run_pb2.RunRequest, tokens: list[list[int]]
    ):
        self.model, self.request = model, request
        self.shape = places.shape_of_config(model.config)
        self.rows = [_Row(i, i, False, ids) for i, ids in enumerate(tokens)]
        self.clean_row: dict[int, _Row] = {}
        if self._needs_clean_rows():
            self.clean_row = {
                i: _Row(len(tokens) + i, i, True, ids) for i, ids in enumerate(tokens)
            }
            self.rows += self.clean_row.values()
        self.reports = [operations.Report() for _ in request.interventions]
        self.found: Answer = {}
        self._unfold()
        self._values: dict[int, torch.Tensor] = {}
        self._visit: Callable[[], None] = lambda: None
        self._barrier = threading.Barrier(len(self.rows), action=lambda: self._visit())
        self._local = threading.local()

    def _needs_clean_rows(self) -> bool:
        return (
            self.request.include_clean_run
            or any(
                i.patch.WhichOneof("source") == "clean_prompt" for i in self.request.interventions
            )
            or any(
                set(probe.statistics) & set(meaning.AGAINST_CLEAN) for probe in self.request.probes
            )
        )

    def _unfold(self) -> None:
        """Sorts the request by where it has something to do."""
        count = len(self.request.prompts)
        self.steps = collections.defaultdict(
            list
        )  # (layer, visited site) -> [(index, site, prompts, where)]
        self.observed = collections.defaultdict(
            list
        )  # (layer, visited site) -> [(kind, index, place)]
        self.kept: dict[
            tuple[int, int], dict[int, torch.Tensor]
        ] = {}  # (layer, site) -> row -> value, for later layers
        for index, intervention in enumerate(self.request.interventions):
            place = places.resolve_place(intervention.place, self.shape, count)
            for layer in place.layers:
                self.steps[layer, places.visited_at(place.site)].append((index, place))
            if intervention.HasField("patch") and intervention.patch.HasField("layer"):
                self.kept[intervention.patch.layer, place.site] = {}
        for kind, specs in (("probe", self.request.probes), ("capture", self.request.captures)):
            for index, spec in enumerate(specs):
                place = places.resolve_place(spec.place, self.shape, count)
                for layer in place.layers:
                    self.observed[layer, places.visited_at(place.site)].append((kind, index, place))
        self.wanted = {
            *self.steps,
            *self.observed,
            *((layer, places.visited_at(site)) for layer, site in self.kept),
        }

    # ---- running the rows in lockstep

    def answer(self) -> Answer:
        handles = Hooks(self.model, self).install()
        errors: list[BaseException] = []
        threads = [threading.Thread(target=self._run_row, args=(row, errors)) for row in self.rows]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for handle in handles:
                handle.remove()
        causes = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
        if errors:
            raise (causes or errors)[0]
        self._finish()
        return self.found

    def _run_row(self, row: _Row, errors: list[BaseException]) -> None:
        self._local.row = row
        try:
            with torch.inference_mode(), SoftmaxTap(self):
                out = self.model(
                    torch.tensor([row.tokens]),
                    use_cache=False,
                    output_hidden_states=True,
                    output_attentions=True,
                )
            row.hidden_states, row.logits = out.hidden_states, out.logits[0]
        except BaseException as error:  # one row's failure must not leave the others waiting
            errors.append(error)
            self._barrier.abort()

    @property
    def row(self) -> _Row:
        """The row that the calling thread runs."""
        return self._local.row

    @property
    def layer(self) -> int:
        """The layer that the calling thread is in."""
        return self._local.layer

    def enter_layer(self, layer: int) -> None:
        self._local.layer = layer

    def visit(self, site: int, layer: int, value: torch.Tensor) -> torch.Tensor:
        """Called by every row's thread with its value at a site, in the shape of the contract;
        returns it edited."""
        if (layer, site) not in self.wanted:
            return value
        self._values[self.row.index] = value.clone(memory_format=torch.contiguous_format)
        self._visit = lambda: self._act(site, layer)
        self._barrier.wait()
        return self._values[self.row.index]

    # ---- what happens at one site, for all rows

    @torch.inference_mode()
    def _act(self, visited: int, layer: int) -> None:
        views = [self._views(visited, self._values[row.index]) for row in self.rows]
        # An edit that leaves small values, such as a clamp, leaves the error of what they were.
        self._scales = [{site: _largest(view) for site, view in row.items()} for row in views]
        self._observe(visited, layer, views, before=True)
        for index, place in self.steps[layer, visited]:
            for prompt in place.prompts:
                self._apply(index, place, layer, self.rows[prompt], views)
        for (kept_layer, site), values in self.kept.items():
            if kept_layer == layer and places.visited_at(site) == visited:
                values.update({row.index: views[row.index][site].clone() for row in self.rows})
        self._observe(visited, layer, views, before=False)

    def _views(self, visited: int, value: torch.Tensor) -> dict[int, torch.Tensor]:
        """The sites that share the value's storage."""
        if visited != site_pb2.SITE_QKV:
            return {visited: value}
        heads = [
            part.unflatten(1, (self.shape.n_head, -1))
            for part in value.split(self.shape.d_model, dim=1)
        ]
        return dict(zip(places.FUSED_SITES, [value, *heads], strict=True))

    def _apply(self, index: int, place: places.Place, layer: int, row: _Row, views) -> None:
        intervention = self.request.interventions[index]
        region = self._region(place, row)
        step = operations.Step(
            index, intervention, place.site, layer, row.prompt, row.tokens, self.request.seed
        )
        source = None
        if intervention.HasField("patch"):
            patch = intervention.patch
            clean = patch.WhichOneof("source") == "clean_prompt"
            source_row = self.clean_row[patch.clean_prompt] if clean else self.rows[patch.prompt]
            elsewhere = patch.HasField("layer") and patch.layer != layer
            value = (
                self.kept[patch.layer, place.site][source_row.index]
                if elsewhere
                else views[source_row.index][place.site]
            )
            source = operations.read(
                value, operations.source_region(patch, place.site, region, source_row.tokens)
            )
        step.apply(views[row.index][place.site], region, source, self.reports[index])

    def _region(self, place: places.Place, row: _Row) -> list[np.ndarray]:
        region = places.resolve_region(place.site, place.where, row.tokens, self.shape)
        if any(len(indices) == 0 for indices in region):
            raise ValueError(
                f"{places.site_name(place.site)}: the selection is empty in prompt {row.prompt}"
            )
        return region

    def _observe(self, visited: int, layer: int, views, before: bool) -> None:
        for kind, index, place in self.observed[layer, visited]:
            spec = (self.request.probes if kind == "probe" else self.request.captures)[index]
            if (spec.moment == site_pb2.MOMENT_BEFORE) != before:
                continue
            for row in self.rows:
                if row.prompt in place.prompts and (
                    not row.clean or self.request.include_clean_run
                ):
                    self._observe_row(kind, index, spec, place, layer, row, views)

    def _observe_row(self, kind, index, spec, place, layer, row, views) -> None:
        site = place.site
        region = self._region(place, row)
        part = operations.read(views[row.index][site], region)
        scale = self._scales[row.index][site]
        name = key(
            kind, spec.name or f"{places.site_name(site)}[{index}]", layer, [row.prompt], row.clean
        )
        if kind == "capture":
            self.found[name] = activation(
                _rounded(part, spec.dtype), places.site_name(site), "capture", spec.dtype, scale
            )
            return
        clean = None
        if self.clean_row:
            clean = operations.read(views[self.clean_row[row.prompt].index][site], region).numpy()
        self.found |= statistics.measure(spec, site, region, part.numpy(), clean, scale, name)

    # ---- what is known when all rows have run

    def _finish(self) -> None:
        request = self.request
        if request.HasField("block_outputs") or request.output_attentions:
            self._block_outputs()
        if request.output_hidden_states:
            for rows in self._batches():
                for index in range(self.shape.n_layer + 1):
                    value = torch.cat([row.hidden_states[index] for row in rows])
                    self._put_batch("hidden_states", index, None, rows, value, "resid_post")
        for row in self.rows:
            if not row.clean or request.include_clean_run:
                self._logits(row)
        for index, report in enumerate(self.reports):
            self._report(index, report)

    def _batches(self) -> list[list[_Row]]:
        """Rows of equal length and kind, in order of the prompts."""
        batches = collections.defaultdict(list)
        for row in self.rows:
            if not row.clean or self.request.include_clean_run:
                batches[row.clean, len(row.tokens)].append(row)
        return list(batches.values())

    def _block_outputs(self) -> None:
        for layer in list(self.request.block_outputs.layers) or range(self.shape.n_layer):
            for rows in self._batches():
                elements = zip(*(row.tuples[layer] for row in rows), strict=True)
                for element, (tensors, site) in enumerate(
                    zip(elements, ("resid_post", "pattern"), strict=False)
                ):
                    if element == 0 or self.request.output_attentions:
                        self._put_batch(
                            "block_output", element, layer, rows, torch.cat(tensors), site
                        )

    def _put_batch(
        self, kind: str, name, layer, rows: list[_Row], value: torch.Tensor, site: str
    ) -> None:
        dtype = self.request.block_outputs.dtype
        self.found[key(kind, name, layer, [row.prompt for row in rows], rows[0].clean)] = (
            activation(_rounded(value, dtype), site, kind, dtype)
        )

    def _logits(self, row: _Row) -> None:
        asked = self.request.logits
        form = asked.WhichOneof("form")
        positions = asked.positions if asked.HasField("positions") else None
        at = (
            places.resolve_positions(positions, row.tokens)
            if positions
            else np.array([len(row.tokens) - 1])
        )
        if form == "full":
            name = key("logits", "", None, [row.prompt], row.clean)
            item = activation(
                _rounded(row.logits[at], asked.full.dtype), "logits", "logits", asked.full.dtype
            )
            item.allowed = np.maximum(item.allowed, LOGITS_TOLERANCE)
            self.found[name] = item
        elif form != "none":
            for position in at:
                self._top_logits(row, int(position), row.logits[position].double())

    def _top_logits(self, row: _Row, position: int, logits: torch.Tensor) -> None:
        """The largest, or those asked for, with their log-probabilities."""
        asked = self.request.logits
        order = torch.sort(logits, descending=True, stable=True).indices
        ids = (
            torch.tensor(asked.ids.ids)
            if asked.HasField("ids")
            else order[: asked.top_k.k if asked.HasField("top_k") else 10]
        )
        values = torch.stack([logits[ids], logits.log_softmax(0)[ids]], dim=1)
        item = activation(values.numpy(), "logits", "logits")
        scale = float(logits.abs().max())
        item.allowed = max(statistics.TOLERANCE * scale, LOGITS_TOLERANCE)
        name = key("top_logits", "", None, [row.prompt], row.clean, f"position={position}")
        self.found[name] = item
        # Where a neighbour in rank is as near as rounding, which of the two comes first is not
        # compared.
        gap = torch.stack([((logits - logits[i]).abs() <= 4 * item.allowed).sum() > 1 for i in ids])
        allowed = (
            torch.where(gap, torch.inf, 0.0) if not asked.HasField("ids") else torch.zeros(len(ids))
        )
        self.found[name + " ids"] = Item(ids.numpy(), "logits", "ids", 1.0, allowed.numpy())

    def _report(self, index: int, report: operations.Report) -> None:
        intervention = self.request.interventions[index]
        name = key("report", index)
        site = places.site_name(places.resolve_place(intervention.place, self.shape, 1).site)

        def put(
            field: str, kind: str, value: float, scale: float = 1.0, allowed: float = 0.0
        ) -> None:
            self.found[f"{name} {field}"] = Item(np.asarray(value), site, kind, scale, allowed)

        put("sites", "counts", report.sites)
        put("selected", "counts", report.selected)
        put("changed", "counts", report.changed, allowed=report.uncertain)
        put(
            "max_abs_change",
            "report",
            report.max_abs_change,
            report.scale,
            2 * statistics.TOLERANCE * report.scale,
        )


def _largest(value: torch.Tensor) -> float:
    """The largest finite absolute value."""
    return float(torch.where(value.isfinite(), value, 0.0).abs().max())


def _rounded(value: torch.Tensor, dtype: int) -> np.ndarray:
    return (
        value.to(_TORCH_TYPES.get(dtype, value.dtype))
        .to(torch.float64 if value.dtype == torch.float64 else torch.float32)
        .numpy()
    )
