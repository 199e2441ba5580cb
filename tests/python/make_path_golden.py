"""Writes what TransformerLens makes of direct paths between heads: `python -m
tests.python.make_path_golden`, with transformer-lens 4.3.0 and transformers 5.24.0 installed. Their
function adds the exact difference of what a head writes to one head's own copy of the residual
stream: it freezes nothing, and so shares no step with path patching by frozen copies."""

import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parent / "golden_paths.json"
# What reads, and the sender's layer and head: [layer, head] of all receivers behind it.
SENDERS = {"q": (3, 5), "k": (0, 8), "v": (7, 11)}


def prompts() -> tuple[list[int], list[int], list[int]]:
    """The clean and the corrupted one, and two tokens whose logits are compared."""
    rng = np.random.default_rng(0)
    clean, corrupted = (rng.integers(0, 2048, size=14).tolist() for _ in range(2))
    return clean, corrupted, [41, 410]


def main() -> None:
    import torch
    from transformer_lens import patching
    from transformer_lens.model_bridge import TransformerBridge

    from tests.support import environment

    bridge = TransformerBridge.boot_transformers(
        str(environment.model_dir()), device="cpu", dtype=torch.float32
    ).eval()
    clean, corrupted, (answer, wrong) = prompts()
    found = {}
    with torch.no_grad():
        caches = [bridge.run_with_cache(torch.tensor([ids]))[1] for ids in (clean, corrupted)]
        for component, (layer, head) in SENDERS.items():
            found[component] = patching.get_act_patch_direct_path(
                bridge, torch.tensor([corrupted]), *caches,
                lambda logits: logits[0, -1, answer] - logits[0, -1, wrong],
                layer, head, component, verbose=False,
            ).tolist()  # fmt: skip
    GOLDEN.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
