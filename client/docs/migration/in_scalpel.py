"""The ten tasks in Scalpel."""

import scalpel
from scalpel import add, logit_diff, mean, patch, scale, zero


def load(address):
    return scalpel.connect(address)


def read_logits(model, prompt):
    run = model.run(prompt, logits="full")
    return run.logits()[-1]


def residual_streams(model, prompt):
    run = model.run(prompt, capture="resid_post")
    return run.capture("resid_post")


def zero_head(model, prompt, layer, head):
    run = model.run(prompt, zero("z", layer=layer, head=head), logits="full")
    return run.logits()[-1]


def zero_keys(model, prompt, layer, head):
    run = model.run(prompt, zero("k", layer=layer, head=head), logits="full")
    return run.logits()[-1]


def mean_ablate_mlp(model, prompt, layer):
    run = model.run(prompt, mean("mlp_out", layer=layer), logits="full")
    return run.logits()[-1]


def steer(model, prompt, vector, layer, coefficient):
    steering = add("resid_pre", vector, coefficient=coefficient, layer=layer)
    run = model.run(prompt, steering, logits="full")
    return run.logits()[-1]


def patch_residual(model, prompt, source, layer, position):
    patching = patch("resid_pre", from_clean=1, layer=layer, position=position, prompt=0)
    run = model.run([prompt, source], patching, logits="full")
    return run.logits(prompt=0)[-1]


def scale_block(model, prompt, factor, layer):
    run = model.run(prompt, scale("resid_post", factor, layer=layer), logits="full")
    return run.logits()[-1]


def attention_pattern(model, prompt, layer):
    run = model.run(prompt, capture=scalpel.capture("pattern", layer=layer), logits="none")
    return run.capture("pattern")


def head_sweep(model, prompt, answer, wrong):
    sweep = model.sweep(
        prompt, zero("z"), over=["layers", "heads"], metrics=logit_diff(answer, wrong)
    )
    return sweep.array()
