"""A model folder as HuggingFace has it, read without any library for it: what config.json says of
the maths, and the weights, widened to float64."""

import dataclasses
import json
import pathlib

import numpy as np

_ELEMENTS = {"F32": "<f4", "F16": "<f2"}


@dataclasses.dataclass(frozen=True)
class Model:
    """GPT-2 as numbers. `weights` go by the names of GPT2LMHeadModel without `transformer.`;
    a matrix is [in, out] (HuggingFace's Conv1D), an embedding [row, d_model]."""

    n_layer: int
    n_head: int
    d_model: int
    d_mlp: int
    n_ctx: int
    vocab: int
    epsilon: float
    activation: str  # As config.json names it.
    scaled: bool  # Scores are divided by sqrt(d_head),
    scaled_by_layer: bool  # and by the number of the layer, counting from 1.
    weights: dict[str, np.ndarray]

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    def part(self, module: str) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a module, such as `h.3.mlp.c_fc`."""
        return self.weights[module + ".weight"], self.weights[module + ".bias"]


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every tensor of a file. The format: the header's length in 8 bytes, little-endian; the
    header, JSON with each tensor's type, shape, and where its bytes begin and end; the bytes."""
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:begin])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            raw[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]],
            dtype=_ELEMENTS[entry["dtype"]],
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def read_weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a folder, which may have them in several files."""
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        files = set(json.loads(index.read_text())["weight_map"].values())
    return {
        name.removeprefix("transformer."): value
        for file in sorted(files)
        for name, value in read_safetensors(folder / file).items()
    }


def read_model(folder: pathlib.Path) -> Model:
    """The model. `reorder_and_upcast_attn` is not looked at: it says in which order floats are
    multiplied, and here they do not round."""
    config = json.loads((folder / "config.json").read_text())
    weights = {name: value.astype(np.float64) for name, value in read_weights(folder).items()}
    weights.setdefault("lm_head.weight", weights["wte.weight"])
    return Model(
        n_layer=config["n_layer"],
        n_head=config["n_head"],
        d_model=config["n_embd"],
        d_mlp=config.get("n_inner") or 4 * config["n_embd"],
        n_ctx=config["n_positions"],
        vocab=config["vocab_size"],
        epsilon=config["layer_norm_epsilon"],
        activation=config["activation_function"],
        scaled=config.get("scale_attn_weights", True),
        scaled_by_layer=config.get("scale_attn_by_inverse_layer_idx", False),
        weights=weights,
    )
