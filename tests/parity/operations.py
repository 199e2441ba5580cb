"""The operations of the contract, in torch."""

import dataclasses
import math

import numpy as np
import torch

from tests.parity import noise, places
from tests.parity.answer import ACTIVATION_TOLERANCE
from tests.support.client import intervention_pb2, site_pb2, tensor_pb2
from tests.support.elements import decode_tensor


@dataclasses.dataclass
class Report:
    """What one intervention did, summed over layers and prompts."""

    sites: int = 0
    selected: int = 0
    changed: int = 0
    uncertain: int = 0  # elements that come out with the same bits or not by the last bit before
    max_abs_change: float = 0.0
    scale: float = 1.0  # of the activations it met


def operand_of(tensor: tensor_pb2.Tensor) -> torch.Tensor:
    """A tensor of a request, as float32."""
    if tensor.values:
        array = np.array(tensor.values, dtype=np.float32).reshape(list(tensor.shape) or -1)
    else:
        dtype = tensor.dtype or tensor_pb2.DATA_TYPE_FLOAT32
        array = decode_tensor(dtype, list(tensor.shape), tensor.data).astype(np.float32)
    return torch.from_numpy(array)


@dataclasses.dataclass
class Step:
    """One intervention at one layer in one row."""

    index: int
    intervention: intervention_pb2.Intervention
    site: int
    layer: int
    prompt: int
    tokens: list[int]
    seed: int  # of the request

    def apply(
        self,
        view: torch.Tensor,
        region: list[np.ndarray],
        source: torch.Tensor | None,
        report: Report,
    ) -> None:
        """Edits `view`, the row's tensor at the site, in place. `source`: the part that a patch
        reads."""
        mesh = _mesh(region)
        before = view[mesh]
        after = self._value(view, before, region, source).to(view.dtype).expand_as(before)
        mask = self._mask(region).expand_as(before)
        after = torch.where(mask, after, before)
        view[mesh] = after
        self._count(report, before[mask], after[mask], view)

    def _value(self, view, x, region, source) -> torch.Tensor:
        operation = self.intervention.WhichOneof("operation")
        spec = getattr(self.intervention, operation)
        match operation:
            case "zero":
                return torch.zeros_like(x)
            case "scale":
                return x * spec.factor
            case "add":
                coefficient = spec.coefficient if spec.HasField("coefficient") else 1.0
                return x + _value_of(spec) * coefficient
            case "set":
                value = _value_of(spec)
                return value if isinstance(value, torch.Tensor) else torch.full_like(x, value)
            case "noise":
                return self._noise(spec, view, x, region)
            case "clamp":
                return torch.clamp(
                    x,
                    min=spec.min if spec.HasField("min") else None,
                    max=spec.max if spec.HasField("max") else None,
                )
            case "mean":
                axis = 1 if self.site in places.ATTENTION_SITES else 0
                over = places.resolve_positions(
                    spec.over if spec.HasField("over") else None, self.tokens
                )
                assert len(over), "the mean is over no position"
                return view[
                    _mesh([over if i == axis else indices for i, indices in enumerate(region)])
                ].mean(axis, keepdim=True)
            case "patch":
                return source
            case "project_out":
                direction = operand_of(spec.direction).to(x.dtype)
                unit = direction / direction.norm()
                return x + (spec.factor - 1) * (x @ unit)[..., None] * unit
            case "knockout":
                return torch.full_like(x, -math.inf)
        raise ValueError(f"{operation} is not implemented")

    def _noise(self, spec, view, x, region) -> torch.Tensor:
        values = torch.from_numpy(
            noise.noise(
                self.site,
                region,
                view.shape[-1],
                seed=spec.seed if spec.HasField("seed") else self.seed,
                intervention=self.index,
                layer=self.layer,
                prompt=self.prompt,
                mean=spec.mean,
                std=spec.std if spec.HasField("std") else 1.0,
            )
        )
        return x + values if spec.mode == intervention_pb2.NOISE_MODE_ADD else values

    def _mask(self, region) -> torch.Tensor:
        """Which of the selected entries may change: where keys are an axis, the past."""
        if self.site not in places.ATTENTION_SITES:
            return torch.tensor(True)
        mask = places.causal(region)
        if (
            self.intervention.WhichOneof("operation") == "knockout"
            and self.intervention.knockout.pairs
        ):
            length = len(self.tokens)
            pairs = {
                (pair.query % length, pair.key % length)
                for pair in self.intervention.knockout.pairs
            }
            mask &= np.array(
                [[(int(query), int(key)) in pairs for key in region[2]] for query in region[1]]
            )
        return torch.from_numpy(mask)

    def _count(
        self, report: Report, before: torch.Tensor, after: torch.Tensor, view: torch.Tensor
    ) -> None:
        integer = {torch.float32: torch.int32, torch.float64: torch.int64}[before.dtype]
        change = (after - before).abs()
        change = change[torch.isfinite(change)]
        report.sites += 1
        report.selected += before.numel()
        report.changed += int((before.view(integer) != after.view(integer)).sum())
        report.max_abs_change = max(
            [report.max_abs_change, *([float(change.max())] if change.numel() else [])]
        )
        for values in (view, after):
            finite = values[torch.isfinite(values)]
            report.scale = max(
                [report.scale, *([float(finite.abs().max())] if finite.numel() else [])]
            )
        report.uncertain += int(
            self._uncertain(before, after, ACTIVATION_TOLERANCE * report.scale).sum()
        )

    def _uncertain(self, before, after, error: float) -> torch.Tensor:
        """Which elements rounding decides about: those near to what they become, or to a bound."""
        match self.intervention.WhichOneof("operation"):
            case "zero" | "set" | "noise" | "knockout":
                return torch.zeros_like(before, dtype=torch.bool)
            case "clamp":
                spec = self.intervention.clamp
                bounds = [getattr(spec, b) for b in ("min", "max") if spec.HasField(b)]
                return torch.stack([(before - bound).abs() <= error for bound in bounds]).any(0)
        return (after - before).abs() <= error


def _value_of(spec) -> torch.Tensor | float:
    return operand_of(spec.tensor) if spec.WhichOneof("value") == "tensor" else spec.constant


def _mesh(region: list[np.ndarray]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(indices) for indices in np.ix_(*region))


def read(view: torch.Tensor, region: list[np.ndarray]) -> torch.Tensor:
    """A copy of the selected part."""
    return view[_mesh(region)]


def source_region(
    patch: intervention_pb2.Patch, site: int, region: list[np.ndarray], tokens: list[int]
) -> list[np.ndarray]:
    """Where a patch reads: the written place, with what the patch maps elsewhere. `tokens` are the
    source's."""
    mapped = []
    for axis, indices in zip(places.facts(site).axes, region, strict=True):
        if axis in (site_pb2.AXIS_POSITION, site_pb2.AXIS_QUERY) and patch.HasField("positions"):
            indices = places.resolve_positions(patch.positions, tokens)
        elif axis == site_pb2.AXIS_KEY and patch.HasField("key_positions"):
            indices = places.resolve_positions(patch.key_positions, tokens)
        elif axis == site_pb2.AXIS_HEAD and patch.heads:
            indices = np.array(list(patch.heads))
        mapped.append(indices)
    return mapped
