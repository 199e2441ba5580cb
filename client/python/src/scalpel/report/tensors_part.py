"""The tensors that a run sent back: what each comes to, and a figure where it is small enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalpel import contents, labels
from scalpel.report import common, cube, parts
from scalpel.report.figures import VALUES_MAX, Dimension, Figure
from scalpel.report.parts import Html
from scalpel.tensors import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.run_result import RunResult

# Cells of one matrix; of more, the norm of each vector is drawn.
_CELLS_MAX = 4000
# Of a block output tuple.
ELEMENTS = ("hidden states", "attentions")
_SCORES = ("pattern", "attn_scores")


def captures(run: RunResult) -> Html:
    """A figure for each capture and prompt, and a table of all."""
    found = [tensor for tensor in run.tensors if tensor.kind == "capture"]
    if not found:
        return Html()
    names = dict.fromkeys(tensor.name for tensor in found)
    figures = [figure for name in names for figure in capture_figures(run, name)]
    return parts.section("Captures", *map(parts.figure, figures), _table(run, found))


def capture_figures(run: RunResult, name: str) -> list[Figure]:
    """Of each prompt."""
    figures: list[Figure] = []
    for prompt in range(len(run.prompts)):
        own = [
            tensor
            for tensor in run.tensors
            if (tensor.kind, tensor.name, tensor.prompts) == ("capture", name, (prompt,))
        ]
        if own:
            title = f"{name} in prompt {prompt}" if len(run.prompts) > 1 else name
            figures += _figures(title, own, labels.tensor_labels(run, own[0]))
    return figures


def block_outputs(run: RunResult) -> Html:
    """The tuples: how many elements, what they are, and how they look."""
    if not run.block_outputs:
        return Html()
    elements = ELEMENTS[: max(len(output.tensors) for output in run.block_outputs)]
    figures = [one for element in elements for one in block_output_figures(run, element)]
    return parts.section("Block outputs", *map(parts.figure, figures), _tuples(run))


def block_output_figures(run: RunResult, element: str) -> list[Figure]:
    """Of one of the `ELEMENTS` of the tuples, for each prompt."""
    figures: list[Figure] = []
    for prompt in range(len(run.prompts)):
        found = [output for output in run.block_outputs if prompt in output.prompts]
        own = [_of_prompt(one.tensors[ELEMENTS.index(element)], prompt) for one in found]
        title = f"{element} of prompt {prompt}" if len(run.prompts) > 1 else element
        figures += _figures(title, own, labels.tensor_labels(run, own[0]))
    return figures


def hidden_states(run: RunResult) -> Html:
    """The norm of each vector, by entry and position."""
    found = [tensor for tensor in run.tensors if tensor.kind == "hidden_states"]
    if not found:
        return Html()
    shown: list[Html] = []
    for prompt in range(len(run.prompts)):
        own = [_of_prompt(tensor, prompt) for tensor in found if prompt in tensor.prompts]
        title = f"hidden states of prompt {prompt}" if len(run.prompts) > 1 else "hidden states"
        sides = labels.tensor_labels(run, own[0])
        made = _norms(title, own, ["entry", *own[0].axes], [_entries(own), *sides])
        shown += map(parts.figure, made)
    return parts.section("Hidden states", *shown, _table(run, found))


def _of_prompt(tensor: Tensor, prompt: int) -> Tensor:
    """One prompt's part of a batch."""
    index = tensor.prompts.index(prompt)
    return dataclasses.replace(
        tensor, prompts=(prompt,), axes=tensor.axes[1:], indices=tensor.indices[1:],
        stored=tensor.stored[index],
    )  # fmt: skip


def _entries(found: Sequence[Tensor]) -> list[str]:
    """Layers, or of hidden states the entries."""
    keys = sorted({_key(tensor) for tensor in found})
    return ["–" if key < 0 else str(key) for key in keys]


def _key(tensor: Tensor) -> int:
    if tensor.kind == "hidden_states":
        return tensor.index or 0
    return -1 if tensor.layer is None else tensor.layer


def _by_run(found: Sequence[Tensor]) -> dict[str, npt.NDArray[np.float64]]:
    """Arrays [layer, *axes] by run."""
    runs = {}
    for name, clean in contents.RUNS:
        own = sorted((t for t in found if t.clean == clean), key=_key)
        if own:
            runs[name] = np.stack([tensor.numpy().astype(np.float64) for tensor in own])
    return runs


def _figures(
    title: str, found: Sequence[Tensor], sides: Sequence[Sequence[str]]
) -> Iterator[Figure]:
    """Matrices as they are where they are small, else the norms of their vectors."""
    axes, shape = found[0].axes, found[0].shape
    names = ["layer", *axes]
    sizes = dict(zip(axes, shape, strict=True))
    cells = int(np.prod([size for axis, size in sizes.items() if axis != "head"]))
    total = sum(int(np.prod(tensor.shape)) for tensor in found)
    everything = [_entries(found), *sides]
    if found[0].site in _SCORES or (cells <= _CELLS_MAX and total <= VALUES_MAX):
        yield from _matrices(title, found, names, everything)
    else:
        yield from _norms(title, found, names, everything)


def _matrices(
    title: str, found: Sequence[Tensor], names: list[str], sides: Sequence[Sequence[str]]
) -> Iterator[Figure]:
    runs = _by_run(found)
    dimensions = list(map(Dimension, names, sides))
    if "head" in names:  # The reader chooses it, as the layer.
        at = names.index("head")
        dimensions.insert(1, dimensions.pop(at))
        runs = {name: np.moveaxis(array, at, 1) for name, array in runs.items()}
    site = found[0].site
    label = "attention weight" if site == "pattern" else site
    made = cube.figure(
        title,
        runs,
        dimensions,
        labels=[label],
        domain=(0.0, 1.0) if site == "pattern" else None,
        centre=math.nan if site == "pattern" else 0.0,
    )
    if made is not None:
        yield made


def _norms(
    title: str, found: Sequence[Tensor], names: list[str], sides: Sequence[Sequence[str]]
) -> Iterator[Figure]:
    # In float64, since the squares of large and of small float32 numbers are none.
    runs = {
        name: np.linalg.norm(array.astype(np.float64), axis=-1)
        for name, array in _by_run(found).items()
    }
    dimensions = list(map(Dimension, names[:-1], sides[:-1]))
    label = f"L2 norm of {found[0].site}"
    note = "The length of each vector: there are too many elements to draw them all."
    made = cube.figure(title, runs, dimensions, labels=[label], note=note)
    if made is not None:
        yield made


def _table(run: RunResult, found: Sequence[Tensor]) -> Html:
    header = ("name", "layer", "prompts", "run", "shape", "type", *common.DISTRIBUTION)
    return parts.table(header, [_row(run, tensor) for tensor in found])


def _row(run: RunResult, tensor: Tensor) -> list[parts.Cell]:
    shape = " × ".join(
        f"{size} {axis}" for axis, size in zip(tensor.axes, tensor.shape, strict=True)
    )
    prompts = ", ".join(map(str, tensor.prompts))
    whose = common.run_name(run, tensor.clean)
    about = [tensor.name, tensor.layer, prompts, whose, shape, tensor.dtype]
    return [*about, *common.distribution_row(tensor.numpy())]


def _tuples(run: RunResult) -> Html:
    header = ("name", "layer", "prompts", "run", "shape", "type", *common.DISTRIBUTION)
    counts = sorted({len(output.tensors) for output in run.block_outputs})
    elements = " or ".join(map(str, counts))
    plural = "" if counts == [1] else "s"
    said = f"Each output is a tuple of {elements} element{plural}."
    rows = [_row(run, tensor) for output in run.block_outputs for tensor in output.tensors]
    return parts.join([parts.paragraph(said), parts.table(header, rows)])
