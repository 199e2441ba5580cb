"""A notebook as users of TransformerLens write it. `lens` is `transformer_lens` or `scalpel.lens`,
and `model` a `HookedTransformer` of it; nothing else differs."""

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


def tokens(model, lens):
    """Text to tokens and back."""
    rows = model.to_tokens([CLEAN, " Mary and John"])
    return {
        "rows": rows,
        "without bos": model.to_tokens(CLEAN, prepend_bos=False),
        "pieces": model.to_str_tokens(CLEAN),
        "pieces of tokens": model.to_str_tokens(rows[0]),
        "pieces of several": model.to_str_tokens([CLEAN, " Mary"], prepend_bos=False),
        "text": model.to_string(rows[1]),
        "texts": model.to_string(rows),
        "one token": model.to_single_token(" Mary"),
        "its text": model.to_single_str_token(model.to_single_token(" Mary")),
        "first": model.get_token_position(" John", CLEAN),
        "last": model.get_token_position(" John", rows[:1], mode="last"),
    }


def logits_and_loss(model, lens):
    """What the model says."""
    rows = model.to_tokens([CLEAN, " Mary and John"])  # The second is filled on the right.
    logits, loss = model(rows, return_type="both")
    return {
        "logits": logits,
        "logits of a text": model(CLEAN),
        "without bos": model(CLEAN, prepend_bos=False),
        "loss": loss,
        "loss alone": model(rows, return_type="loss"),
        "loss per token": model(rows, return_type="loss", loss_per_token=True),
        "loss of logits": model.loss_fn(logits, rows),
        "nothing": model(rows, return_type=None),
        "best": logits[0, -1].argmax(),
        "margin": logits[0, -1, model.to_single_token(" Mary")] - logits[0, -1].mean(),
    }


def whole_cache(model, lens):
    """Every activation of two prompts."""
    _, cache = model.run_with_cache([CLEAN, CORRUPTED])
    return dict(cache)


def part_of_the_cache(model, lens):
    """Some activations, by their short names."""
    names = [lens.utils.get_act_name("z", 3), lens.utils.get_act_name("pattern", 3)]
    _, some = model.run_with_cache(CLEAN, names_filter=names, remove_batch_dim=True)
    _, function = model.run_with_cache(
        CLEAN, names_filter=lambda name: name.endswith("hook_mlp_out"), pos_slice=-1
    )
    loss, one = model.run_with_cache(CLEAN, names_filter=names[0], return_type="loss")
    head = some["pattern", 3][5]
    return {
        "z": some["z", 3],
        "pattern": some["blocks.3.attn.hook_pattern"],
        "by number": one["z3"],
        "from the end": function["mlp_out", -1],
        "previous token": head.diagonal(-1).mean(),
        "loss": loss,
    }


def residual_stream(model, lens):
    """What the stream is made of, and what its parts say of a logit."""
    _, cache = model.run_with_cache([CLEAN, CORRUPTED])
    stack, labels = cache.decompose_resid(pos_slice=-1, return_labels=True)
    until, until_labels = cache.accumulated_resid(
        layer=4, incl_mid=True, apply_ln=True, return_labels=True
    )
    heads, head_labels = cache.stack_head_results(layer=3, return_labels=True, incl_remainder=True)
    mary, john = model.to_tokens([" Mary", " John"], prepend_bos=False)[:, 0]
    answers = model.to_tokens([" Mary", " John"], prepend_bos=False)[:, 0]
    return {
        "components": stack,
        "labels": [*labels, *until_labels, *head_labels],
        "normalised": cache.decompose_resid(layer=5, mlp_input=True, mode="attn", apply_ln=True),
        "mlps": cache.decompose_resid(mode="mlp", incl_embeds=False),
        "until": until,
        "all": cache.accumulated_resid(),
        "before an mlp": cache.accumulated_resid(layer=2, mlp_input=True, pos_slice=(1, 4)),
        "heads": heads,
        "heads at the end": cache.stack_head_results(pos_slice=-1, apply_ln=True),
        "patterns": cache.stack_activation("pattern", layer=2),
        "normal": cache.apply_ln_to_stack(stack, pos_slice=-1),
        "of one prompt": cache.apply_ln_to_stack(stack, pos_slice=-1, batch_slice=0),
        "direction": model.tokens_to_residual_directions(" Mary"),
        "directions": model.tokens_to_residual_directions(answers),
        "for Mary": cache.logit_attrs(stack, " Mary", pos_slice=-1),
        "difference": cache.logit_attrs(stack, " Mary", " John", pos_slice=-1),
        "by prompt": cache.logit_attrs(
            stack,
            answers,
            model.to_tokens([" John", " Mary"], prepend_bos=False)[:, 0],
            pos_slice=-1,
        ),
        "ids": [int(mary), int(john)],
    }


def flags(model, lens):
    """Hook points that are kept on request."""
    model.set_use_attn_result(True)
    model.set_use_hook_mlp_in(True)
    _, cache = model.run_with_cache(CLEAN)
    model.set_use_attn_result(False)
    model.set_use_hook_mlp_in(False)
    return {"result": cache["result", 5], "mlp in": cache["mlp_in", 5], "z": cache["z", 5]}


PAGES = (tokens, logits_and_loss, whole_cache, part_of_the_cache, residual_stream, flags)
