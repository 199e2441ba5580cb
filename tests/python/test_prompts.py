"""What may be given as a prompt, and that nothing else runs as if it were one."""

import collections

import numpy as np
import pandas
import pytest

import scalpel
from scalpel import aio, calls, events, operations, prompts, spread, study
from scalpel.v1 import prompt_pb2
from tests.python.raw import OTHER, PROMPT
from tests.python.test_aio import with_model

TEXTS = ["Mary gave", "the war lasted"]
IDS = [[5, 6, 7], [8, 9]]


class Encoding(collections.UserDict):
    """As HuggingFace transformers' BatchEncoding is made: a mapping that is no dict."""


class FastEncoding:
    """As HuggingFace tokenizers' Encoding."""

    def __init__(self):
        self.ids = [5, 6, 7, 0]
        self.attention_mask = [1, 1, 1, 0]


class Tensor:
    """As torch's: nothing of numpy, and an index where it has one element."""

    def __init__(self, values):
        self._array = np.array(values)
        self.ndim, self.dtype = self._array.ndim, "int64"

    def tolist(self):
        return self._array.tolist()

    def __index__(self):
        return int(self._array.item())


def sent(given):
    """What goes on the wire: texts, and lists of ids."""
    request = calls.run(given).request
    return [p.text if p.HasField("text") else list(p.token_ids.ids) for p in request.prompts]


PADDED = {"input_ids": [[5, 6, 7], [8, 9, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}
ONE = {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]}


@pytest.mark.parametrize("given, expected", [
    # ---- texts ----
    ("a text", ["a text"]),
    (np.str_("a text"), ["a text"]),
    (np.array("a text"), ["a text"]),
    (TEXTS, TEXTS),
    (tuple(TEXTS), TEXTS),
    (np.array(TEXTS), TEXTS),
    (np.array(TEXTS, object), TEXTS),
    (pandas.Series(TEXTS, index=[7, 3]), TEXTS),
    (pandas.Series(TEXTS, index=["input_ids", "attention_mask"]), TEXTS),
    (pandas.Index(TEXTS), TEXTS),
    ((text for text in TEXTS), TEXTS),
    (dict.fromkeys(TEXTS).keys(), TEXTS),
    ([], []),
    # ---- token ids ----
    (IDS[0], [IDS[0]]),
    (range(5, 8), [IDS[0]]),
    (iter(IDS[0]), [IDS[0]]),
    (np.array(IDS[0], np.uint16), [IDS[0]]),
    (np.array(IDS[0], object), [IDS[0]]),
    ([np.int64(5), Tensor(6), 7], [IDS[0]]),
    (pandas.Series(IDS[0]), [IDS[0]]),
    (Tensor(IDS[0]), [IDS[0]]),
    (Tensor([5]), [[5]]),
    ([Tensor([5]), Tensor([6, 7])], [[5], [6, 7]]),
    (IDS, IDS),
    ([(5, 6, 7), np.array([8, 9])], IDS),
    (pandas.Series(IDS), IDS),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (Tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ([Tensor([[1, 2]]), Tensor([[3]])], [[1, 2], [3]]),
    (["a text", IDS[1]], ["a text", IDS[1]]),
    ([[], "a"], [[], "a"]),
    # ---- what tokenizers give ----
    (events.Tokens((5, 6, 7), ()), [IDS[0]]),
    (FastEncoding(), [IDS[0]]),
    ([FastEncoding(), "a"], [IDS[0], "a"]),
    (ONE, [IDS[0]]),
    (Encoding(ONE), [IDS[0]]),
    ({"input_ids": IDS[0]}, [IDS[0]]),
    ({"input_ids": IDS}, IDS),
    ({"input_ids": np.array([IDS[0]])}, [IDS[0]]),
    (PADDED, IDS),
    (Encoding({**PADDED, "token_type_ids": [[0, 0, 0], [0, 0, 0]]}), IDS),
    ({name: np.array(value) for name, value in PADDED.items()}, IDS),
    ({name: Tensor(value) for name, value in PADDED.items()}, IDS),
    ({"input_ids": [[5, 6, 7], [0, 8, 9]], "attention_mask": [[1, 1, 1], [0, 1, 1]]}, IDS),
    ({"input_ids": [0, 8, 9, 0], "attention_mask": [False, True, True, False]}, [IDS[1]]),
    ({"input_ids": [0, 8, 9, 0], "attention_mask": [0.0, 1.0, 1.0, 0.0]}, [IDS[1]]),
    ([Encoding(ONE), {"input_ids": [IDS[1]]}], IDS),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_a_prompt_has_many_forms(given, expected):
    assert sent(given) == expected


@pytest.mark.parametrize("given, said", [
    (b"hello", r"prompts: bytes; decode it"),
    (bytearray(b"hello"), r"prompts: bytearray; decode it"),
    ([b"hello"], r"prompts\[0\]: bytes"),
    (np.array([b"hello"]), r"prompts\[0\]: bytes"),
    ({"texts": TEXTS}, r"prompts: dict is no prompt"),
    ([TEXTS[0], {"text": "a"}], r"prompts\[1\]: dict is no prompt"),
    (Encoding(), r"prompts: Encoding is no prompt"),
    (pandas.DataFrame({"text": TEXTS}), r"prompts: DataFrame is no prompt"),
    (5, r"prompts: int is no prompt"),
    (np.int64(5), r"prompts: int64 is no prompt"),
    (None, r"prompts: NoneType is no prompt"),
    (True, r"prompts: bool is no prompt"),
    ([True, False], r"prompts\[0\]: bool is no prompt"),
    ([1.0, 2.0], r"prompts\[0\]: float is no prompt"),
    (np.array([1.0, 2.0]), r"prompts\[0\]: float is no prompt"),
    (pandas.Series(["a", None], dtype=object), r"prompts\[1\]: NoneType is no prompt"),
    ([5, "a"], r"prompts\[1\]: str among token ids"),
    ([[5, 6.0]], r"prompts\[0\]\[1\]: float among token ids"),
    ([["a", "b"]], r"prompts\[0\]: a list of prompts inside a list"),
    (np.array([["a"], ["b"]]), r"prompts\[0\]: a list of prompts inside a list"),
    (np.zeros((2, 2, 2), int), r"prompts\[0\]: a list of prompts inside a list"),
    ({TEXTS[0]}, r"prompts: a set has no order"),
    ({"input_ids": "abc"}, r"prompts\['input_ids'\]: str"),
    ({"input_ids": [[5.0]]}, r"prompts\['input_ids'\]\[0\]\[0\]: float among token ids"),
    ({"input_ids": [[[5]]]}, r"prompts\['input_ids'\]\[0\]\[0\]: list among token ids"),
    ({"input_ids": 5}, r"prompts\['input_ids'\]: int"),
], ids=lambda value: str(value)[:40])  # fmt: skip
def test_what_is_no_prompt_is_a_type_error_that_names_it(given, said):
    with pytest.raises(TypeError, match=f"^{said}"):
        calls.run(given)


@pytest.mark.parametrize("given", [b"a", {"x": 1}, 5])
def test_a_type_error_says_what_is_taken(given):
    with pytest.raises(TypeError, match=r"a text .*token ids .*input_ids"):
        calls.run(given)


@pytest.mark.parametrize("mask, said", [
    ([1, 0, 1], "prompts: attention_mask hides tokens in the middle"),
    ([0, 0, 0], "prompts: attention_mask hides every token"),
    ([1, 1], "prompts: attention_mask has 2 entries for 3 ids"),
    ([1, 1, 2], "prompts: attention_mask has entries other than 0 and 1"),
])  # fmt: skip
def test_a_mask_that_is_none_is_refused(mask, said):
    with pytest.raises(ValueError, match=said):
        calls.run({"input_ids": IDS[0], "attention_mask": mask})
    with pytest.raises(ValueError, match=said.replace("prompts", r"prompts\[1\]")):
        calls.run({"input_ids": [IDS[0]] * 2, "attention_mask": [[1, 1, 1], mask]})


def test_a_mask_has_a_row_for_each_of_ids():
    with pytest.raises(ValueError, match="prompts: 2 rows of ids, and 1 of attention_mask"):
        calls.run({"input_ids": IDS, "attention_mask": [[1, 1, 1]]})


# ---- everywhere ----------------------------------------------------------------------------------

ENTRIES = {
    "run": ("prompts", lambda m, p: m.run(p)),
    "stream": ("prompts", lambda m, p: list(m.stream(p))),
    "validate": ("prompts", lambda m, p: m.validate(p)),
    "sweep": ("prompts", lambda m, p: m.sweep(p, operations.zero("z"), over="layers")),
    "sources": ("sources", lambda m, p: m.sweep("a", sources=p, variants=[[]])),
    "patch, clean": ("clean", lambda m, p: m.patch(p, "a", answer=" a", wrong=" b")),
    "patch, corrupted": ("corrupted", lambda m, p: m.patch("a", p, answer=" a", wrong=" b")),
    "logit_lens": ("prompt", lambda m, p: study.logit_lens(m, p)),
    "tokenize": ("text", lambda m, p: m.tokenize(p)),
    "token_id": ("text", lambda m, p: m.token_id(p)),
    "detokenize": ("ids", lambda m, p: m.detokenize(p)),
    "detokenize_bytes": ("ids", lambda m, p: m.detokenize_bytes(p)),
}


@pytest.mark.parametrize("wrong", [b"bytes", {"text": "a"}, 5.5], ids=str)
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_argument_is_refused_by_name(model, entry, wrong):
    argument, ask = ENTRIES[entry]
    with pytest.raises(TypeError, match=f"^{argument}: "):
        ask(model, wrong)


def test_spread_and_asyncio_refuse_the_same(server):
    with spread.connect([server.address]) as replicas:
        with pytest.raises(TypeError, match=r"^prompts: dict"):
            replicas.sweep({"text": "a"}, operations.zero("z"), over="layers")

    async def ask(m):
        await m.run(b"bytes")

    with pytest.raises(TypeError, match=r"^prompts: bytes"):
        with_model(server.address, ask)
    with pytest.raises(TypeError, match=r"^text: list"):
        aio.calls.tokenize(TEXTS)


def test_an_iterator_is_read_once(model):
    pairs = [PROMPT, OTHER], [OTHER, PROMPT]
    options = {"answer": [" Mary", " John"], "wrong": [" John", " Mary"], "over": "layers",
               "position": 9}  # fmt: skip
    once = model.patch(*(iter(side) for side in pairs), **options)
    np.testing.assert_array_equal(once.scores, model.patch(*pairs, **options).scores)
    assert len(model.run(iter(pairs[0])).prompts) == 2


def test_what_a_tokenizer_gives_is_the_text(model):
    """The same logits, bit for bit, whatever side the padding is on."""
    rows = [model.tokenize(text).ids for text in (PROMPT, "The war")]
    expected = model.run([PROMPT, "The war"], logits="full")
    for side in ("left", "right"):
        fill = [[0] * (len(rows[0]) - len(row)) for row in rows]
        ids = [[*f, *r] if side == "left" else [*r, *f] for r, f in zip(rows, fill, strict=True)]
        ones = [[*f, *[1] * len(r)] if side == "left" else [*[1] * len(r), *f]
                for r, f in zip(rows, fill, strict=True)]  # fmt: skip
        given = {"input_ids": np.array(ids), "attention_mask": np.array(ones)}
        run = model.run(given, logits="full")
        for prompt in range(2):
            np.testing.assert_array_equal(run.logits(prompt=prompt), expected.logits(prompt=prompt))
    assert model.run(model.tokenize(PROMPT)).prompts == model.run(PROMPT).prompts


def test_ids_are_read_as_prompts_are(model):
    for ids in ([5, 6], np.array([5, 6]), {"input_ids": [[5, 6]]}, events.Tokens((5, 6), ())):
        assert model.detokenize(ids) == model.detokenize([5]) + model.detokenize(6)
    with pytest.raises(TypeError, match=r"^ids: token ids .* not a text"):
        model.detokenize("a")
    with pytest.raises(TypeError, match=r"^ids: 2 prompts where one is meant"):
        model.detokenize(np.array([[5], [6]]))


def test_a_message_of_the_contract_is_a_prompt(model):
    message = prompt_pb2.Prompt(text=PROMPT)
    assert model.run(message).prompts == model.run(PROMPT).prompts
    assert len(prompts.parse([message, message]).messages) == 2


def test_long_arguments_are_shown_by_their_type():
    assert repr(operations.add("z", [[0.5] * 200])) == "add('z', <list>)"


def test_the_violations_of_an_encoding_name_its_argument(model):
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.run({"input_ids": [[1, 2], [3, 10**6]]})
    assert raised.value.violations[0].argument.startswith("prompts[1]")
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.patch([1, 2], {"input_ids": [3, 10**6]}, answer=" a", wrong=" b")
    assert raised.value.violations[0].argument.startswith("corrupted")


# ---- words without their space -------------------------------------------------------------------


def test_a_word_without_its_space_is_noted(model):
    assert len(model.tokenize("Mary")) == len(model.tokenize(" Mary")) == 1
    metric = scalpel.logit_diff("Mary", " John")
    with pytest.warns(scalpel.TokenWarning, match="' Mary' may be meant") as caught:
        model.sweep(PROMPT, operations.zero("z"), over="layers", metrics=metric)
    (one,) = caught  # Once a call.
    assert one.filename == __file__ and "token_id('Mary')" in str(one.message)
    both = "'Mary', 'John' are tokens of their own"
    metrics = [scalpel.logit_diff("Mary", "John"), scalpel.prob("John")]
    with pytest.warns(scalpel.TokenWarning, match=both) as caught:
        list(model.stream_sweep(PROMPT, operations.zero("z"), over="layers", metrics=metrics))
    assert len(caught) == 1 and caught[0].filename == __file__


def test_asyncio_spread_and_patch_note_it_too(server, model):
    ask = {"over": "layers", "metrics": scalpel.prob("Mary")}
    with pytest.warns(scalpel.TokenWarning) as caught:
        with_model(server.address, lambda m: m.sweep(PROMPT, operations.zero("z"), **ask))
    assert len(caught) == 1
    with spread.connect([server.address] * 2) as replicas:
        with pytest.warns(scalpel.TokenWarning) as caught:
            replicas.sweep(PROMPT, operations.zero("z"), **ask)
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(scalpel.TokenWarning, match="'John'") as caught:
        model.patch(PROMPT, OTHER, answer=" Mary", wrong="John", over="layers")
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", [
    scalpel.prob(" Mary"), scalpel.prob(5), scalpel.prob("17"), scalpel.prob(","),
    scalpel.kl_from_clean(), scalpel.top_k(2), scalpel.loss(),
], ids=str)  # fmt: skip
def test_what_is_meant_is_not_noted(model, metric):
    model.sweep(PROMPT, operations.zero("z"), over="layers", metrics=metric)


@pytest.mark.filterwarnings("error::scalpel.TokenWarning")
def test_a_word_that_is_no_token_is_the_servers_to_refuse(model):
    with pytest.raises(scalpel.InvalidArgument) as raised:
        model.sweep(PROMPT, operations.zero("z"), over="layers",
                    metrics=scalpel.prob("Abracadabra"))  # fmt: skip
    assert raised.value.violations[0].argument.startswith("metrics")
