"""What the figures show, in sentences that follow from the numbers: each says what was measured,
and which of its forms is chosen depends on that alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scalpel.report.parts import number
from scalpel.study.experiments import MLP_FACTOR, NOISE_MEAN, NOISE_STD, Setting
from scalpel.study.language import (
    at_most,
    change,
    listed,
    percent,
    position_name,
    prediction,
    ratio,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.run_result import RunResult

# Float32 sums of a few hundred weights are this exact.
_ROUNDING = 1e-5


def zero_keys(run: RunResult, at: Setting) -> list[str]:
    """A head without keys attends uniformly."""
    clean = run.capture("pattern", clean=True)[0].astype(np.float64)
    edited = run.capture("pattern")[0].astype(np.float64)
    length = len(edited)
    favourite = int(clean[-1].argmax())
    uniform = np.tril(1.0 / np.arange(1, length + 1)[:, None] * np.ones(length))
    off = float(np.abs(edited - uniform).max())
    before = "In the clean run its last query gives the largest part of its weight,"
    before += f" {percent(clean[-1, favourite])}, to {position_name(run.prompts[0], favourite)}."
    after = f"Without keys all its scores are 0, and each of the {length} positions gets"
    after += f" {percent(float(edited[-1].mean()))}; no weight of any query"
    after += f" differs from that of uniform attention by more than {number(off)}."
    name = f"Head {at.head} of layer {at.head_layer}"
    return [f"{name} loses its keys. {before} {after}", _entropies(run, at, length)]


def _entropies(run: RunResult, at: Setting, length: int) -> str:
    clean = run.stat("entropy", "entropy", clean=True)
    edited = run.stat("entropy", "entropy")
    uniform = float(np.log(np.arange(1, length + 1)).mean())
    own = float(edited[at.head])
    said = f"Its entropy, in the mean over queries, {change(float(clean[at.head]), own)} nats: "
    if abs(own - uniform) <= _ROUNDING:
        said += "that of uniform attention. "
    else:
        said += f"uniform attention has {number(uniform)}. "
    others = np.delete(np.abs(edited - clean), at.head)
    if len(others):
        moved = at_most(float(others.max()), "does not change", "changes by at most {} nats")
        said += f"The entropy of the other heads of the layer {moved}. "
    said += "So the head is not off: it still writes, namely the mean of the values that it sees. "
    return said + prediction(run)


def noise_neurons(run: RunResult, at: Setting) -> list[str]:
    """Noise in one block, and how far it is carried."""
    (report,) = run.reports
    length = len(run.prompts[0])
    moments = [
        f"the {name} {change(float(run.stat('before', name)), float(run.stat('after', name)))}"
        for name in ("mean", "std")
    ]
    neurons = (
        f"{report.elements_selected // length:,} neurons of block {at.noise_layer}, every second"
        f" one, become noise of mean {number(NOISE_MEAN)} and std {number(NOISE_STD)}, at each of"
        f" the {length} positions. Over all neurons of the block {listed(moments)}."
    )
    distance = np.atleast_1d(run.stat("block output", "relative_l2"))
    cosine = np.atleast_1d(run.stat("block output", "cosine"))
    here, last = at.noise_layer, len(distance) - 1
    said = []
    if here > 0:
        untouched = float(distance[:here].max())
        some = "Before that block outputs move by at most {} of their length."
        said.append(at_most(untouched, "Before that block nothing changes.", some))
    said.append(
        f"The block's output moves by {number(distance[here])} times the length of the clean one,"
        f" and its cosine with the clean one is {number(cosine[here])}."
    )
    if last > here:
        moved = change(float(distance[here]), float(distance[last]))
        angle = change(float(cosine[here]), float(cosine[last]))
        said.append(f"From there to layer {last} that distance {moved}, and the cosine {angle}.")
    return [neurons, " ".join([*said, prediction(run)])]


def scale_block(run: RunResult, at: Setting, factor: float) -> list[str]:
    """The std where it is scaled, and what the later blocks make of it."""
    clean = np.atleast_1d(run.stat("block output", "std", clean=True))
    edited = np.atleast_1d(run.stat("block output", "std"))
    layer, last = at.scale_layer, len(clean) - 1
    said = f"Times {number(factor)}, the std of layer {layer}"
    said += f" {change(float(clean[layer]), float(edited[layer]))}."
    also = [
        f"the {words} {change(*_pair(run, name, layer))}"
        for name, words in (("abs_max", "largest element"), ("mean_l2_norm", "mean norm"))
    ]
    said += f" With it {listed(also)}."
    if layer == last:
        after = "It is the last block: behind it the final LayerNorm divides the scale out, but for"
        after += " its epsilon."
    else:
        after = _afterwards(clean, edited, layer)
    return [said, f"{after} {prediction(run)}"]


def _pair(run: RunResult, statistic: str, layer: int) -> tuple[float, float]:
    clean = run.stat("block output", statistic, layer=layer, clean=True)
    return float(clean), float(run.stat("block output", statistic, layer=layer))


def _afterwards(clean: npt.NDArray[np.float64], edited: npt.NDArray[np.float64], layer: int) -> str:
    """Where the std goes from there: by itself, and in proportion to that of the clean run."""
    last = len(clean) - 1
    here, end = float(edited[layer]), float(edited[last])
    towards = (end - here) * (clean[layer] - edited[layer]) > 0
    if number(here) == number(end):
        verb = "stays at"
    elif end > here:
        verb = "recovers to" if towards else "rises further, to"
    else:
        verb = "falls back to" if towards else "falls further, to"
    shares = [ratio(float(edited[i]), float(clean[i])) for i in (layer, last)]
    return (
        f"By layer {last} it {verb} {number(end)}. In proportion to the clean run it"
        f" {_approach(edited[layer] / clean[layer], edited[last] / clean[last])}: at layer {layer}"
        f" it is {shares[0]} the clean {number(clean[layer])}, at layer {last} {shares[1]} the"
        f" clean {number(clean[last])}."
    )


def _approach(begin: float, end: float) -> str:
    """How a ratio to the clean run moves, with 1 as the goal."""
    if abs(np.log(end)) < _ROUNDING:
        return "comes all the way back"
    if (begin - 1) * (end - 1) < 0:
        return "goes past the clean one"
    if abs(np.log(end)) < abs(np.log(begin)):
        return "comes closer again"
    return "moves further away"


def block_output(plain: RunResult, full: RunResult, at: Setting) -> list[str]:
    """One element, or two; and what the second holds."""
    (hidden,) = plain.block_output(at.scale_layer)
    again, attentions = full.block_output(at.scale_layer)
    off = float(np.abs(hidden.astype(np.float64) - again).max())
    same = at_most(off, "the same to the last bit", "the same to within {}")
    shape, wide = (" × ".join(map(str, array.shape)) for array in (hidden, attentions))
    tuples = f"The output of block {at.scale_layer} is a tuple of one element, the hidden states"
    tuples += f" ({shape}). Asked for attentions as well, it has two: the hidden states, {same},"
    tuples += f" and the attention weights ({wide})."
    weights = attentions[0].astype(np.float64)
    length = weights.shape[-1]
    sums = float(np.abs(weights.sum(axis=-1) - 1).max())
    ahead = float(np.abs(np.triu(weights, 1)).max())
    rows = f"Each query's weights sum to 1, {at_most(sums, 'exactly', 'to within {}')}, and"
    rows += at_most(ahead, " none looks ahead.", " what looks ahead is at most {}.")
    first, uniform = float(weights[..., 0].mean()), float((1 / np.arange(1, length + 1)).mean())
    against = "more than" if first > uniform else "less than"
    if percent(first) == percent(uniform):
        against = "as much as"
    rows += f" On average {percent(first)} of a query's weight goes to position 0, {against} the"
    rows += f" {percent(uniform)} of uniform attention."
    head, key = np.unravel_index(weights[:, -1].argmax(), (len(weights), length))
    rows += f" The largest weight of the last query is that of head {head}:"
    rows += f" {percent(weights[head, -1, key])} on {position_name(full.prompts[0], int(key))}."
    return [tuples, rows]


def std_by_layer(run: RunResult, at: Setting) -> list[str]:
    """For each prompt, the clean run's range, and where the edit shows."""
    return [_std_of(run, at, prompt) for prompt in range(len(run.prompts))]


def _std_of(run: RunResult, at: Setting, prompt: int) -> str:
    clean = np.atleast_1d(run.stat("block output", "std", prompt=prompt, clean=True))
    edited = np.atleast_1d(run.stat("block output", "std", prompt=prompt))
    low, high = int(clean.argmin()), int(clean.argmax())
    said = [
        f"Prompt {prompt}: in the clean run the std is lowest at layer {low},"
        f" {number(clean[low])}, and highest at layer {high}, {number(clean[high])}."
    ]
    if at.mlp_layer > 0:
        below = float(np.abs(edited - clean)[: at.mlp_layer].max())
        here = f"With the MLP of block {at.mlp_layer} times {number(MLP_FACTOR)},"
        moved = at_most(below, "no earlier layer changes", "earlier layers change by at most {}")
        said.append(f"{here} {moved}.")
    each = [
        f"of layer {layer} {change(float(clean[layer]), float(edited[layer]))}"
        for layer in dict.fromkeys((at.mlp_layer, len(clean) - 1))
    ]
    said.append(f"The std {' and that '.join(each)}.")
    far = int(np.abs(edited / clean - 1).argmax())
    share = float(edited[far] / clean[far] - 1)
    if share != 0:
        way = "higher" if share > 0 else "lower"
        said.append(f"It differs most at layer {far}, where it is {percent(abs(share))} {way}.")
    return " ".join([*said, prediction(run, prompt)])
