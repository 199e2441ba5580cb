"""Models for parity tests, made on the fly: random weights that keep activations and attention
lively, and a GPT-2 config."""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

TINY = dict(vocab_size=131, n_positions=48, n_embd=24, n_layer=3, n_head=4)
FULL_SIZE = dict(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)


def make(
    folder: pathlib.Path,
    seed: int = 0,
    *,
    store: torch.dtype = torch.float32,
    shards: int = 1,
    prefix: bool = True,
    **config,
) -> pathlib.Path:
    """Writes a model folder as HuggingFace has it, unless it is there already.

    `store`: type of the stored weights. `shards`: number of files, with an index. `prefix`: whether
    names begin with `transformer.`; the first GPT-2 checkpoints have none, but carry the
    attention's masks. `config`: of GPT2Config.
    """
    if (folder / "config.json").exists():
        return folder
    made = folder.with_name(folder.name + ".part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    gpt2 = GPT2Config(**{**dict(bos_token_id=0, eos_token_id=0), **config})
    weights = {name: value.to(store) for name, value in _random_weights(gpt2, seed).items()}
    if not prefix:
        weights = {
            name.removeprefix("transformer."): value for name, value in weights.items()
        } | _masks(gpt2)
    _save(made, weights, shards)
    gpt2.architectures = ["GPT2LMHeadModel" if prefix else "GPT2Model"]
    gpt2.save_pretrained(made)
    made.rename(folder)
    return folder


def _random_weights(config: GPT2Config, seed: int) -> dict[str, torch.Tensor]:
    """Every layer's output is of the order of its input, and attention is neither uniform nor
    one-hot."""
    with torch.device("meta"):
        names = {
            name: tensor.shape for name, tensor in GPT2LMHeadModel(config).state_dict().items()
        }
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in names.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")) or (
            name == "lm_head.weight" and config.tie_word_embeddings
        ):
            continue
        normal = torch.randn(shape, generator=generator)
        if ".ln_" in name:
            normal = 0.2 * normal + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("c_attn.weight"):
            normal *= 1.3 / shape[0] ** 0.5
        elif name.endswith("weight") and ".h." in name:
            normal *= 0.7 / shape[0] ** 0.5
        else:
            normal *= 0.5 if "wte" in name else 0.2
        weights[name] = normal.contiguous()
    return weights


def _masks(config: GPT2Config) -> dict[str, torch.Tensor]:
    mask = torch.ones(config.n_positions, config.n_positions).tril()[None, None]
    return {f"h.{layer}.attn.bias": mask.clone() for layer in range(config.n_layer)}


def _save(folder: pathlib.Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    index = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    text = json.dumps({"metadata": {"total_size": size}, "weight_map": index}, indent=1)
    (folder / "model.safetensors.index.json").write_text(text)
