"""Trains the demo model and writes it beside this script, in HuggingFace layout."""

import argparse
import collections
import json
import math
import pathlib
import random
import time

import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

import corpus
import guidance
import tasks
import vocabulary
from batches import Batches

_HERE = pathlib.Path(__file__).resolve().parent
_POSITIONS = 256
_ROW_LENGTHS = [24, 48]  # tokens of a generated row
_GUIDANCE = 0.5  # weight of the guidance at first
_GUIDED_UNTIL = 0.6  # of the training
_INITIAL_STD = 0.06  # GPT-2's 0.02 is for a width of 768; narrower needs more to start learning


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
    parser.add_argument("--output", type=pathlib.Path, default=_HERE, help="folder to write")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the model in the output folder, without guidance",
    )
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--minutes", type=float, default=120, help="stop by then at the latest")
    parser.add_argument("--batch_tokens", type=int, default=1024)
    parser.add_argument("--prose_every", type=int, default=5, help="steps per step on prose")
    parser.add_argument("--vocab_size", type=int, default=2048)
    parser.add_argument("--width", type=int, default=96, help="n_embd, a multiple of 12")
    parser.add_argument(
        "--induction_words",
        type=int,
        default=0,
        help="repeat only so many words; 0: the whole vocabulary",
    )
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--save_every", type=int, default=500, help="steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def build_vocabulary(paragraphs, size, seed, folder):
    """Trains the vocabulary on the prose and on generated sentences."""
    rng = random.Random(seed)
    kinds = [tasks.indirect_object, tasks.greater_than, tasks.agreement]
    sentences = ["".join(text for text, _ in rng.choice(kinds)(rng).pieces) for _ in range(20_000)]
    names = [" ".join(rng.sample(tasks.NAMES, 2)) for _ in range(20_000)]
    tokenizer = vocabulary.build(paragraphs + sentences + names, size, folder)
    vocabulary.require_single_tokens(tokenizer, tasks.NAMES)
    return tokenizer


def build_model(tokenizer, width):
    """A fresh GPT-2 of 12 layers and 12 heads."""
    end = tokenizer.eos_token_id
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=_POSITIONS,
            n_embd=width,
            n_layer=12,
            n_head=12,
            initializer_range=_INITIAL_STD,
            attn_implementation="eager",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=end,
            eos_token_id=end,
        )
    )
    model.transformer.wpe.weight.data.copy_(waves(_POSITIONS, width))
    return model


def waves(positions, width):
    """Sine and cosine position embeddings to start from: with them a head finds the token
    before each one much sooner, since that is the same rotation at every position."""
    rates = torch.exp(torch.linspace(math.log(2.5), -math.log(positions / 8), width // 2))
    angles = torch.arange(positions)[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1) * 2 * _INITIAL_STD


def build_optimizer(model, learning_rate):
    """AdamW that lets only matrices decay."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        lr=learning_rate,
        betas=(0.9, 0.98),
    )


def learning_rate_at(step, done, arguments):
    """Linear warm-up, then a cosine down to a twentieth at the end; `done` is from 0 to 1."""
    warm = min(1, (step + 1) / arguments.warmup)
    return arguments.learning_rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def next_token_loss(logits, ids, weights):
    """Cross entropy of the next token, each counted by its weight."""
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    wanted = weights[:, 1:].flatten()
    return (losses * wanted).sum() / wanted.sum()


def draw(batches, step, arguments):
    """The batch of a step: prose in long windows, or generated rows, short and long in turn."""
    if step % arguments.prose_every == 0:
        return "prose", batches.prose(arguments.batch_tokens // _POSITIONS, _POSITIONS)
    length = _ROW_LENGTHS[step % len(_ROW_LENGTHS)]
    return "generated", batches.generated(arguments.batch_tokens // length, length)


def train(model, batches, arguments, save):
    """Runs all steps that the time allows, printing mean losses and saving as it goes."""
    optimizer = build_optimizer(model, arguments.learning_rate)
    recent = collections.defaultdict(list)
    began = time.monotonic()
    done = 0
    for step in range(arguments.steps):
        kind, (ids, weights) = draw(batches, step, arguments)
        guided = kind == "generated" and done < _GUIDED_UNTIL and not arguments.resume
        output = model(ids[:, :-1], use_cache=False, output_attentions=guided)
        loss = next_token_loss(output.logits, ids, weights)
        recent[kind].append(loss.item())
        if guided:
            previous, induction = guidance.losses(output.attentions, ids, weights)
            loss = loss + _GUIDANCE * (1 - done / _GUIDED_UNTIL) * (previous + induction)
            recent["guided previous"].append(previous.item())
            recent["guided induction"].append(induction.item())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, done, arguments)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds = time.monotonic() - began
        done = max((step + 1) / arguments.steps, seconds / 60 / arguments.minutes)
        if (step + 1) % 100 == 0:
            means = "  ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in recent.items())
            print(f"step {step + 1}  {means}  {seconds:.0f} s", flush=True)
            recent.clear()
        if (step + 1) % arguments.save_every == 0 or done >= 1:
            save(step + 1, seconds)
        if done >= 1:
            break


def main():
    """Builds the vocabulary, trains, and writes the folder."""
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    paragraphs, _ = corpus.load(arguments.text)
    stages = []
    if arguments.resume:
        tokenizer = GPT2TokenizerFast.from_pretrained(arguments.output)
        model = GPT2LMHeadModel.from_pretrained(arguments.output, attn_implementation="eager")
        model.train()
        stages = json.loads((arguments.output / "training.json").read_text())["stages"]
    else:
        tokenizer = build_vocabulary(
            paragraphs, arguments.vocab_size, arguments.seed, arguments.output
        )
        tokenizer.backend_tokenizer.save(str(arguments.output / "tokenizer.json"))
        model = build_model(tokenizer, arguments.width)
    batches = Batches(tokenizer, paragraphs, arguments.seed, arguments.induction_words)
    print(
        f"{len(paragraphs)} paragraphs, {len(tokenizer)} tokens, "
        f"{sum(p.numel() for p in model.parameters())} parameters",
        flush=True,
    )
    settings = {k: v for k, v in vars(arguments).items() if k not in ("text", "output")}

    def save(step, seconds):
        model.save_pretrained(arguments.output)
        (arguments.output / "generation_config.json").unlink(missing_ok=True)
        stage = {"arguments": settings, "steps_done": step, "seconds": round(seconds)}
        (arguments.output / "training.json").write_text(
            json.dumps({"stages": [*stages, stage]}, indent=2) + "\n"
        )

    train(model, batches, arguments, save)


if __name__ == "__main__":
    main()
