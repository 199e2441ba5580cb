"""The ten tasks in nnsight."""

import torch
from nnsight import TransformersModel


def load(name):
    return TransformersModel(
        name,
        task="text-generation",
        device_map="cpu",
        attn_implementation="eager",
        dispatch=True,
    )


def read_logits(model, prompt):
    with model.trace(prompt):
        logits = model.lm_head.output[0, -1].save()
    return logits


def residual_streams(model, prompt):
    with model.trace(prompt):
        streams = list().save()
        for block in model.transformer.h:
            streams.append(block.output[0][0])
    return torch.stack(streams)


def zero_head(model, prompt, layer, head):
    width = model.config.n_embd // model.config.n_head
    with model.trace(prompt):
        z = model.transformer.h[layer].attn.c_proj.input
        z[..., head * width : (head + 1) * width] = 0
        logits = model.lm_head.output[0, -1].save()
    return logits


def zero_keys(model, prompt, layer, head):
    d_model = model.config.n_embd
    width = d_model // model.config.n_head
    first = d_model + head * width  # c_attn writes queries, keys and values side by side.
    with model.trace(prompt):
        model.transformer.h[layer].attn.c_attn.output[..., first : first + width] = 0
        logits = model.lm_head.output[0, -1].save()
    return logits


def mean_ablate_mlp(model, prompt, layer):
    with model.trace(prompt):
        mlp_out = model.transformer.h[layer].mlp.output
        model.transformer.h[layer].mlp.output[:] = mlp_out.mean(dim=1, keepdim=True)
        logits = model.lm_head.output[0, -1].save()
    return logits


def steer(model, prompt, vector, layer, coefficient):
    with model.trace(prompt):
        model.transformer.h[layer].input[:] += coefficient * torch.as_tensor(vector)
        logits = model.lm_head.output[0, -1].save()
    return logits


def patch_residual(model, prompt, source, layer, position):
    with model.trace(source):
        donor = model.transformer.h[layer].input[:, position].save()
    with model.trace(prompt):
        model.transformer.h[layer].input[:, position] = donor
        logits = model.lm_head.output[0, -1].save()
    return logits


def scale_block(model, prompt, factor, layer):
    with model.trace(prompt):
        model.transformer.h[layer].output[0][:] *= factor
        logits = model.lm_head.output[0, -1].save()
    return logits


def attention_pattern(model, prompt, layer):
    with model.trace(prompt):
        pattern = model.transformer.h[layer].attn.output[1][0].save()
    return pattern


def head_sweep(model, prompt, answer, wrong):
    (answer,), (wrong,) = (model.tokenizer.encode(word) for word in (answer, wrong))
    differences = torch.empty(model.config.n_layer, model.config.n_head)
    for layer in range(model.config.n_layer):
        for head in range(model.config.n_head):
            logits = zero_head(model, prompt, layer, head)
            differences[layer, head] = logits[answer] - logits[wrong]
    return differences
