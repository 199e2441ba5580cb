"""One of everything, with nothing but grpcio, protobuf and numpy: `smoke.py ADDRESS`. Run beside
the oldest and the newest of them; prints their versions."""

import asyncio
import pickle
import sys

import google.protobuf
import grpc
import numpy as np

import scalpel
from scalpel import add, kl_from_clean, patching_score, probe, scale, zero

PROMPT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"


def check_run(model):
    run = model.run(
        PROMPT,
        [zero("blocks.5.attn.hook_k", head=2), scale("resid_post", 0.1, layer=9),
         add("resid_pre", np.ones(96, np.float16), layer=11)],
        stats=probe("resid_post", "std", keep="position", quantiles=[0.5], histogram=(4, -1, 1)),
        capture=scalpel.capture("pattern", dtype="bfloat16"),
        logits="full",
        output_hidden_states=True,
        clean=True,
    )  # fmt: skip
    assert run.stat("resid_post", "std").shape == (12, 14)
    assert run.capture("pattern").shape == (12, 12, 14, 14)
    assert run.tensor("pattern", layer=0).axes == ("head", "query", "key")
    assert run.logits().shape == (1, 2048) and len(run.hidden_states()) == 13
    assert len(run.reports) == 3 and run._repr_html_()
    return run


def check_sweeps(model):
    sweep = model.sweep(PROMPT, zero("z"), over=["layers", "heads"], metrics=kl_from_clean())
    assert sweep.array().shape == (12, 12) and np.isfinite(sweep.array()).all()
    patched = model.patch(PROMPT, OTHER, answer=" Mary", wrong=" John")
    assert patched.score.max() == 1 and sweep._repr_html_()
    assert patching_score(1, 2).proto.HasField("patching_score")


def check_errors(model):
    try:
        model.run("a", zero("k", layer=12))
    except scalpel.InvalidArgument as error:
        assert [violation.argument for violation in error.violations] == ["interventions.layer"]
    else:
        raise AssertionError("nothing was raised")


async def check_asyncio(address, expected):
    async with scalpel.aio.connect(address) as model:
        run = await model.run(PROMPT, logits="full")
        np.testing.assert_array_equal(run.logits(), expected)


async def connected(address):
    return await scalpel.aio.connect(address)


async def logits_of(model):
    return (await model.run(PROMPT, logits="full")).logits()


def check_elsewhere(model, address, expected):
    """Unpickled, and in one event loop after the other."""
    with pickle.loads(pickle.dumps(model)) as again:
        np.testing.assert_array_equal(again.run(PROMPT, logits="full").logits(), expected)
    asynchronous = asyncio.run(connected(address))
    for _ in range(2):
        np.testing.assert_array_equal(asyncio.run(logits_of(asynchronous)), expected)
    asyncio.run(asynchronous.close())


def main(address):
    with scalpel.connect(address) as model:
        run = check_run(model)
        check_sweeps(model)
        check_errors(model)
        check_elsewhere(model, address, run.logits(clean=True))
    asyncio.run(check_asyncio(address, run.logits(clean=True)))
    extras = {"matplotlib", "pandas", "torch", "tqdm", "xarray", "grpc_tools"} & set(sys.modules)
    assert not extras, extras
    print(grpc.__version__, google.protobuf.__version__, np.__version__)


if __name__ == "__main__":
    main(sys.argv[1])
