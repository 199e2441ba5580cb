"""What a user writes, for mypy --strict: the types that the client promises. Never run."""

from __future__ import annotations

import concurrent.futures
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import scalpel
from scalpel import aio, calls, events, generation_events, lens


def sync() -> None:
    with scalpel.connect("localhost:50051", tls=scalpel.TLS(), token="t") as model:
        assert_type(model, scalpel.Model)
        run = model.run("a", [scalpel.zero("k", layer=5, head=[1, 2])], stats={"z": ["std"]})
        assert_type(run, scalpel.RunResult)
        assert_type(run.stat("z", "std"), npt.NDArray[np.float64])
        assert_type(run.capture("z", layer=3), npt.NDArray[Any])
        assert_type(run.top()[0].prob, float)
        sweep = model.sweep("a", scalpel.zero("k"), over="layers", metrics=scalpel.loss())
        assert_type(sweep, scalpel.SweepResult)
        assert_type(model.patch("a", "b", answer=" c", wrong=" d", head=3), scalpel.PatchingResult)
        head, queries = scalpel.node("z", layer=3, head=1), [scalpel.node("q", layer=5)]
        paths = model.path_patch("a", "b", head, queries, answer=" c", wrong=" d")
        assert_type(paths, scalpel.PathPatchingResult)
        assert_type(model.knock_out_edges("a", metrics=scalpel.loss()), scalpel.SweepResult)
        assert_type(model.validate_knock_out_edges("a").variants, int)
        assert_type(model.validate("a").cost, events.Cost)
        assert_type(model.token_id(" a"), int)
        assert_type(model.run({"input_ids": [[1, 2]]}), scalpel.RunResult)
        assert_type(model.run(np.array(["a", "b"])), scalpel.RunResult)
        assert_type(model.run(model.tokenize("a")), scalpel.RunResult)
        lazily = model.run(text for text in ("a", "b"))
        assert_type(lazily.first_non_finite, scalpel.FirstNonFinite | None)
        for event in model.stream("a"):
            if isinstance(event, events.LayerStatistics):
                assert_type(event.results, tuple[events.ProbeResult, ...])
        assert_type(calls.run("a").request, Any)
        steered = scalpel.zero("z", steps="generated")
        text = model.generate("a", steered, max_new_tokens=3, reuse_kv="intervened", stop="b")
        assert_type(text, scalpel.GenerationResult)
        assert_type(text.streams[0].stat("z", "std"), npt.NDArray[np.float64])
        assert_type(text.pairs[0].first_difference, int | None)
        for token in model.stream_generate("a", max_new_tokens=3):
            if isinstance(token, generation_events.GeneratedToken):
                assert_type(token.text, str)


def under_other_names() -> None:
    with lens.connect("localhost:50051", arrays="numpy", tls=True) as model:
        assert_type(model, lens.HookedTransformer)
        assert_type(model.to_single_token(" a"), int)
        edit = lens.set_(np.zeros(8), head=3, position=slice(2, None))
        model.run_with_hooks("a", fwd_hooks=[("hook_embed", edit), (str.isalpha, lens.zero())])
        cache = model.run_with_cache("a", names_filter=["hook_embed"])[1]
        lens.patching.get_act_patch_mlp_out(model, "b", cache, scalpel.logit_diff(" a", " b"))


def spread_out(executor: concurrent.futures.Executor) -> None:
    with scalpel.spread.connect(["a:1", "b:1"], executor=executor, tls=True) as replicas:
        assert_type(replicas, scalpel.Replicas)
        sweep = replicas.sweep("a", scalpel.zero("k"), over="layers", metrics=scalpel.loss())
        assert_type(sweep, scalpel.SweepResult)
        assert_type(replicas.patch("a", "b", answer=" c", wrong=" d"), scalpel.PatchingResult)


async def asynchronous() -> None:
    async with aio.connect() as model:
        assert_type(model, aio.AsyncModel)
        assert_type(await model.run("a"), scalpel.RunResult)
        assert_type(await model.detokenize([1]), str)
        assert_type(await model.knock_out_edges("a", query=-1), scalpel.SweepResult)
        async for event in model.stream_sweep("a", scalpel.zero("k"), over="heads"):
            if isinstance(event, events.Variant):
                assert_type(event.index, int)


def wrong() -> None:
    """Each ignore is needed: mypy says so if it finds nothing wrong in the line."""
    scalpel.zero("k", layers=3)  # type: ignore[call-arg]
    scalpel.zero("k", layer="5")  # type: ignore[arg-type]
    lens.zero(heads=2)  # type: ignore[call-arg]
    scalpel.connect().path_patch("a", "b", "z", answer=" c", wrong=" d")  # type: ignore[arg-type]
    scalpel.connect().run("a", stat={})  # type: ignore[call-arg]
    scalpel.connect().run(prompts=3)  # type: ignore[arg-type]
    scalpel.connect().generate("a")  # type: ignore[call-arg]
    scalpel.connect().generate("a", max_new_tokens=3, reuse_kv="all")  # type: ignore[arg-type]
    scalpel.zero("k", steps="prompts")  # type: ignore[arg-type]
    scalpel.connect(time_out=3)  # type: ignore[call-arg]
    aio.connect(timeout="3")  # type: ignore[arg-type]
    scalpel.spread.connect(["a:1"], retry=3)  # type: ignore[arg-type]
