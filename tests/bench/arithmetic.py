"""What a question cannot do without. Arithmetic, in floating point operations: a multiply-add is
two; linear layers and attention. And bytes of weights to read, float32. What an edit cannot reach
comes from the clean run."""

from tests.bench.questions import Edit, Question, Work
from tests.parity.places import ModelShape

# How far a layer is when an edit is made: at 0 its QKV is still to come, at 1 attention, at 2 its
# output projection and the MLP's first layer, at 3 the MLP's second, at 4 nothing.
STEPS = {"resid_pre": 0, "k": 1, "z": 2, "mlp_post": 3, "resid_post": 4}
_WEIGHTS = {"qkv": 0, "attention_out": 2, "mlp_in": 2, "mlp_out": 3}
_BYTES = 4


def needed(shape: ModelShape, work: Work, seen: bool) -> float:
    """Of all questions. `seen`: the clean runs are there already. Else each prompt is computed
    once; where every question has a prompt of its own, that is all there is to it."""
    every = work.wants in ("all", "std", "boundaries", "states")
    reads = None if work.wants == "all" else 1
    prompts = {question.tokens for question in work.questions}
    if not seen and len(prompts) == len(work.questions):
        return sum(plain(shape, len(q.tokens), reads, every) for q in work.questions)
    total = sum(edited(shape, question, every) for question in work.questions)
    if not seen:
        sources = {question.source for question in work.questions if question.source}
        total += sum(plain(shape, len(tokens), 1, every) for tokens in prompts)
        total += sum(plain(shape, len(tokens), 0, every) for tokens in sources)
    return total


def plain(shape: ModelShape, tokens: int, reads: int | None, every: bool) -> float:
    """A forward pass of which the logits of the last `reads` positions are read; None: of all.
    `every`: all rows of the last layer are looked at."""
    pairs = tokens * (tokens + 1) / 2
    layer = tokens * _row(shape) + _attention(shape, pairs)
    if reads is None or every:
        last = layer
    else:
        last = tokens * _keys_and_values(shape) + reads * _rest_of_last(shape, tokens)
    reads = tokens if reads is None else reads
    return (shape.n_layer - 1) * layer + last + reads * _head(shape)


def edited(shape: ModelShape, question: Question, every: bool) -> float:
    """What an edit changes beside a clean run, up to the logits of the last position."""
    edit, tokens = question.edit, len(question.tokens)
    if edit is None or _writes_what_is_there(question):
        return 0.0
    first = edit.position or 0
    changed = tokens if edit.position is None else 1  # rows whose residual stream differs
    reached = tokens - first
    pairs = sum(range(first + 1, tokens + 1))
    last = shape.n_layer - 1
    # What is left of the edited layer once the edit is made, then whole layers.
    start = STEPS[edit.site]
    total = 0.0
    for layer in range(edit.layer, shape.n_layer):
        begin = start if layer == edit.layer else 0
        if layer == last and not every:
            return total + _read_only(shape, edit, begin, changed, tokens)
        if begin == 0:
            total += changed * 2 * shape.d_model * 3 * shape.d_model
        if begin <= 1:
            total += _attention(shape, pairs)
            changed = reached
        if begin <= 2:
            total += changed * (2 * shape.d_model**2 + 2 * shape.d_model * shape.d_mlp)
        if begin <= 3:
            total += changed * 2 * shape.d_model * shape.d_mlp
    return total + _head(shape)


def _writes_what_is_there(question: Question) -> bool:
    """A patch from a prompt that is the same up to the position: bit for bit the clean run."""
    edit = question.edit
    if edit.operation != "patch":
        return False
    # The embeddings' sum knows its own token only.
    first = edit.position if edit.layer == 0 else 0
    upto = slice(first, edit.position + 1)
    return question.tokens[upto] == question.source[upto]


def _read_only(shape: ModelShape, edit: Edit, begin: int, changed: int, tokens: int) -> float:
    """The last layer, of which the last position alone is read."""
    if begin == 0:
        return changed * _keys_and_values(shape) + _rest_of_last(shape, tokens) + _head(shape)
    if begin == 1:  # a key changed: the query is the clean run's
        query = 2 * shape.d_model**2
        return _rest_of_last(shape, tokens) - query + _head(shape)
    if not _changes_last(edit, tokens):
        return 0.0
    after = {2: 2 * shape.d_model**2 + 4 * shape.d_model * shape.d_mlp}
    after |= {3: 2 * shape.d_model * shape.d_mlp, 4: 0.0}
    return after[begin] + _head(shape)


def _changes_last(edit: Edit, tokens: int) -> bool:
    """Whether it writes to the last position."""
    return edit.position is None or edit.position == tokens - 1


def read(shape: ModelShape, work: Work, seen: bool) -> float:
    """Bytes of weights, for all questions: each weight that one of them needs once a wave, which is
    what is asked at the same time. `seen`: the clean runs are there already."""
    every = work.wants in ("all", "std", "boundaries", "states")
    total = 0.0
    for wave in _waves(work):
        needing = [_weights_behind(shape, question, every) for question in wave]
        weights = set().union(*needing) if seen else _all_weights(shape)
        total += _BYTES * sum(_size(shape, name) for _, name in weights)
    return total


def _waves(work: Work) -> list[tuple[Question, ...]]:
    """A sweep is one call; else each client asks one question after the other."""
    together = len(work.questions) if work.wants in ("sweep", "std") else work.clients
    return [
        work.questions[first : first + together]
        for first in range(0, len(work.questions), together)
    ]


def _all_weights(shape: ModelShape) -> set[tuple[int, str]]:
    """By layer and name; the head comes after the last layer."""
    layers = {(layer, name) for layer in range(shape.n_layer) for name in _WEIGHTS}
    return layers | {(shape.n_layer, "head")}


def _weights_behind(shape: ModelShape, question: Question, every: bool) -> set[tuple[int, str]]:
    """Those through which what an edit changed goes."""
    edit = question.edit
    if edit is None or _writes_what_is_there(question):
        return set()
    start = STEPS[edit.site]
    unread = edit.layer == shape.n_layer - 1 and not every and start > STEPS["k"]
    if unread and not _changes_last(edit, len(question.tokens)):
        return set()
    return {
        (layer, name)
        for layer, name in _all_weights(shape)
        if layer > edit.layer or (layer == edit.layer and _WEIGHTS[name] >= start)
    }


def _size(shape: ModelShape, name: str) -> int:
    outputs = {"qkv": 3 * shape.d_model, "attention_out": shape.d_model, "head": shape.vocab_size}
    return shape.d_model * outputs.get(name, shape.d_mlp)


def _row(shape: ModelShape) -> float:
    """The four linear layers of a block, for one token."""
    return 8 * shape.d_model**2 + 4 * shape.d_model * shape.d_mlp


def _keys_and_values(shape: ModelShape) -> float:
    return 4 * shape.d_model**2


def _rest_of_last(shape: ModelShape, tokens: int) -> float:
    """Query, attention, output projection and MLP of one position."""
    return _row(shape) - _keys_and_values(shape) + _attention(shape, tokens)


def _attention(shape: ModelShape, pairs: float) -> float:
    """Scores and mixed values of so many (query, key) pairs, over all heads."""
    return 4 * shape.d_model * pairs


def _head(shape: ModelShape) -> float:
    return 2 * shape.d_model * shape.vocab_size
