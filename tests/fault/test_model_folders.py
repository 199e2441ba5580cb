"""Model folders that must not be served: exit 1, one line that names the file and what in it is
wrong, and never SERVING.

The texts are in the unit tests, tests/unit/model.
"""

import json
import os
import pathlib
import struct
from typing import Any

import grpc
import pytest

from tests.fault.model_folders import header_and_data, safetensors, shapes, write
from tests.support.client import Client
from tests.support.server import run_server

MODEL_ERROR = 1
HEADER_BYTES_MAX = 100_000_000


def assert_refused(folder: pathlib.Path, *names: str) -> None:
    """Starts the server on the folder, and reads what it says until it ends."""
    flags = ["--model", str(folder), "--listen", "127.0.0.1:0"]
    flags += ["--log-level", "error"]  # a folder without a tokenizer is worth a warning
    done = run_server(*flags)
    assert "listening" not in done.stdout + done.stderr, "it began to serve"
    assert done.returncode == MODEL_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    for name in names:
        assert name in line, line
    assert len(line) < 1000


def changed(name, **fields):
    """The good file with other fields in one tensor's entry."""
    header, data = header_and_data(shapes())
    header[name].update(fields)
    return safetensors(header, data)


def without(name):
    return safetensors(
        *header_and_data({key: shape for key, shape in shapes().items() if key != name})
    )


def with_tensor(name, shape):
    return safetensors(*header_and_data({**shapes(), name: shape}))


def duplicate_key():
    header, data = header_and_data(shapes())
    text = json.dumps(header)
    entry = json.dumps({"wte.weight": header["wte.weight"]})[1:-1]
    return safetensors((text[:-1] + ", " + entry + "}").encode(), data)


def poisoned():
    header, data = header_and_data(shapes())
    return safetensors(header, data[:-4] + struct.pack("<f", float("nan")))


GOOD = safetensors(*header_and_data(shapes()))
HEADER_LENGTH = struct.unpack("<Q", GOOD[:8])[0]

# Each fault with the tensor that is named, if one is to blame.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ""),
    "cut in the length": (GOOD[:5], ""),
    "cut in the header": (GOOD[: 8 + HEADER_LENGTH // 2], ""),
    "cut in the data": (GOOD[:-100], ""),
    "longer than its tensors": (GOOD + b"\0" * 4, ""),
    "length of 2^64 - 1": (b"\xff" * 8 + GOOD[8:], ""),
    "length that wraps with the prefix": (struct.pack("<Q", (1 << 64) - 8) + GOOD[8:], ""),
    "not an object": (safetensors(b"[1, 2]", b""), ""),
    "no JSON": (safetensors(b"{nonsense", b""), ""),
    "not UTF-8": (safetensors(b'{"\xff\xfe": 1}', b""), ""),
    "deep JSON": (safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000, b""), ""),
    "duplicate key": (duplicate_key(), "wte.weight"),
    "overlap": (changed("wpe.weight", data_offsets=[0, 512]), "wte.weight"),
    "hole": (changed("ln_f.bias", data_offsets=[1 << 20, (1 << 20) + 32]), "ln_f.bias"),
    "offsets reversed": (changed("wte.weight", data_offsets=[640, 0]), "wte.weight"),
    "negative offset": (changed("wte.weight", data_offsets=[-640, 0]), "wte.weight"),
    "offsets that are no integers": (
        changed("wte.weight", data_offsets=[0.0, 640.0]),
        "wte.weight",
    ),
    "shape whose product wraps to 0": (
        changed("wte.weight", shape=[1 << 32, 1 << 32], data_offsets=[0, 0]),
        "wte.weight",
    ),
    "shape whose bytes wrap": (changed("wte.weight", shape=[1 << 62, 4]), "wte.weight"),
    "shape beyond int64": (changed("wte.weight", shape=[(1 << 63) + 1]), "wte.weight"),
    "negative shape": (changed("wte.weight", shape=[-20, -8]), "wte.weight"),
    "shape that is not config.json's": (changed("wte.weight", shape=[8, 20]), "wte.weight"),
    "shape that is not its offsets'": (changed("wte.weight", shape=[20, 7]), "wte.weight"),
    "unknown dtype": (changed("wte.weight", dtype="F33"), "wte.weight"),
    "dtype of another size": (changed("wte.weight", dtype="F16"), "wte.weight"),
    "integers": (changed("wte.weight", dtype="I32"), "wte.weight"),
    "NaN": (poisoned(), "ln_f.bias"),
    "missing tensor": (without("h.0.mlp.c_fc.weight"), "h.0.mlp.c_fc.weight"),
    "tensor of another layer": (with_tensor("h.1.ln_1.weight", [8]), "h.1.ln_1.weight"),
    "tensor of another model": (with_tensor("encoder.weight", [8]), "encoder.weight"),
    "stored twice": (with_tensor("transformer.wte.weight", [20, 8]), "wte.weight"),
}
# Each fault with the field that is named, or with the file.
CONFIGS: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "no JSON": (b"{", "config.json"),
    "not an object": (b"[]", "config.json"),
    "empty": (b"", "config.json"),
    "duplicate key": (b'{"model_type": "gpt2", "n_layer": 1, "n_layer": 2}', "n_layer"),
    "too large": (b" " * (2 << 20), "config.json"),
    "another model": ({"model_type": "llama"}, "model_type"),
    "another head": ({"architectures": ["GPT2ForSequenceClassification"]}, "architectures"),
    "cross attention": ({"add_cross_attention": True}, "add_cross_attention"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantization_config"),
    "unknown activation": ({"activation_function": "gelu_newer"}, "activation_function"),
    "heads that do not divide the width": ({"n_head": 3}, "n_embd"),
    "no layers": ({"n_layer": 0}, "n_layer"),
    "negative width": ({"n_embd": -8}, "n_embd"),
    "width that is no integer": ({"n_embd": "8"}, "n_embd"),
    "absurd vocabulary": ({"vocab_size": 1 << 62}, "vocab_size"),
    "more layers than stored": ({"n_layer": 2}, "h.1."),
    "head that is not stored": ({"tie_word_embeddings": False}, "lm_head.weight"),
    "epsilon of zero": ({"layer_norm_epsilon": 0}, "layer_norm_epsilon"),
}


def test_the_folder_without_a_fault_is_served(tmp_path, start_server):
    """The control of all the others."""
    server = start_server(model=write(tmp_path / "good"))
    with Client(server.address) as client:
        config = client.model().config
        assert (config.n_layer, config.n_head, config.vocab_size) == (1, 2, 20)
        client.run({"prompts": [{"token_ids": {"ids": [1, 19]}}]})


def test_no_folder(tmp_path):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    There is no folder at all, or a file in its place.
    """
    (tmp_path / "file").write_bytes(GOOD)
    for name in ("nothing", "file"):
        assert_refused(tmp_path / name, "--model", name)


@pytest.mark.parametrize("fault", FILES)
def test_weights(tmp_path, fault):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink"""
    file, tensor = FILES[fault]
    folder = write(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(file)
    assert_refused(folder, "model.safetensors", tensor)


@pytest.mark.parametrize("length", [HEADER_BYTES_MAX + 1, HEADER_BYTES_MAX])
def test_header_of_100_megabytes(tmp_path, length):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    Above the limit by its length alone, at the limit by what is in it.
    """
    folder = write(tmp_path / "model")
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        file.truncate(8 + length)  # the rest is a hole
    assert_refused(folder, "model.safetensors")


@pytest.mark.parametrize("fault", CONFIGS)
def test_config(tmp_path, fault):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    A configuration that is broken, or says what this server does not compute.
    """
    config, name = CONFIGS[fault]
    assert_refused(write(tmp_path / "model", config=config), name)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("target", ["outside", "dangling", "itself", "device"])
def test_symbolic_link(tmp_path, name, target):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    Out of the folder, to nothing, to itself, to a device.
    """
    folder, outside = write(tmp_path / "model"), write(tmp_path / "outside")
    (folder / name).unlink()
    (folder / name).symlink_to(
        {
            "outside": outside / name,
            "dangling": folder / "nothing",
            "itself": folder / name,
            "device": "/dev/zero",
        }[target]
    )
    assert_refused(folder, name)


def test_symbolic_link_as_the_hub_stores_it(tmp_path, start_server):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    A snapshot's links into the sibling folder of blobs are the cache's own layout.
    """
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    write(blobs)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    start_server(model=snapshot)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_file_that_cannot_be_read(tmp_path, name, kind):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    A file that is not there, or is no file.
    """
    folder = write(tmp_path / "model")
    (folder / name).unlink()
    if kind == "folder":
        (folder / name).mkdir()
    if kind == "fifo":
        os.mkfifo(folder / name)
    assert_refused(folder, name)


@pytest.mark.parametrize(
    "index, name",
    [
        (b"{", "model.safetensors.index.json"),
        (b"{}", "weight_map"),
        ({"wte.weight": "../outside.safetensors"}, "wte.weight"),
        ({"wte.weight": "/etc/passwd"}, "wte.weight"),
        ({"wte.weight": "nothing.safetensors"}, "nothing.safetensors"),
        ({"wte.weight": 7}, "wte.weight"),
        ({"not.there": "part.safetensors"}, "not.there"),
        ({"wpe.weight": "part.safetensors"}, "wte.weight"),
    ],
)
def test_index_of_shards(tmp_path, index, name):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    The same for a sharded model.
    """
    folder = write(tmp_path / "model", file=without("wte.weight"))
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    text = index if isinstance(index, bytes) else json.dumps({"weight_map": index}).encode()
    (folder / "model.safetensors.index.json").write_bytes(text)
    assert_refused(folder, name)


@pytest.mark.parametrize(
    "name, text",
    [
        ("vocab.json", b"{"),
        ("vocab.json", b"[]"),
        ("vocab.json", b'{"a": -1}'),
        ("vocab.json", b'{"a": "b"}'),
        ("merges.txt", b"#version: 0.2\na b c\n"),
        ("merges.txt", b"\xff\xfe\n"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_tokenizer(tmp_path, start_server, name, text):
    """weights: truncated, offset overlap, wrapped shape, wrong dtype, 100 MB header, symlink

    Tokenizer files that are broken: the weights are served all the same, and whoever sends text is
    told which file it is.
    """
    folder = write(tmp_path / "model")
    if name != "tokenizer.json":
        (folder / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2}))
        (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    (folder / name).write_bytes(text)
    server = start_server(model=folder)
    with Client(server.address) as client:
        model = client.model()
        assert not model.has_tokenizer and model.tokenizer_problem.startswith(f"{name}: ")
        client.run({"prompts": [{"token_ids": {"ids": [1, 19]}}]})
        for call in (
            lambda: client.tokenize("a"),
            lambda: client.detokenize([1]),
            lambda: client.run({"prompts": [{"text": "a"}]}),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert model.tokenizer_problem in refused.value.details()
    (warning,) = [line for line in server.log().splitlines() if name in line]
    assert f"prompts have to be token ids: {name}: " in warning
