"""The bundled model in TransformerLens, from its folder, and how its answers are compared."""

import importlib
import importlib.metadata
import json
import pathlib
import sys
from typing import Any

import numpy as np

from tests.support import environment

TOLERANCE = 1e-4
# What `from_pretrained` does to weights, and `from_pretrained_no_processing` does not.
PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")


def version() -> tuple[int, ...]:
    """Of the installed TransformerLens."""
    return tuple(map(int, importlib.metadata.version("transformer-lens").split(".")))


def load(folder: pathlib.Path, *, processing: bool) -> Any:
    """The model with its weights as `from_pretrained` processes them, or as
    `from_pretrained_no_processing` leaves them. It begins texts with BOS, as both make it."""
    return _bridge(folder, processing) if version() >= (4,) else _hooked(folder, processing)


def _bridge(folder: pathlib.Path, processing: bool) -> Any:
    """What version 4 has in place of a `HookedTransformer`."""
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(folder), device="cpu")
    model.enable_compatibility_mode(no_processing=not processing)
    return model


def _hooked(folder: pathlib.Path, processing: bool) -> Any:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import AutoTokenizer, GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(folder)
    config = HookedTransformerConfig(
        n_layers=theirs.config.n_layer,
        n_heads=theirs.config.n_head,
        d_model=theirs.config.n_embd,
        d_head=theirs.config.n_embd // theirs.config.n_head,
        n_ctx=theirs.config.n_positions,
        d_vocab=theirs.config.vocab_size,
        act_fn=theirs.config.activation_function,
        eps=theirs.config.layer_norm_epsilon,
        # The library's `from_pretrained` takes the folded LayerNorm's maths, too.
        normalization_type="LNPre" if processing else "LN",
        default_prepend_bos=True,
        device="cpu",
    )
    model = HookedTransformer(config, tokenizer=AutoTokenizer.from_pretrained(folder))
    model.load_and_process_state_dict(
        convert_gpt2_weights(theirs, config), **dict.fromkeys(PROCESSING, processing)
    )
    return model.eval()


def utilities() -> Any:
    """The library's `utils`, which version 3 calls `utilities`."""
    name = "utilities" if version() >= (3,) else "utils"
    return importlib.import_module(f"transformer_lens.{name}")


def shorter(folder: pathlib.Path, target: pathlib.Path, layers: int) -> pathlib.Path:
    """A copy of a model's folder that ends after some layers: the library takes milliseconds for a
    run, and patching is many."""
    from safetensors.numpy import load_file, save_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    target.mkdir()
    (target / "config.json").write_text(json.dumps({**config, "n_layer": layers}), "utf-8")
    for name in ("merges.txt", "tokenizer.json", "vocab.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    later = tuple(f"h.{layer}." for layer in range(layers, config["n_layer"]))
    tensors = {
        name: array
        for name, array in load_file(folder / "model.safetensors").items()
        if not name.removeprefix("transformer.").startswith(later)
    }
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of two tensors, whose shapes and types are the same. Infinities stand
    at the same places."""
    assert type(ours) is type(theirs) and ours.dtype == theirs.dtype and ours.shape == theirs.shape
    one, other = ours.detach().numpy(), theirs.detach().numpy()
    if not np.issubdtype(one.dtype, np.floating):
        assert np.array_equal(one, other)
        return 0.0
    finite = np.isfinite(other)
    assert np.array_equal(one[~finite], other[~finite])
    return float(abs(one[finite] - other[finite]).max(initial=0))


def notebook() -> Any:
    """client/docs/migration/notebook.py."""
    sys.path.insert(0, str(environment.ROOT / "client" / "docs" / "migration"))
    try:
        import notebook as module
    finally:
        sys.path.pop(0)
    return module
