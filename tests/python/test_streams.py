"""Streams: exact, in order, bounded in memory, from any number of threads."""

import concurrent.futures
import sys

import numpy as np
import pytest

import scalpel
from scalpel import Logits, kl_from_clean, noise, zero
from scalpel.events import (
    BlockOutput,
    Finished,
    LayerStatistics,
    Prediction,
    Report,
    Started,
    SweepClean,
    SweepProgress,
    SweepStarted,
    Variant,
)
from scalpel.tensors import Tensor, TensorAssembler
from scalpel.v1 import run_pb2, tensor_pb2
from tests.python.fake_server import FakeServer, run_events
from tests.python.raw import PROMPT


def kinds(events):
    """Kinds of events, each run of one kind once."""
    names = [type(event).__name__ for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def test_events_come_in_the_contracts_order(model):
    with model.stream(PROMPT, zero("z", layer=3), stats={"resid_post": "std"}) as stream:
        assert kinds(stream) == ["Started", "LayerStatistics", "Prediction", "Report", "Finished"]
    with model.stream(PROMPT, block_outputs=[2, 5], output_attentions=True) as stream:
        events = list(stream)
    assert kinds(events) == ["Started", "BlockOutput", "Prediction", "Finished"]
    blocks = [event for event in events if isinstance(event, BlockOutput)]
    assert [block.layer for block in blocks] == [2, 5]
    assert all(len(block.tensors) == 2 for block in blocks)


def test_a_stream_and_a_run_are_the_same(model):
    options = {"capture": "q", "stats": {"pattern": "entropy"}, "output_hidden_states": True}
    run = model.run(PROMPT, noise("embed", 0.1, mode="add"), **options)
    stream = model.stream(PROMPT, noise("embed", 0.1, mode="add"), **options)
    events = list(stream)
    tensors = [event for event in events if isinstance(event, Tensor)]
    assert [t.name for t in tensors] == [t.name for t in run.tensors]
    for mine, theirs in zip(tensors, run.tensors, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert tuple(e for e in events if isinstance(e, (Report,))) == run.reports
    assert tuple(e for e in events if isinstance(e, Prediction)) == run.predictions
    assert sum(isinstance(e, LayerStatistics) for e in events) == 12
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)


def test_a_sweeps_events(model):
    with model.stream_sweep(PROMPT, zero("z"), over=["layers", "heads"],
                            metrics=kl_from_clean()) as stream:  # fmt: skip
        events = list(stream)
    assert isinstance(events[0], SweepStarted) and isinstance(events[1], SweepClean)
    assert {type(event) for event in events[2:-1]} <= {Variant, SweepProgress}
    indices = [event.index for event in events if isinstance(event, Variant)]
    assert sorted(indices) == list(range(144)) and isinstance(events[-1], Finished)


def test_an_array_of_many_chunks_is_whole(model):
    """Several chunks of 1 MiB each: logits of 200 positions."""
    ids = [i % 2000 for i in range(200)]
    run = model.run([ids], logits=Logits.full(position=slice(None)))
    whole = run.logits()
    assert whole.nbytes > 3 * model.info.limits.chunk_bytes / 2 and whole.shape[0] == 200
    for position in (0, 77, 199):
        one = model.run([ids], logits=Logits.full(position=position)).logits()
        np.testing.assert_array_equal(whole[position], one[0])


def test_threads_share_a_model(model):
    """Sixteen threads, each with a question of its own, get their own answers."""

    def ask(layer):
        run = model.run(PROMPT, zero("z", layer=layer % 12), capture="resid_post")
        return run.capture("resid_post")

    expected = [ask(layer) for layer in range(12)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for layer, array in enumerate(pool.map(ask, range(48))):
            np.testing.assert_array_equal(array, expected[layer % 12])


# ---- chunks --------------------------------------------------------------------------------------


def chunks(array, size=5, **header):
    """The chunks of a float32 tensor, `size` bytes each."""
    data = array.astype("<f4").tobytes()
    first = tensor_pb2.TensorHeader(
        kind=tensor_pb2.TENSOR_KIND_CAPTURE, name="c", site=21, prompts=[0],
        dtype=tensor_pb2.DATA_TYPE_FLOAT32, shape=array.shape, size_bytes=len(data),
    )  # fmt: skip
    first.MergeFrom(tensor_pb2.TensorHeader(**header))
    pieces = [
        tensor_pb2.TensorChunk(tensor_id=first.tensor_id, offset=at, data=data[at : at + size])
        for at in range(0, len(data), size)
    ]
    pieces[0].header.CopyFrom(first)
    return pieces


def assemble(pieces, bytes_max=1 << 20):
    assembler = TensorAssembler(bytes_max)
    made = [assembler.add(piece) for piece in pieces]
    assert not assembler.is_open
    return [tensor for complete in made if complete for tensor in [complete[1]]]


ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("size", [1, 5, 8, 23, 24])
def test_chunks_of_any_size_make_the_tensor(size):
    first, second = assemble([*chunks(ARRAY, size), *chunks(-ARRAY, size, tensor_id=1)])
    np.testing.assert_array_equal(first.numpy(), ARRAY)
    np.testing.assert_array_equal(second.numpy(), -ARRAY)


def swap(pieces):
    pieces[1], pieces[2] = pieces[2], pieces[1]
    return pieces


def edit(pieces, index, **fields):
    for name, value in fields.items():
        setattr(pieces[index], name, value)
    return pieces


BROKEN = {
    "out of order": lambda: swap(chunks(ARRAY)),
    "a gap": lambda: [p for i, p in enumerate(chunks(ARRAY)) if i != 2],
    "twice": lambda: [*chunks(ARRAY), *chunks(ARRAY)],
    "no header": lambda: chunks(ARRAY)[1:],
    "interleaved": lambda: [chunks(ARRAY)[0], *chunks(ARRAY, tensor_id=1)],
    "another id": lambda: edit(chunks(ARRAY), 1, tensor_id=7),
    "a header of another": lambda: edit(chunks(ARRAY), 0, tensor_id=7),
    "too long": lambda: edit(chunks(ARRAY), 4, data=b"x" * 40),
    "empty": lambda: edit(chunks(ARRAY), 1, data=b""),
    "a size that is not the shape's": lambda: chunks(ARRAY, size_bytes=20),
    "no type": lambda: chunks(ARRAY, dtype=9),
    "beyond what was foretold": lambda: chunks(np.zeros((1 << 10, 1 << 10)), 1 << 22),
}


@pytest.mark.parametrize("pieces", BROKEN.values(), ids=BROKEN.keys())
def test_chunks_that_break_the_contract_are_refused(pieces):
    with pytest.raises(scalpel.ProtocolError):
        assemble(pieces())


def test_nothing_is_allocated_for_a_header_that_lies():
    """A shape of petabytes is refused, not tried."""
    huge = chunks(ARRAY)
    del huge[0].header.shape[:]
    huge[0].header.shape.extend([1 << 25, 1 << 25])
    huge[0].header.size_bytes = 1 << 52
    with pytest.raises(scalpel.ProtocolError, match="bytes"):
        assemble(huge)


# ---- streams that end too early ------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, -1])
def test_an_answer_that_breaks_off_is_no_answer(server, keep):
    events = run_events(server.address)
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        fake.script["Run"] = [events[:keep] if keep != -1 else events[:-1]]
        with pytest.raises(scalpel.ProtocolError, match="before the run was complete"):
            model.run("a")


def test_a_tensor_that_breaks_off_is_no_answer(server):
    request = run_pb2.RunRequest(prompts=[{"text": PROMPT}], captures=[{"place": {"path": "q"}}])
    events = run_events(server.address, request)
    last = max(i for i, event in enumerate(events) if event.HasField("tensor_chunk"))
    events[last].tensor_chunk.data = events[last].tensor_chunk.data[:-4]
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        fake.script["Run"] = [events]
        with pytest.raises(scalpel.ProtocolError):
            model.run("a")


def test_events_that_are_not_known_are_skipped(server):
    """A newer server may send more."""
    events = run_events(server.address)
    events.insert(1, run_pb2.RunResponse())
    with FakeServer(server.address) as fake, scalpel.connect(fake.address) as model:
        fake.script["Run"] = [events]
        assert model.run("a").top()


# ---- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, unit", [
    ({"capture": "resid_post"}, "B"),
    ({"stats": {"resid_post": "std"}}, "12/12"),
])  # fmt: skip
def test_a_run_shows_how_far_it_is(model, capsys, options, unit):
    model.run(PROMPT, **options, progress=True)
    shown = capsys.readouterr().err
    assert "run: 100%" in shown and unit in shown


def test_a_sweep_shows_how_far_it_is(model, capsys):
    model.sweep(PROMPT, zero("z"), over="layers", metrics=kl_from_clean(), progress=True)
    assert "12/12" in capsys.readouterr().err


def test_without_tqdm_progress_says_what_is_missing(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="tqdm"):
        model.run(PROMPT, progress=True)
    assert model.run(PROMPT).top()
