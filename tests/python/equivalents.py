"""Each file of client/examples/requests, said in Python: the call that sends the same request."""

from scalpel import (
    BlockOutputs,
    Logits,
    add,
    capture,
    clamp,
    heads,
    kl_from_clean,
    knockout,
    layers,
    logit_diff,
    mean,
    noise,
    patch,
    patching_score,
    positions,
    prob,
    probe,
    project_out,
    scale,
    set_,
    top_k,
    values,
    zero,
)

MARY = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
WAR = "The war lasted from the year 1732 to the year 17"
KEYS, RIVER = "The keys to the cabinet", "The river behind the village"
ENTROPY = probe("pattern", "entropy", keep="head", layer=5, name="entropy by head")
PATTERN = capture("pattern", layer=5, head=2, name="pattern of head 2")
DISTANCE = "distance from the clean run"
BLOCK = probe("resid_post", "std", "abs_max", "mean_l2_norm", name="block output")
NEURONS = ("mean", "std", "min", "max")
FOUR_UNITS = {"layer": 7, "unit": slice(0, 4)}
EVERYTHING = probe(
    "resid_post", "mean", "std", "variance", "min", "max", "abs_max", "l2_norm", "mean_l2_norm",
    "rms", "kurtosis", "zero_fraction", "relative_l2", "cosine",
    quantiles=[0.05, 0.5, 0.95], histogram=(10, -5, 5), name="everything",
)  # fmt: skip

# File, and the arguments of `run`.
RUNS = {
    "01-zero-k-head": (
        (MARY, zero("k", layer=5, head=2, name="zero K of head 2")),
        {"stats": ENTROPY, "capture": PATTERN, "clean": True},
    ),
    "01b-zero-qkv-columns": (
        (
            MARY,
            zero("qkv", layer=5, unit=slice(112, 120), name="zero columns 112 to 120 of QKV"),
        ),
        {"stats": ENTROPY, "capture": PATTERN, "clean": True},
    ),
    "02-noise-neurons": (
        (
            MARY,
            noise("mlp_post", 1, mean=10, layer=6, unit=slice(None, None, 2),
                  name="even neurons become noise"),
        ),
        {
            "stats": [
                probe("mlp_post", *NEURONS, layer=6, when="before", name="neurons before"),
                probe("mlp_post", *NEURONS, layer=6, name="neurons after"),
                probe("resid_post", "mean", "std", "relative_l2", "cosine", name="block output"),
            ],
            "seed": 1,
        },
    ),
    "03-scale-block-down": (
        (MARY, scale("resid_post", 0.1, layer=9, name="scale block 9")),
        {"stats": BLOCK, "clean": True},
    ),
    "04-scale-block-up": (
        (MARY, scale("resid_post", 10, layer=9, name="scale block 9")),
        {"stats": BLOCK, "clean": True},
    ),
    "05-block-output-tuple": ((MARY,), {"block_outputs": 9}),
    "05b-block-output-tuple-attentions": (
        (MARY,),
        {"block_outputs": [9], "output_attentions": True},
    ),
    "06-std-by-layer": (
        ([MARY, WAR], scale("mlp_out", 3, layer=3, name="triple the MLP of block 3")),
        {"stats": probe("resid_post", "std", name="block output"), "clean": True},
    ),
    "07-activation-patching": (
        (
            [MARY, OTHER],
            patch("resid_pre", from_prompt=0, layer=9, position=-1, prompt=1,
                  name="last position from the first prompt"),
        ),
        {"logits": 5, "clean": True},
    ),
    "07b-causal-tracing": (
        (
            MARY,
            [
                noise("embed", 0.5, mode="add", position=1, name="corrupt the first name"),
                patch("resid_post", from_clean=0, layer=2, position=1,
                      name="restore it at block 2"),
            ],
        ),
        {"stats": probe("resid_post", "relative_l2", keep="position", name=DISTANCE), "seed": 7},
    ),
    "07c-path-patching": (
        (
            [MARY, OTHER, MARY],
            [
                patch("z", from_clean=0, layer=range(1, 7), prompt=2,
                      name="freeze the heads on the way"),
                patch("mlp_out", from_clean=0, layer=range(1, 7), prompt=2,
                      name="freeze the MLPs on the way"),
                patch("mlp_out", from_clean=1, layer=0, prompt=2,
                      name="send what the first MLP makes of the other name"),
                patch("k", from_prompt=2, layer=7, head=11, prompt=0,
                      name="receive it in the keys of one head"),
            ],
        ),
        {"logits": 5, "clean": True},
    ),
    "08-knockout": (
        (MARY, knockout([(-1, 1)], name="the last word cannot see the first name")),
        {
            "capture": capture("pattern", layer=11, query=-1, name="last row of the pattern"),
            "clean": True,
        },
    ),
    "09-steering": (
        (
            KEYS,
            add("resid_pre", [0.5, -0.5, 0.5, -0.5], coefficient=4, layer=6,
                unit=[3, 17, 31, 42], name="steer"),
        ),
        {"stats": probe("resid_post", "relative_l2", "cosine", name=DISTANCE), "clean": True},
    ),
    "10-mean-ablation": (
        (MARY, mean("z", layer=[8, 9], head=[0, 5, 11], name="mean-ablate three heads")),
        {"clean": True},
    ),
    "11-project-out": (
        (KEYS, project_out("resid_mid", [1, -1, 1, -1], **FOUR_UNITS, name="remove a direction")),
        {
            "capture": [
                capture("resid_mid", when="before", **FOUR_UNITS, name="before"),
                capture("resid_mid", **FOUR_UNITS, name="after"),
            ]
        },
    ),
    "12-causal-head-zero-z": (
        (MARY, zero("z", layer=9, head=6, name="switch head 9.6 off")),
        {
            "capture": capture("head_result", layer=9, head=[6, 7], position=-1,
                               name="what the heads write"),
            "clean": True,
        },
    ),
    "13-clamp-neurons": (
        (RIVER, clamp("mlp_post", max=0.5, name="no neuron above one half")),
        {
            "stats": probe("mlp_post", "max", histogram=(8, -0.25, 1.75), when="before",
                           name="neurons"),
        },
    ),
    "14-set-neuron": (
        (RIVER, set_("mlp_post", 5, layer=10, unit=[7], name="switch neuron 7 on")),
        {"clean": True},
    ),
    "15-names-of-other-libraries": (
        (
            KEYS,
            [
                zero("blocks.3.attn.hook_v", head=1, name="TransformerLens"),
                scale("transformer.h.4.mlp.c_proj:output", 0.5, name="HuggingFace transformers"),
            ],
        ),
        {"stats": probe("resid_post", "std", name="block output")},
    ),
    "16-every-statistic": (
        (
            WAR,
            patch("z", from_clean=0, from_head=1, layer=4, head=0,
                  name="head 0 becomes what head 1 is in the clean run"),
        ),
        {
            "stats": [
                EVERYTHING,
                probe("resid_post", "l2_norm", keep="position", name="norm by position"),
                probe("pattern", "entropy", "max", keep="head", name="attention by head"),
                probe("ln_f_scale", "mean", name="LayerNorm scale"),
            ]
        },
    ),
    "17-hidden-states-and-logits": (
        ([KEYS, MARY],),
        {
            "block_outputs": BlockOutputs([0, 11], dtype="float16"),
            "output_hidden_states": True,
            "logits": Logits.full(position=[-2, -1], dtype="float16"),
        },
    ),
    "18-validate-only": (
        (KEYS, zero("hook_q", head=11)),
        {"stats": probe("hook_pattern", quantiles=[0.9])},
    ),
}  # fmt: skip

# File, and the arguments of `sweep`.
SWEEPS = {
    "19-sweep-heads": (
        (MARY, zero("z")),
        {
            "over": [layers(), heads()],
            "metrics": [
                logit_diff(" Mary", " John", name="Mary over John"),
                kl_from_clean(name="KL from clean"),
            ],
        },
    ),
    "20-sweep-patch-positions": (
        (MARY, patch("resid_pre", from_source=0)),
        {
            "sources": OTHER,
            "over": [layers(), positions()],
            "metrics": patching_score(" John", " Mary", name="from Mary to John"),
        },
    ),
    "21-sweep-dose-response": (
        (MARY, scale("resid_post", layer=9)),
        {
            "over": values([0, 0.01, 0.1, 0.5, 1, 2, 10, 100], name="factor"),
            "metrics": [
                prob(" Mary", name="Mary"),
                kl_from_clean(name="KL from clean"),
                top_k(3, name="top 3"),
            ],
            "stats": probe("resid_post", "std", name="block output"),
            "reports": True,
        },
    ),
}

# File, and the arguments of `generate`.
GENERATIONS = {
    "22-generate-steered": (
        (
            KEYS,
            add("resid_pre", [0.5, -0.5, 0.5, -0.5], coefficient=32, layer=6,
                unit=[3, 17, 31, 42], steps="generated", name="steer"),
        ),
        {
            "stats": probe("resid_post", "l2_norm", layer=[5, 6, 11], position=-1,
                           name="block output"),
            "max_new_tokens": 12,
            "unsteered": True,
            "reuse_kv": "intervened",
        },
    ),
    "23-generate-sampled": (
        ([MARY, RIVER], zero("z", layer=9, head=6, name="switch head 9.6 off")),
        {
            "logits": 3,
            "sample": True,
            "temperature": 0.8,
            "top_k": 40,
            "top_p": 0.95,
            "max_new_tokens": 10,
            "stop": ".",
            "continuations": 2,
            "reuse_kv": "recompute_all",
            "seed": 7,
        },
    ),
}  # fmt: skip
