"""From Python arguments to the parts of a request. `Arguments` notes which argument each field
came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel import axes, observations
from scalpel.arguments import Arguments
from scalpel.axes import AxisLike, axes_of
from scalpel.observations import Captures, LogitsLike, Stats
from scalpel.operations import Operation
from scalpel.prompts import Prompts, parse
from scalpel.v1 import generate_pb2, intervention_pb2, run_pb2, sweep_pb2

# One intervention, or several, applied in this order where they meet.
Interventions = Operation | Sequence[Operation]
# The variants of a list: the interventions of each, with names where it is a mapping.
Variants = Sequence[Interventions] | Mapping[str, Interventions]


def add_experiment(
    request: run_pb2.RunRequest | generate_pb2.GenerateRequest,
    arguments: Arguments,
    prompts: Prompts,
    interventions: Interventions,
    stats: Stats,
    capture: Captures,
) -> None:
    """Fills what runs and generations have alike: prompts, interventions, probes and captures."""
    add_prompts(request.prompts, arguments, "prompts", prompts)
    operations = _operations(interventions)
    request.interventions.extend(_intervention(one, None) for one in operations)
    one = isinstance(interventions, Operation)
    arguments.add_list("interventions", "interventions", operations, one)
    add_stats(request, arguments, stats)
    captures = observations.captures_of(capture)
    request.captures.extend(one.proto for one in captures)
    one = isinstance(capture, (str, observations.Capture))
    arguments.add_list("captures", "capture", captures, one)


def add_logits(request: Any, arguments: Arguments, logits: LogitsLike | None) -> None:
    """Fills which logits a run or a generation sends back; None: what the contract presets."""
    if logits is not None:
        form = observations.logits_of(logits)
        request.logits.CopyFrom(form.proto)
        arguments.add("logits", "logits", form)


def add_prompts(field: Any, arguments: Arguments, name: str, given_prompts: Prompts) -> None:
    """Fills a list of prompts."""
    parsed = parse(given_prompts, name)
    field.extend(parsed.messages)
    arguments.add_prompts(name, name, len(parsed.messages), parsed.one)


def add_stats(request: Any, arguments: Arguments, stats: Stats) -> None:
    """Fills a request's probes."""
    probes = observations.probes_of(stats)
    request.probes.extend(probe.proto for probe in probes)
    one = isinstance(stats, observations.Probe)
    arguments.add_list("probes", "stats", probes, one)
    if isinstance(stats, Mapping):
        for i, site in enumerate(stats):
            arguments.add(f"probes[{i}]", f"stats[{site!r}]", probes[i])


def add_grid(
    request: sweep_pb2.SweepRequest,
    arguments: Arguments,
    interventions: Interventions,
    over: AxisLike | Sequence[AxisLike],
    prompt_count: int,
) -> None:
    """Fills a sweep's grid."""
    operations, made = _operations(interventions), axes_of(over)
    grid = sweep_pb2.Grid(
        interventions=[_intervention(operation, prompt_count) for operation in operations],
        axes=[axis.proto for axis in made],
    )
    request.grid.CopyFrom(grid)
    one = isinstance(interventions, Operation)
    arguments.add_list("grid.interventions", "interventions", operations, one)
    arguments.add_list("grid.axes", "over", made, isinstance(over, (axes.Axis, str)))


def add_variants(
    request: sweep_pb2.SweepRequest, arguments: Arguments, variants: Variants, prompt_count: int
) -> None:
    """Fills a sweep's list of variants."""
    request.variants.SetInParent()
    arguments.add("variants.variants", "variants")
    named = isinstance(variants, Mapping)
    pairs = variants.items() if isinstance(variants, Mapping) else enumerate(variants)
    for i, (name, interventions) in enumerate(pairs):
        operations = _operations(interventions)
        variant = request.variants.variants.add(**({"name": str(name)} if named else {}))
        variant.interventions.extend(_intervention(one, prompt_count) for one in operations)
        field, argument = f"variants.variants[{i}]", f"variants[{name!r}]"
        arguments.add(field, argument)
        one = isinstance(interventions, Operation)
        arguments.add_list(f"{field}.interventions", argument, operations, one)


def _operations(interventions: Interventions) -> list[Operation]:
    several = [interventions] if isinstance(interventions, Operation) else list(interventions)
    for one in several:
        if not isinstance(one, Operation):
            raise TypeError(f"interventions: {one!r} is none; write zero('k', layer=5) or another")
    return several


def _intervention(operation: Operation, prompt_count: int | None) -> intervention_pb2.Intervention:
    """The message; a source counts on from the prompts."""
    if operation.from_source is None:
        return operation.proto
    if prompt_count is None:
        raise TypeError(f"{operation}: from_source is for sweeps; write from_clean or from_prompt")
    proto: intervention_pb2.Intervention = copied(operation.proto)
    proto.patch.clean_prompt = prompt_count + operation.from_source
    return proto


def is_empty(several: Any) -> bool:
    """Whether an argument names nothing."""
    return not isinstance(several, (Operation, axes.Axis, str)) and not several


def copied(message: Any) -> Any:
    """Another message of the same content."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
