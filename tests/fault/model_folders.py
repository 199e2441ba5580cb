"""Writes tiny GPT-2 folders byte by byte, so that they can be wrong in every way."""

import json
import math
import struct

CONFIG = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 8,
    "n_positions": 16,
    "vocab_size": 20,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
ELEMENT_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8}


def shapes(config=CONFIG):
    """Every tensor of the model that `config` says, in HuggingFace's names and layout."""
    d, mlp = config["n_embd"], 4 * config["n_embd"]
    block = {
        "ln_1.weight": [d],
        "ln_1.bias": [d],
        "attn.c_attn.weight": [d, 3 * d],
        "attn.c_attn.bias": [3 * d],
        "attn.c_proj.weight": [d, d],
        "attn.c_proj.bias": [d],
        "ln_2.weight": [d],
        "ln_2.bias": [d],
        "mlp.c_fc.weight": [d, mlp],
        "mlp.c_fc.bias": [mlp],
        "mlp.c_proj.weight": [mlp, d],
        "mlp.c_proj.bias": [d],
    }
    return {
        "wte.weight": [config["vocab_size"], d],
        "wpe.weight": [config["n_positions"], d],
        **{
            f"h.{layer}.{name}": shape
            for layer in range(config["n_layer"])
            for name, shape in block.items()
        },
        "ln_f.weight": [d],
        "ln_f.bias": [d],
    }


def contents(name, shape):
    """Float32 numbers that differ from element to element; gains near 1."""
    base = 1.0 if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")) else 0.0
    count = math.prod(shape)
    return struct.pack(f"<{count}f", *(base + 0.1 * math.sin(len(name) + i) for i in range(count)))


def header_and_data(entries):
    """The header's dict and the data of {name: shape}, one tensor after the other."""
    header, data = {}, b""
    for name, shape in entries.items():
        values = contents(name, shape)
        header[name] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(values)],
        }
        data += values
    return header, data


def safetensors(header, data):
    """The bytes of a file; `header` is a dict, or the header's own bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def write(folder, *, config=None, file=None):
    """A folder with config.json and model.safetensors, good unless told otherwise."""
    folder.mkdir(exist_ok=True)
    if not isinstance(config, bytes):
        config = json.dumps({**CONFIG, **(config or {})}).encode()
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(file or safetensors(*header_and_data(shapes())))
    return folder


def write_zeros(folder, **sizes):
    """A folder of these sizes, all weights zero: a large file that takes time to load and no disk,
    since it is a hole."""
    config, header, end = {**CONFIG, **sizes}, {}, 0
    for name, shape in shapes(config).items():
        begin, end = end, end + math.prod(shape) * ELEMENT_BYTES["F32"]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(safetensors(header, b""))
        file.truncate(file.tell() + end)
    return folder
