"""The ten tasks in TransformerLens."""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig, utils
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import AutoTokenizer, GPT2LMHeadModel


def load(folder):
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
        normalization_type="LN",
        default_prepend_bos=False,
        device="cpu",
    )
    model = HookedTransformer(config, tokenizer=AutoTokenizer.from_pretrained(folder))
    weights = convert_gpt2_weights(theirs, config)
    model.load_and_process_state_dict(
        weights, fold_ln=False, center_writing_weights=False, center_unembed=False,
        fold_value_biases=False,
    )  # fmt: skip
    return model.eval()


def read_logits(model, prompt):
    return model(prompt)[0, -1]


def residual_streams(model, prompt):
    _, cache = model.run_with_cache(prompt)
    return cache.stack_activation("resid_post")[:, 0]


def zero_head(model, prompt, layer, head):
    def hook(z, hook):
        z[:, :, head] = 0
        return z

    hooks = [(utils.get_act_name("z", layer), hook)]
    return model.run_with_hooks(prompt, fwd_hooks=hooks)[0, -1]


def zero_keys(model, prompt, layer, head):
    def hook(k, hook):
        k[:, :, head] = 0
        return k

    hooks = [(utils.get_act_name("k", layer), hook)]
    return model.run_with_hooks(prompt, fwd_hooks=hooks)[0, -1]


def mean_ablate_mlp(model, prompt, layer):
    def hook(mlp_out, hook):
        return mlp_out.mean(dim=1, keepdim=True).expand_as(mlp_out)

    hooks = [(utils.get_act_name("mlp_out", layer), hook)]
    return model.run_with_hooks(prompt, fwd_hooks=hooks)[0, -1]


def steer(model, prompt, vector, layer, coefficient):
    def hook(resid_pre, hook):
        return resid_pre + coefficient * torch.as_tensor(vector)

    hooks = [(utils.get_act_name("resid_pre", layer), hook)]
    return model.run_with_hooks(prompt, fwd_hooks=hooks)[0, -1]


def patch_residual(model, prompt, source, layer, position):
    name = utils.get_act_name("resid_pre", layer)
    _, cache = model.run_with_cache(source, names_filter=name)

    def hook(resid_pre, hook):
        resid_pre[:, position] = cache[name][:, position]
        return resid_pre

    return model.run_with_hooks(prompt, fwd_hooks=[(name, hook)])[0, -1]


def scale_block(model, prompt, factor, layer):
    def hook(resid_post, hook):
        return factor * resid_post

    hooks = [(utils.get_act_name("resid_post", layer), hook)]
    return model.run_with_hooks(prompt, fwd_hooks=hooks)[0, -1]


def attention_pattern(model, prompt, layer):
    _, cache = model.run_with_cache(prompt)
    return cache["pattern", layer][0]


def head_sweep(model, prompt, answer, wrong):
    answer, wrong = model.to_single_token(answer), model.to_single_token(wrong)
    differences = torch.empty(model.cfg.n_layers, model.cfg.n_heads)
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            logits = zero_head(model, prompt, layer, head)
            differences[layer, head] = logits[answer] - logits[wrong]
    return differences
