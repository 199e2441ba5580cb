"""Measures the demo model on sentences that its training never saw; writes evaluation.json."""

import argparse
import json
import pathlib
import random

import torch
from torch.nn import functional
from transformers import GPT2LMHeadModel

import batches
import corpus
import tasks
import vocabulary

_HERE = pathlib.Path(__file__).resolve().parent
_ROWS = 64  # prompts of one forward pass


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--text",
        default="dict-jargon/usr/share/dictd/jargon.dict.dz",
        help="the database of Debian's package dict-jargon",
    )
    parser.add_argument("--model", type=pathlib.Path, default=_HERE, help="folder to measure")
    parser.add_argument("--samples", type=int, default=1000, help="sentences of each kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def next_logits(model, tokenizer, prompts):
    """Logits after the last token of each prompt, [prompts, vocabulary]."""
    results = []
    for begin in range(0, len(prompts), _ROWS):
        ids = [tokenizer.encode(p) for p in prompts[begin : begin + _ROWS]]
        longest = max(map(len, ids))
        padded = torch.tensor(
            [row + [tokenizer.eos_token_id] * (longest - len(row)) for row in ids]
        )
        logits = model(padded).logits
        results.append(logits[range(len(ids)), [len(row) - 1 for row in ids]])
    return torch.cat(results)


def two_choices(model, tokenizer, samples):
    """Share of samples whose right word beats the wrong one, and beats all others."""
    logits = next_logits(model, tokenizer, [s.prompt for s in samples])
    right, wrong = (
        torch.tensor([tokenizer.encode(getattr(s, side))[0] for s in samples])
        for side in ("right", "wrong")
    )
    difference = logits.gather(1, right[:, None]) - logits.gather(1, wrong[:, None])
    return {
        "samples": len(samples),
        "right_above_wrong": share(difference > 0),
        "right_is_top_token": share(logits.argmax(1) == right),
        "mean_logit_difference": round(difference.mean().item(), 2),
    }


def share(flags):
    """The share of true flags, to three digits."""
    return round(flags.float().mean().item(), 3)


def indirect_object(model, tokenizer, rng, count):
    """Held-out pairs of names, in known sentence frames and in frames never seen."""

    def measure(templates):
        return two_choices(
            model,
            tokenizer,
            [
                tasks.indirect_object(rng, evaluation=True, templates=templates)
                for _ in range(count)
            ],
        )

    return {
        "held_out_names": measure(tasks.IOI_TEMPLATES),
        "held_out_names_and_templates": measure(tasks.IOI_HELD_OUT_TEMPLATES),
    }


def agreement(model, tokenizer, rng, count):
    """Held-out pairs of nouns, and those of them whose numbers differ."""
    samples = [tasks.agreement(rng, evaluation=True) for _ in range(count)]
    plurals = {noun.split("/")[1] for noun in tasks.NOUNS + tasks.PLACE_NOUNS}
    differ = [
        s for s in samples if (s.prompt.split()[1] in plurals) != (s.prompt.split()[-1] in plurals)
    ]
    return {
        "all": two_choices(model, tokenizer, samples),
        "nouns_of_different_number": two_choices(model, tokenizer, differ),
    }


def greater_than(model, tokenizer, rng, count):
    """Probability on the years after the first year, on those up to it, and on the rest."""
    samples = [tasks.greater_than(rng, evaluation=True) for _ in range(count)]
    years = torch.tensor([tokenizer.encode(f"{y:02}")[0] for y in range(100)])
    probabilities = next_logits(model, tokenizer, [s.prompt for s in samples]).softmax(1)[:, years]
    starts = torch.tensor([int(s.right) for s in samples])[:, None]
    later = torch.arange(100)[None, :] > starts
    above, below = (probabilities * later).sum(1), (probabilities * ~later).sum(1)
    return {
        "samples": count,
        "probability_of_later_years": round(above.mean().item(), 3),
        "probability_of_other_years": round(below.mean().item(), 3),
        "later_years_more_probable": share(above > below),
        "top_year_is_later": share(probabilities.argmax(1) > starts[:, 0]),
    }


def induction(model, tokenizer, rng, count):
    """Random words in a random order, said again: words of training and words held out."""

    def measure(words):
        right = total = 0
        for _ in range(count // 10):
            ids, weights = tasks.induction(rng, words, length=rng.randrange(5, 20))
            predicted = model(torch.tensor([ids])).logits[0, :-1].argmax(1)
            counted = torch.tensor(weights[1:]) > tasks.FILLER
            right += (predicted == torch.tensor(ids[1:]))[counted].sum().item()
            total += counted.sum().item()
        return {"tokens": total, "right_is_top_token": round(right / total, 3)}

    seen, held_out = batches.word_tokens(tokenizer)
    return {
        "words_of_last_stage": measure(batches.induction_words(tokenizer, 256)),
        "all_words_of_training": measure(seen),
        "held_out_words": measure(held_out),
    }


def prose_loss(model, tokenizer, paragraphs):
    """Mean loss in nats per token over all held-out prose, in windows of n_positions."""
    ids = torch.from_numpy(batches.prose_ids(tokenizer, paragraphs))
    length = model.config.n_positions
    windows = ids[: len(ids) // length * length].view(-1, length)
    total = sum(
        functional.cross_entropy(model(row[None]).logits[0, :-1], row[1:]).item() for row in windows
    )
    characters = len(tokenizer.decode(windows.flatten()))
    loss = total / len(windows)
    return {
        "tokens": windows.numel(),
        "loss_nats_per_token": round(loss, 3),
        "loss_nats_per_character": round(loss * windows.numel() / characters, 3),
    }


def spread_by_layer(model, tokenizer, prompts):
    """Standard deviation of the residual stream: the embedding, then after every block."""
    streams = []
    hooks = [model.transformer.h[0].register_forward_pre_hook(lambda _, a: streams.append(a[0]))]
    hooks += [
        block.register_forward_hook(
            lambda _, a, out: streams.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in model.transformer.h
    ]
    spreads = []
    for prompt in prompts:
        streams.clear()
        model(torch.tensor([tokenizer.encode(prompt)]))
        spreads.append([s.std().item() for s in streams])
    for hook in hooks:
        hook.remove()
    return [round(s.item(), 3) for s in torch.tensor(spreads).mean(0)]


def strongest_heads(model, tokenizer, rng, count):
    """Zeroes every head in turn: those whose loss lowers the mean logit difference most."""
    samples = [tasks.indirect_object(rng, evaluation=True) for _ in range(count)]
    clean = two_choices(model, tokenizer, samples)
    width = model.config.n_embd // model.config.n_head
    found = []
    for layer, block in enumerate(model.transformer.h):
        for head in range(model.config.n_head):

            def zero(_, inputs, columns=slice(head * width, (head + 1) * width)):
                changed = inputs[0].clone()
                changed[..., columns] = 0
                return (changed,)

            hook = block.attn.c_proj.register_forward_pre_hook(zero)
            found.append({"layer": layer, "head": head, **two_choices(model, tokenizer, samples)})
            hook.remove()
    found.sort(key=lambda f: f["mean_logit_difference"])
    return {"clean": clean, "zeroed": found[:5]}


def main():
    """Measures everything and writes evaluation.json into the model's folder."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    tokenizer = vocabulary.load(arguments.model)
    model = GPT2LMHeadModel.from_pretrained(arguments.model).eval()
    _, held_out = corpus.load(arguments.text)
    rng = random.Random(arguments.seed)
    sentences = [tasks.indirect_object(rng, evaluation=True).prompt for _ in range(50)]
    result = {
        "indirect_object": indirect_object(model, tokenizer, rng, arguments.samples),
        "induction": induction(model, tokenizer, rng, arguments.samples),
        "greater_than": greater_than(model, tokenizer, rng, arguments.samples),
        "agreement": agreement(model, tokenizer, rng, arguments.samples),
        "held_out_prose": prose_loss(model, tokenizer, held_out),
        "residual_std": {
            "indirect_object": spread_by_layer(model, tokenizer, sentences),
            "prose": spread_by_layer(model, tokenizer, [p[:400] for p in held_out[:50]]),
        },
        "strongest_heads": strongest_heads(model, tokenizer, rng, 100),
    }
    text = json.dumps(result, indent=2) + "\n"
    (arguments.model / "evaluation.json").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
