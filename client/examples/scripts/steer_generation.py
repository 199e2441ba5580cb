"""Writes on from a prompt, with a steering vector and without it, token by token.

    python client/examples/scripts/steer_generation.py [PROMPT] [--server HOST:PORT] [--strength S]

The vector is the difference between the residual streams of two prompts (activation addition;
Turner et al. 2023). Where the texts differ, the token that the model would have written by itself
stands in brackets.
"""

from __future__ import annotations

import argparse

import numpy as np

import scalpel
from scalpel import add, capture
from scalpel.generation_events import GeneratedToken, GenerationStarted

LAYER = 6


def direction(model: scalpel.Model, towards: str, away: str) -> np.ndarray:
    """From one prompt to the other, at their last positions."""
    run = model.run(
        [towards, away], capture=capture("resid_pre", layer=LAYER, position=-1), logits="none"
    )
    return run.capture("resid_pre", prompt=0)[0] - run.capture("resid_pre", prompt=1)[0]


def write_on(model: scalpel.Model, prompt: str, strength: float, vector: np.ndarray) -> None:
    """Prints the tokens as they come. The two streams come in step."""
    steering = add("resid_pre", vector, coefficient=strength, layer=LAYER, steps="generated")
    unsteered: dict[int, str] = {}
    print(prompt, end="")
    with model.stream_generate(
        prompt, steering, max_new_tokens=16, reuse_kv="intervened", unsteered=True
    ) as stream:
        steered: dict[int, str] = {}
        for event in stream:
            if isinstance(event, GenerationStarted):
                twin = next(i for i, one in enumerate(event.streams) if one.unsteered)
            elif isinstance(event, GeneratedToken):
                (unsteered if event.stream == twin else steered)[event.step] = event.text
                if event.step in steered and event.step in unsteered:
                    mine, theirs = steered[event.step], unsteered[event.step]
                    print(mine if mine == theirs else f"{mine}[{theirs}]", end="", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompt", nargs="?", default="The project began")
    parser.add_argument("--server", default="localhost:50051")
    parser.add_argument("--strength", type=float, default=1.0)
    arguments = parser.parse_args()
    with scalpel.connect(arguments.server) as model:
        vector = direction(model, "The war lasted from the year 17", "The keys to the cabinet")
        write_on(model, arguments.prompt, arguments.strength, vector)


if __name__ == "__main__":
    main()
