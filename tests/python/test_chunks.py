"""Cutting a sweep into chunks, and putting answers together: no server."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from scalpel import (
    add,
    calls,
    chunks,
    directions,
    heads,
    layers,
    loss,
    positions,
    scale,
    values,
    zero,
)
from scalpel.events import Cost, Finished, MetricValue, SweepAxis, SweepClean, SweepStarted, Variant
from scalpel.v1 import model_pb2, sweep_pb2


def grid(*axes, **options):
    return calls.sweep("a", scale("z"), over=list(axes), metrics=loss(), **options).request


def cells(request):
    """What each cell of a grid sets, in the order in which they are numbered."""
    kinds = ("layers", "heads", "positions", "values")
    over = [getattr(axis, axis.WhichOneof("over")).values for axis in request.grid.axes]
    assert all(axis.WhichOneof("over") in kinds for axis in request.grid.axes)
    return list(itertools.product(*over))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 12, 30, 59, 60, 1000])
def test_chunks_are_the_cells_in_order(size):
    request = grid(layers([1, 4, 7]), heads([0, 2, 3, 5]), values([0.5, 1, 2, 3, 4]), seed=0)
    made = chunks.split(request, request, size)
    assert [chunk.first for chunk in made] == list(
        itertools.accumulate((chunk.count for chunk in made[:-1]), initial=0)
    )
    assert all(1 <= chunk.count <= size for chunk in made)
    assert [cell for chunk in made for cell in cells(chunk.request)] == cells(request)
    for chunk in made:
        assert chunk.count == len(cells(chunk.request))
        whole = sweep_pb2.SweepRequest()
        whole.CopyFrom(chunk.request)
        whole.grid.CopyFrom(request.grid)
        assert whole == request, "all but the axes is as it was"


@pytest.mark.parametrize("shape, size, count", [
    ((12, 12), 144, 1), ((12, 12), 72, 2), ((12, 12), 24, 6), ((12, 12), 9, 24), ((100,), 30, 4),
    ((2, 1000), 300, 8), ((1, 1, 5), 2, 3),
])  # fmt: skip
def test_chunks_are_few_and_alike(shape, size, count):
    request = grid(*(values([float(v) for v in range(n)], name=str(n)) for n in shape))
    counts = [chunk.count for chunk in chunks.split(request, request, size)]
    assert len(counts) == count and sum(counts) == math.prod(shape)
    assert max(counts) - min(counts) < max(2, max(counts) // 2)


def test_axes_that_mean_all_have_the_servers_values():
    request = grid(layers(), heads([3, 4]), positions())
    normalized = grid(layers([0, 1]), heads([3, 4]), positions([0, 1, 2]))
    made = chunks.split(request, normalized, 4)
    assert [cell for chunk in made for cell in cells(chunk.request)] == cells(normalized)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_directions_are_cut_by_row(dtype):
    vectors = np.arange(15, dtype=dtype).reshape(5, 3)
    request = calls.sweep("a", add("z"), over=directions(vectors), metrics=loss()).request
    understood = grid(values([0.0]))  # The server does not send the numbers back.
    understood.grid.axes[0].directions.shape.extend([5, 3])
    rows = []
    for chunk in chunks.split(request, understood, 2):
        tensor = chunk.request.grid.axes[0].directions
        assert list(tensor.shape) == [chunk.count, 3]
        rows += list(np.frombuffer(tensor.data, dtype).reshape(chunk.count, 3))
    np.testing.assert_array_equal(rows, vectors)


def test_directions_in_numbers_are_cut_by_row():
    request = calls.sweep("a", add("z"), over=directions([[1.0, 2]] * 3), metrics=loss()).request
    tensor = request.grid.axes[0].directions
    tensor.data, tensor.shape[:] = b"", [3, 2]
    tensor.values.extend(range(6))
    made = [chunk.request.grid.axes[0].directions for chunk in chunks.split(request, request, 2)]
    assert [list(one.values) for one in made] == [[0, 1, 2, 3], [4, 5]]
    assert [list(one.shape) for one in made] == [[2, 2], [1, 2]]


def test_variants_keep_their_names():
    named = {"off": zero("z"), "half": scale("z", 0.5), "clean": []}
    for variants, names in (
        (named, ["off", "half", "clean"]),
        (list(named.values()), [f"variants[{i}]" for i in range(3)]),
    ):
        request = calls.sweep("a", variants=variants, metrics=loss()).request
        made = chunks.split(request, request, 2)
        assert [(chunk.first, chunk.count) for chunk in made] == [(0, 2), (2, 1)]
        parts = [one for chunk in made for one in chunk.request.variants.variants]
        assert [one.name for one in parts] == names
        for part, whole in zip(parts, request.variants.variants, strict=True):
            assert list(part.interventions) == list(whole.interventions)


# ---- together ------------------------------------------------------------------------------------


def started(*lengths):
    axes = tuple(SweepAxis(f"axis{n}", tuple(map(str, range(n))), tuple(range(n))) for n in lengths)
    request = sweep_pb2.SweepRequest(validate_only=True)
    cost = Cost(1, 1, 1.0, 1, 1, 1.0)
    return SweepStarted("id", "digest", cost, math.prod(lengths), axes, (), (), request)


def answer(first, count):
    """As of one server, which counts from 0; in another order than theirs."""
    one = [MetricValue(0, "loss", 0, (1.0,))]
    variants = [
        Variant(i, "", (0, i), (MetricValue(0, "loss", 0, (float(first + i),)),), (), ())
        for i in reversed(range(count))
    ]
    chunk = chunks.Chunk(first, count, sweep_pb2.SweepRequest())
    return chunk, [started(count), SweepClean(tuple(one), ()), *variants, Finished(0.5, 2.0, 10)]


def test_variants_come_to_their_places():
    whole = chunks.join(started(2, 3), [answer(4, 2), answer(0, 4)])
    assert isinstance(whole[0], SweepStarted) and not whole[0].normalized.validate_only
    variants = sorted((e for e in whole if isinstance(e, Variant)), key=lambda one: one.index)
    assert [one.metrics[0].values for one in variants] == [(float(i),) for i in range(6)]
    assert [one.coordinates for one in variants] == [(i // 3, i % 3) for i in range(6)]
    assert sum(isinstance(event, SweepClean) for event in whole) == 1
    assert whole[-1] == Finished(0.5, 4.0, 20)


def test_what_is_missing_has_no_end():
    whole = chunks.join(started(2, 3), [answer(0, 4)])
    assert not any(isinstance(event, Finished) for event in whole)
    assert chunks.join(started(2, 3), [])[1:] == []


@pytest.mark.parametrize("variants, servers", [(1, 3), (7, 2), (144, 3), (10_000, 5)])
def test_every_server_gets_several_chunks_of_a_large_sweep(variants, servers):
    size = chunks.size_for(variants, servers)
    assert 1 <= size <= variants
    assert math.ceil(variants / size) >= min(variants, 4 * servers)


# ---- more than a server takes at once ------------------------------------------------------------


def test_variants_are_counted_without_asking():
    config = model_pb2.ModelConfig(n_layer=12, n_head=6, n_ctx=100)
    for request, count in [
        (grid(layers(), heads()), 72),
        (grid(layers([1, 2]), heads(), values([1, 2, 3])), 36),
        (grid(layers([1]), positions()), 100),
        (grid(), 1),
        (calls.sweep("a", variants=[[], zero("z")], metrics=loss()).request, 2),
        (calls.sweep("a", add("z"), over=directions([[1.0]] * 4), metrics=loss()).request, 4),
    ]:
        assert chunks.count_at_most(request, config) == count


def test_samples_show_every_axis():
    request = grid(layers(), heads([3, 4]), values([0.5, 2]))
    seen = [cells(sample) if i else sample for i, sample in enumerate(chunks.samples(request, 9))]
    assert not seen[0].grid.axes[0].layers.values  # All of them, which only a server knows.
    assert [list(axis.heads.values) for axis in seen[0].grid.axes[1:2]] == [[3]]
    assert seen[1:] == [[(0, 3, 0.5), (0, 4, 0.5)], [(0, 3, 0.5), (0, 3, 2)]]
    variants = calls.sweep("a", variants=[zero("z")] * 20, metrics=loss()).request
    (sample,) = chunks.samples(variants, 9)
    assert len(sample.variants.variants) == 9


def test_an_outline_is_made_of_samples():
    request = grid(values([1, 2, 3, 4]), values([5, 6, 7], name="other"))
    seen = []
    for sample, axes in zip(
        chunks.samples(request, 4), (started(4, 1), started(1, 3)), strict=True
    ):
        seen.append(dataclasses.replace(axes, normalized=sample))
    whole = chunks.outline(request, seen)
    assert whole.variants == 12 and [len(axis.labels) for axis in whole.axes] == [4, 3]
    assert whole.normalized.grid == request.grid and whole.digest == ""
    joined = chunks.join(whole, [answer(0, 4), answer(4, 8)])
    assert joined[0].cost == Cost(2, 2, 2.0, 2, 1, 1.0)
