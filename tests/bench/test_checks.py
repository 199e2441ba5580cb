"""The benchmark's own judgement: agreement, arithmetic, and what follows from times."""

import dataclasses

import numpy as np
import pytest

from tests.bench import answers, arithmetic, instructions, report, results, workloads
from tests.bench.answers import Answer
from tests.bench.questions import Edit, Question, Work
from tests.bench.roof import Roof
from tests.parity.places import ModelShape

pytestmark = pytest.mark.live

SHAPE = ModelShape(n_layer=12, n_head=12, d_model=768, d_mlp=3072, n_ctx=1024, vocab_size=50257)
PROMPT, OTHER = tuple(range(64)), tuple(range(100, 164))


def answer(logits: np.ndarray, **numbers: np.ndarray) -> Answer:
    return Answer(tuple(range(len(logits))), logits, logits.argmax(-1), numbers=numbers)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 2, 50)).astype(np.float32)


def test_equal_answers_agree(logits):
    assert answers.compare(answer(logits), answer(logits.copy()), numbers=True).holds


@pytest.mark.parametrize("wrong", [2e-3, np.nan, np.inf])
def test_one_wrong_logit_disagrees(logits, wrong):
    other = logits.copy()
    other[1, 1, 7] += wrong
    assert not answers.compare(answer(logits), answer(other), numbers=True).holds


def test_another_top_token_disagrees(logits):
    got = answer(logits.copy())
    got.top = got.top.copy()
    got.top[2, 0] = logits[2, 0].argmin()
    assert not answers.compare(answer(logits), got, numbers=True).holds


def test_some_logits_are_compared_by_their_ids(logits):
    ids = np.argsort(-logits, axis=-1)[..., :10]
    got = Answer((0, 1, 2), np.take_along_axis(logits, ids, -1), ids[..., 0], ids)
    assert answers.compare(answer(logits), got, numbers=True).holds
    got.ids = ids[..., ::-1]
    assert not answers.compare(answer(logits), got, numbers=True).holds


def test_a_wrong_number_disagrees(logits):
    numbers = np.ones((3, 12))
    got = numbers.copy()
    got[1, 5] += 2e-4
    compared = [answer(logits, std=numbers), answer(logits, std=got)]
    assert not answers.compare(*compared, numbers=True).holds
    assert answers.compare(*compared, numbers=False).holds


def test_nothing_compared_does_not_agree(logits):
    got = dataclasses.replace(answer(logits), index=(7, 8, 9))
    assert not answers.compare(answer(logits), got, numbers=True).holds


def needed(*edits: Edit | None, wants: str = "last", seen: bool = True, source=None) -> float:
    questions = tuple(Question(PROMPT, edit, source) for edit in edits)
    work = Work(wants, questions, tuple(range(len(edits))))
    return arithmetic.needed(SHAPE, work, seen)


def test_a_plain_forward_needs_what_the_formula_says():
    pairs = 64 * 65 / 2
    layers = 12 * (64 * 24 * 768**2 + 4 * 768 * pairs)
    assert needed(None, wants="all", seen=False) == layers + 64 * 2 * 768 * 50257
    assert needed(None, wants="last", seen=False) < layers


def test_an_edit_of_everything_costs_a_forward():
    everything = Edit("scale", "resid_pre", 0, factor=2.0)
    assert needed(everything) == needed(None, seen=False)


def test_a_later_edit_costs_less():
    edits = [
        Edit("zero", site, layer, head=2 if site in "kz" else None)
        for layer in range(12)
        for site in ("resid_pre", "k", "z", "mlp_post", "resid_post")
    ]
    costs = [needed(edit) for edit in edits]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 2 * 768 * 50257


def read(*edits: Edit | None, wants: str = "last", seen: bool = True, clients: int = 1) -> float:
    questions = tuple(Question(PROMPT, edit) for edit in edits)
    work = Work(wants, questions, tuple(range(len(edits))), clients)
    return arithmetic.read(SHAPE, work, seen)


LAYER_BYTES, HEAD_BYTES = 4 * 12 * 768**2, 4 * 768 * 50257


def test_each_weight_is_read_once_a_wave():
    once = 12 * LAYER_BYTES + HEAD_BYTES
    assert read(None, seen=False) == read(None, wants="all", seen=False) == once
    assert read(None, None, None, seen=False) == 3 * once
    assert read(None, None, None, wants="sweep", seen=False) == once
    assert read(*[None] * 8, clients=4, seen=False) == 2 * once


def test_an_edit_reads_the_weights_behind_it():
    scaled = [Edit("scale", "resid_post", layer, factor=2.0) for layer in (11, 9)]
    assert read(scaled[0]) == HEAD_BYTES
    assert read(scaled[1]) == 2 * LAYER_BYTES + HEAD_BYTES
    assert read(*scaled) == 2 * LAYER_BYTES + 2 * HEAD_BYTES
    assert read(*scaled, wants="sweep") == 2 * LAYER_BYTES + HEAD_BYTES
    behind = {"k": 9, "z": 9, "mlp_post": 4, "resid_pre": 12}  # of a layer's twelve d_model**2
    for site, parts in behind.items():
        assert read(Edit("zero", site, 11)) == parts * LAYER_BYTES // 12 + HEAD_BYTES


def test_what_costs_no_arithmetic_reads_nothing():
    sites = ("resid_pre", "k", "z", "mlp_post", "resid_post")
    edits = [None] + [
        Edit("zero", site, layer, position=position)
        for site in sites
        for layer in (10, 11)
        for position in (None, 62, 63)
    ]
    for wants in ("last", "std"):
        for edit in edits:
            assert bool(needed(edit, wants=wants)) == bool(read(edit, wants=wants)), (wants, edit)


def test_the_roof_is_the_longer_of_both():
    roof = Roof(gflops=500, gbytes=50)
    assert roof.seconds(1e9, 1e9) == 1 / 50
    assert roof.seconds(1e11, 1e9) == 1 / 5


def test_every_goal_is_shown():
    goals = {goal for case in workloads.cases(SHAPE, workloads.FULL) for goal in case.goal}
    assert goals <= {f"{role}{seen}" for role in report.COLUMNS for seen in ("", " seen")}


def test_what_cannot_reach_the_answer_costs_nothing():
    assert needed(Edit("zero", "z", 11, head=0, position=62)) == 0
    assert needed(Edit("zero", "z", 11, head=0, position=63)) > 0
    assert needed(Edit("zero", "z", 10, head=0, position=62)) > 0
    same_until_40 = PROMPT[:40] + OTHER[40:]
    patches = [Edit("patch", "resid_pre", 5, position=position) for position in range(64)]
    costs = [needed(patch, source=same_until_40) for patch in patches]
    assert not any(costs[:40]) and all(costs[40:])


def cell(name: str, role: str, milliseconds: list[float], seen=False, counts=True, note="") -> dict:
    figures = {"latency ms": {"count": 2, "p50": 1.0, "p99": 2.0}}
    return dict(
        **dict(name=name, role=role, seen=seen, counts=counts, milliseconds=milliseconds),
        **dict(error="", roof_share=[0.9], figures=figures, logits_error=1e-5, numbers_error=0.0),
        **dict(other_tops=0, compared=1, note=note),
    )


def row(*cells: dict) -> dict:
    goal = {"idiom": 2.5}
    roof = [dict(gflops=500.0, gbytes=50.0), dict(gflops=510.0, gbytes=40.0)]
    return dict(workload="W1", title="scale", counts=True, goal=goal, roof=roof, cells=list(cells))


def test_factors_are_of_the_same_round():
    ours, theirs = cell("s", "scalpel", [1, 2, 4]), cell("h", "idiom", [3, 6, 12])
    assert results.compared(row(ours, theirs), False, "idiom") == 3
    assert results.compared(row(ours, theirs), True, "idiom") is None


def test_a_cell_that_disagrees_is_not_compared():
    wrong = cell("h", "idiom", [0.1], counts=False)
    assert results.compared(row(cell("s", "scalpel", [1]), wrong), False, "idiom") is None


def test_what_answers_something_else_is_not_compared():
    plain = cell("h", "idiom", [1], note=", not observing")
    observing = row(cell("s", "scalpel", [2]), cell("h", "idiom", [3]), plain)
    assert results.compared(observing, False, "idiom") == 1.5
    assert not results.peers_ahead(observing)
    assert results.overhead_percent(observing, "idiom") == 200


def test_a_faster_peer_is_named():
    ours, theirs = cell("s", "scalpel", [2, 2]), cell("raw", "raw", [1, 1])
    assert results.peers_ahead(row(ours, theirs)) == [("raw", 2.0)]


def kernel(name: str, best: float, **more: float) -> dict:
    times = dict(name=name, right=True, error=0.1, best_ms=best, median_ms=best + 1)
    return times | more


KERNELS = dict(
    **dict(cpu="one", target="AVX2", threads=2, reading="1 stream a thread"),
    **dict(limits=dict(gflops=520.0, gbytes=60.0), median_limits=dict(gflops=500.0, gbytes=55.0)),
    cases=[
        dict(
            **dict(kernel="linear", name="M 16", flops=2.7e9, bytes=3.4e8, rounds=7),
            contestants=[
                kernel("ours", 6.0, gflops=453.0, gbytes=56.62, share_of_limit=0.944),
                kernel("oneDNN", 9.0, ours_times_as_fast=1.5),
            ],
        )
    ],
)


def test_the_page_has_every_case():
    rows = [row(cell("s", "scalpel", [1, 2]), cell("h", "idiom", [3, 4]))]
    facts = dict(facts={"CPU": "one"}, rounds=2, load=[0, 0], peers=["transformers"], missing=[])
    server = {"seconds to first answer": [1.0], "resident MB": 1.0, "resident MB at most": 2.0}
    run = dict(**facts, server=server, rows=rows, kernels=KERNELS, instructions={"gRPC": 1234.0})
    page = report.markdown(run)
    assert "W1 scale" in page and "(2.5x)" in page and "p99 2" in page
    assert "1,234" in page
    assert "| FMA peak | 520 GFLOP/s, median 510 |" in page
    assert "| read bandwidth | 60 GB/s, median 50 |" in page
    assert "| linear | ms | GFLOP/s | GB/s | of the limit | oneDNN, ms | Scalpel is |" in page
    assert "| M 16 | 6 (7) | 453 | 56.6 | 94 % | 9 (10) | 1.50x |" in page


def test_instructions_are_summed_by_part():
    annotated = """
 1,000  PROGRAM TOTALS

Ir     file:function
   600  ???:0x28779000 [???]
   200  ???:scalpel::engine::Wave(scalpel::kernels::Rows) [/there/scalpel-server]
   150  ???:scalpel::kernels::N_AVX2::(anonymous namespace)::Tile(long) [/there/scalpel-server]
   100  ./malloc/malloc.c:free [/lib/libc.so.6]
    60  ???:grpc_call::Start() [/lib/libgrpc.so.29]
    40  ???:at::add(at::Tensor const&) [/there/libtorch_cpu.so]
"""
    assert instructions.by_part(annotated) == {
        instructions.KERNELS: 790,
        "Scalpel": 200,
        "C and C++ libraries": 100,
        "gRPC": 60,
    }
