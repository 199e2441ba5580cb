"""Parts that the reports of runs and of sweeps share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import json_format

from scalpel import contents, labels
from scalpel.events import Cost, Finished, ProbeResult, Tokens
from scalpel.info import ModelInfo
from scalpel.report import parts, words
from scalpel.report.figures import Dimension
from scalpel.report.parts import Html
from scalpel.v1 import intervention_pb2, run_pb2, sweep_pb2

if TYPE_CHECKING:
    from scalpel.run_result import RunResult

Request = run_pb2.RunRequest | sweep_pb2.SweepRequest


def model_facts(info: ModelInfo) -> list[tuple[str, Any]]:
    """Who answered."""
    config = info.config
    return [
        ("model", info.name),
        ("layers, heads, width", f"{config.n_layer}, {config.n_head}, {config.d_model}"),
        ("weights", info.weights_sha256[:16]),
        ("server", f"{info.server_version} on {info.device}"),
    ]


def lead(
    info: ModelInfo, digest: str, cost: Cost, finished: Finished | None, not_finite: str = ""
) -> Html:
    """Who answered, what it cost, and where values are infinite or NaN."""
    pairs = [
        *model_facts(info),
        ("answer's digest", digest[:16]),
        ("work", f"{cost.flops / 1e6:,.1f} MFLOP at most"),
    ]
    if finished is not None:
        pairs.append(("computed", f"{finished.tokens_computed:,} tokens"))
        pairs.append(("time", f"{1000 * finished.compute_seconds:,.1f} ms"))
    if not_finite:
        pairs.append(("not finite", not_finite))
    return parts.facts(pairs)


def prompts(title: str, several: Sequence[Tokens]) -> Html:
    """Each prompt, token by token."""
    shown = []
    for i, prompt in enumerate(several):
        if len(several) > 1:
            shown.append(parts.element("h3", f"prompt {i}"))
        shown.append(parts.tokens(prompt.tokens, prompt.ids))
    return parts.section(title, *shown)


def interventions(several: Sequence[intervention_pb2.Intervention], varied: bool = False) -> Html:
    """What was asked to be done, before anything is known of what it did."""
    rows = [
        [one.name or f"{one.WhichOneof('operation')}[{i}]",
         words.place(one.place), words.operation(one)]
        for i, one in enumerate(several)
    ]  # fmt: skip
    note = "What the axes set is left out here." if varied else ""
    header = ("intervention", "where", "what")
    return parts.join([parts.paragraph(note) if note else "", parts.table(header, rows)])


def request(message: Request, is_open: bool = False) -> Html:
    """The request as it was sent."""
    shown = parts.details("as it was sent", request_code(message), is_open=is_open)
    return parts.section("Request", shown)


def request_code(message: Request) -> Html:
    """A request in protobuf's JSON."""
    content = json_format.MessageToJson(message, preserving_proto_field_name=True)
    return parts.code(parts.pretty_json(content))


def run_name(run: RunResult, clean: bool) -> str:
    """What a run is called where there is also the clean one, or nothing was done."""
    return contents.run_name(clean) if clean or run.reports else "as the model is"


def layers_dimension(layers: Iterable[int | None]) -> Dimension:
    """An axis of layers; of a site without layers a single place."""
    return Dimension("layer", ["–" if layer is None else str(layer) for layer in layers])


def kept_dimensions(result: ProbeResult, shape: Sequence[int], prompt: Tokens) -> list[Dimension]:
    """The kept axes of a probe: the model's own indices, with tokens where they are positions."""
    return [
        Dimension(axis, labels.axis_labels(axis, size, along, prompt))
        for axis, size, along in zip(result.axes, shape, result.indices, strict=True)
    ]


def distribution_row(array: Any) -> list[float | str]:
    """Mean, std, min, max of what is finite: the same as the header `DISTRIBUTION`."""
    finite = np.asarray(array, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return ["", "", "", ""]
    std = float(finite.std(ddof=1)) if finite.size > 1 else float("nan")
    return [float(finite.mean()), std, float(finite.min()), float(finite.max())]


DISTRIBUTION = ("mean", "std", "min", "max")
