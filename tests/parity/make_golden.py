"""Writes the golden files: `python -m tests.parity.make_golden`, with torch and transformers
installed. Run it whenever the bundled model, an example or the contract changes."""

from transformers import GPT2TokenizerFast

from tests.parity import cells, golden, models, places, random_specs, strings, twin
from tests.support import environment
from tests.support.client import make_request, run_pb2

TINY = dict(vocab_size=37, n_positions=24, n_embd=12, n_layer=2, n_head=3)
CONFIGS = {
    "tiny": dict(),
    "tiny-flags": dict(
        activation_function="relu",
        n_inner=20,
        scale_attn_by_inverse_layer_idx=True,
        scale_attn_weights=False,
        tie_word_embeddings=False,
        layer_norm_epsilon=0.02,
        shards=2,
    ),
    "tiny-upcast": dict(activation_function="gelu", reorder_and_upcast_attn=True, prefix=False),
}
COMPOSITIONS = 12
CASE_BYTES_MAX = 30_000  # of an example; larger answers are left to the live tests
STRINGS = 300


def run(model, request: run_pb2.RunRequest, tokens: list[list[int]], name: str) -> golden.Case:
    return golden.Case(name, request, tokens, twin.answer(model, request, tokens))


def tiny_cases(name: str) -> list[golden.Case]:
    """The table of sites and operations for one model, and random compositions for all."""
    folder = golden.MODELS / name
    models.make(folder, seed=3, **{**TINY, **CONFIGS[name]})
    model = twin.load(folder)
    shape = places.shape_of_config(model.config)
    cases = (
        [cell(model, shape, *site_and_operation) for site_and_operation in cells.CELLS]
        if name == "tiny"
        else []
    )
    for seed in range(COMPOSITIONS):
        specs = random_specs.Specs(shape, seed, length_max=6)
        cases.append(run(model, specs.composition(), specs.tokens, f"composition {seed}"))
    return cases


def cell(model, shape: places.ModelShape, site: int, operation: str) -> golden.Case:
    """The first cell of a site and an operation that moves the logits."""
    name = f"{operation} at {places.site_name(site)}"
    for seed in range(40):
        request, tokens = cells.request(shape, site, operation, seed, narrow=0.5, length_max=4)
        case = run(model, request, tokens, name)
        if cells.moves(case.answer):
            return case
    raise AssertionError(f"no edit moves the logits: {name}")


def demo_cases() -> list[golden.Case]:
    """The examples, as far as their answers are small."""
    folder = environment.model_dir()
    model, tokenizer = twin.load(folder), GPT2TokenizerFast.from_pretrained(folder)
    cases = []
    for path in environment.examples():
        request = make_request(path)
        if request.validate_only:
            continue
        tokens = [
            list(prompt.token_ids.ids) or tokenizer(prompt.text).input_ids
            for prompt in request.prompts
        ]
        case = run(model, request, tokens, path.stem)
        if sum(item.value.size * 4 for item in case.answer.values()) <= CASE_BYTES_MAX:
            cases.append(case)
    return cases


def demo_strings() -> list[tuple[str, list[int]]]:
    folder = environment.model_dir()
    reference = GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return [(text, reference(text).input_ids) for text in strings.strings(STRINGS, seed=5)]


def main() -> None:
    for name in CONFIGS:
        report(golden.save(name, tiny_cases(name)))
    report(golden.save("demo", demo_cases()))
    report(golden.save_strings(environment.model_dir(), demo_strings()))


def report(path) -> None:
    print(f"{path.relative_to(environment.ROOT)}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
