"""The server's answer beside the oracle's."""

import dataclasses
from typing import Any

import numpy as np

from tests.oracle.interpret import Answer
from tests.oracle.reads import Item, log_softmax


@dataclasses.dataclass
class Difference:
    """How far one array is off, by its scale; and by how many times what it may be."""

    what: str
    site: str
    relative: float
    excess: float
    plain: bool  # Of a tensor as it is: not rounded to a shorter type, and no statistic.


class Comparison:
    """`wrong`: what is not as it must be, in words. `differences`: of every array."""

    def __init__(self, want: Answer, got: Answer):
        self.wrong: list[str] = []
        self.differences: list[Difference] = []
        for key in want.keys() ^ got.keys():
            self.wrong.append(f"{key} is {'missing' if key in want else 'not asked for'}")
        for key in want.keys() & got.keys():
            getattr(self, "_" + key[0])(key, want[key], got[key])

    def _say(self, key: Any, text: str) -> None:
        self.wrong.append(f"{key}: {text}")

    def _numbers(self, key: Any, want: Item, got: np.ndarray) -> None:
        if np.shape(got) != want.value.shape:
            self._say(key, f"shape {np.shape(got)}, not {want.value.shape}")
            return
        got = np.asarray(got, np.float64)
        same = (want.value == got) | (np.isnan(want.value) & np.isnan(got))
        same |= np.isinf(np.broadcast_to(want.error, got.shape))
        with np.errstate(all="ignore"):
            off = np.where(same, 0.0, np.abs(got - want.value))
            off[np.isnan(off)] = np.inf
            excess = np.where(off > 0, off / np.maximum(want.error, 1e-300), 0.0)
        worst = float(excess.max(initial=0))
        relative = float(off.max(initial=0)) / (want.scale or 1.0)
        plain = key[0] in ("capture", "logits", "block", "hidden") and not want.rounded
        self.differences.append(Difference(str(key), want.site, relative, worst, plain))
        if worst > 1:
            at = np.unravel_index(int(excess.argmax()), excess.shape)
            self._say(
                key,
                f"{want.site} {list(map(int, at))}: {got[at]:.7g}, not {want.value[at]:.7g}; "
                f"{(excess > 1).sum()} of {excess.size} are off, by up to {worst:.3g} times what "
                f"they may be",
            )

    def _labelled(self, key: tuple, want: Item, got: tuple) -> None:
        array, axes = got
        if axes != want.axes:
            self._say(key, f"its axes are labelled {axes}, not {want.axes}")
        self._numbers(key, want, array)

    _capture = _logits = _labelled
    _hidden = _block = _numbers

    def _probe(self, key: tuple, want: dict, got: dict) -> None:
        if want.keys() != got.keys():
            self._say(key, f"has {list(got)}, not {list(want)}")
            return
        for name, value in want.items():
            if name == "axes":
                if got[name] != value:
                    self._say(key, f"its axes are labelled {got[name]}, not {value}")
            elif name == "histogram":
                self._histogram(key, *value, *got[name])
            else:
                self._numbers((*key, name), value, got[name])

    def _histogram(
        self,
        key: tuple,
        least: np.ndarray,
        most: np.ndarray,
        counts: np.ndarray,
        below: np.ndarray,
        above: np.ndarray,
    ) -> None:
        """By how many elements lie below each edge. Below the end of the last bin are those in it,
        that edge included, so `above` is what is left."""
        under = np.concatenate([below[..., None], counts], axis=-1).cumsum(axis=-1)
        if under.shape != least.shape:
            self._say(key, f"the histogram's shape is {under.shape}, not {least.shape}")
        elif (under < least).any() or (under > most).any():
            self._say(key, f"{under.tolist()} lie below its edges, not {least.tolist()}")

    def _tokens(self, key: tuple, want: Item, got: list) -> None:
        """Top tokens or those asked for, by position; `want` has the whole vocabulary."""
        positions = [position for position, _ in got]
        assert want.axes is not None
        expected = want.axes[0][1]
        if positions != expected:
            self._say(key, f"positions {positions}, not {expected}")
            return
        for row, (position, tokens) in zip(want.value, got, strict=True):
            ids = [token for token, _, _ in tokens]
            item = dataclasses.replace(want, value=row[ids], axes=None)
            self._numbers((*key, position), item, np.array([logit for _, logit, _ in tokens]))
            values = log_softmax(row)[ids]
            log_probs = dataclasses.replace(item, value=values)
            log_probs.error = 2 * want.error + 1e-6 * np.abs(values)
            self._numbers((*key, position, "log"), log_probs, np.array([t[2] for t in tokens]))

    def _report(self, key: tuple, want: dict, got: dict) -> None:
        for name in ("sites", "selected"):
            if want[name] != got[name]:
                self._say(key, f"{name}: {got[name]}, not {want[name]}")
        if not want["changed at least"] <= got["changed"] <= want["selected"]:
            self._say(key, f"changed {got['changed']}, not at least {want['changed at least']}")
        self._numbers((*key, "largest change"), want["largest change"], got["largest change"])


def check_token_lists(spec: dict, want: Answer, got: Answer) -> list[str]:
    """Which tokens: those asked for, in that order; or k of them, none smaller than one left out,
    and of equal ones the smaller id first."""
    asked, wrong = spec.get("logits", {"top_k": 10}), []
    for key in [key for key in want if key[0] == "tokens" and key in got]:
        for row, (_, tokens) in zip(want[key].value, got[key], strict=True):
            ids = [token for token, _, _ in tokens]
            if "ids" in asked:
                if ids != asked["ids"]:
                    wrong.append(f"{key}: tokens {ids}, not {asked['ids']}")
                continue
            k = asked.get("top_k", 10)
            order = [(-logit, token) for token, logit, _ in tokens]
            if len(set(ids)) != k or order != sorted(order):
                wrong.append(f"{key}: {tokens} are not {k} tokens by falling logit")
            elif row[ids].min() < np.sort(row)[-k] - 2 * want[key].error:
                wrong.append(f"{key}: {ids} are not the largest")
    return wrong
