"""`connect` and `HookedTransformer`: a served model, used as one of TransformerLens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from scalpel import connection
from scalpel.lens.activation_cache import ActivationCache
from scalpel.lens.arrays import Array, Kind, to_numpy
from scalpel.lens.edits import Edit, FwdHook
from scalpel.lens.names import Hook, NamesFilter
from scalpel.lens.runs import Served
from scalpel.lens.tokenization import Input
from scalpel.model import Model

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from scalpel.connection import Options

ReturnType = Literal["logits", "loss", "both"] | None


class Output(NamedTuple):
    """What `return_type="both"` gives."""

    logits: Array
    """[batch, pos, d_vocab]"""
    loss: Array
    """A number, or [batch, pos - 1]."""


@connection.shows_options
def connect(
    address: str = "127.0.0.1:50051",
    *,
    prepend_bos: bool = True,
    arrays: Kind | None = None,
    **options: Unpack[Options],
) -> HookedTransformer:
    """Connects to a server, whose model is then used as one of TransformerLens.

    >>> model = lens.connect("localhost:50051")
    >>> logits, cache = model.run_with_cache("The capital of France is")

    address: as of `scalpel.connect`.
    prepend_bos: whether `<|endoftext|>` goes before each text, as TransformerLens does it; the
        other clients of this package never do.
    arrays: "torch" or "numpy"; left out, torch tensors where torch is installed.
    options: as of `scalpel.connect`.
    """
    return HookedTransformer(Model(connection.settings(address, **options)), prepend_bos, arrays)


class HookedTransformer(Served):
    """A served model with the methods that TransformerLens' `HookedTransformer` has: made by
    `connect`, or by `from_pretrained_no_processing`, whose weights these are.

    Text and tokens are converted by the methods of `Tokenization`. A `with` block closes the
    connection.
    """

    def __init__(self, model: Model, prepend_bos: bool = True, arrays: Kind | None = None):
        super().__init__(model, prepend_bos, arrays)
        self._edits: list[tuple[Hook, Edit]] = []

    @classmethod
    def from_pretrained_no_processing(
        cls,
        model_name: str,
        *,
        address: str = "127.0.0.1:50051",
        prepend_bos: bool = True,
        arrays: Kind | None = None,
        **options: Unpack[Options],
    ) -> HookedTransformer:
        """Connects to a server that holds this model. Raises `scalpel.NotFound` where it holds
        another. Otherwise as `connect`."""
        options["model"] = model_name
        return connect(address, prepend_bos=prepend_bos, arrays=arrays, **options)

    @property
    def hook_dict(self) -> dict[str, Hook]:
        """The hook points that there are by full name, in order of computation, with those that are
        kept on request."""
        return dict(self.hooks_of_model.all)

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Whether `run_with_cache` keeps what each head writes, `attn.hook_result`, where it is not
        told which hook points to keep."""
        self.cfg.use_attn_result = use_attn_result

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """The same for what the MLP's LayerNorm is given, `hook_mlp_in`."""
        self.cfg.use_hook_mlp_in = use_hook_mlp_in

    def forward(
        self,
        input: Input,
        return_type: ReturnType = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
    ) -> Any:
        """Runs the model.

        input: a text, a list of texts, or token ids [pos] or [batch, pos].
        return_type: "logits": [batch, pos, d_vocab]; "loss": the mean of -log p(next token), with
            that of the filling, as TransformerLens counts it; "both": an `Output`; None: nothing.
        loss_per_token: the loss of each token, [batch, pos - 1].
        prepend_bos: see `Tokenization`.
        """
        return self.run_with_hooks(
            input,
            return_type=return_type,
            loss_per_token=loss_per_token,
            prepend_bos=prepend_bos,
        )

    __call__ = forward

    def run_with_hooks(
        self,
        input: Input,
        return_type: ReturnType = "logits",
        fwd_hooks: Sequence[FwdHook] = (),
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
    ) -> Any:
        """Runs the model under edits.

        >>> model.run_with_hooks(tokens, fwd_hooks=[("blocks.9.attn.hook_z", lens.zero(head=6))])

        fwd_hooks: pairs of a hook point (its full name, or a function that is true of some names)
            and a typed edit. Those that meet at one place apply in the order given. A Python
            function in place of an edit raises TypeError, which says what to write instead.

        The others are as in `forward`. Raises as `scalpel.Model.run`.
        """
        with_logits = _wants_logits(return_type)
        edits = self.with_sources([*self._edits, *self.resolved(fwd_hooks)], prepend_bos)
        rows = self.rows_of(input, prepend_bos)
        ran = self.activations(rows, edits, with_logits=with_logits)
        return self._output(ran.logits, rows, return_type, loss_per_token)

    def run_with_cache(
        self,
        input: Input,
        return_type: ReturnType = "logits",
        names_filter: NamesFilter = None,
        remove_batch_dim: bool = False,
        pos_slice: Any = None,
        return_cache_object: bool = True,
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
    ) -> tuple[Any, Any]:
        """Runs the model and keeps activations: (output, cache).

        names_filter: the hook points to keep: a full name, a list of them, or a function of names;
            left out, all. A name that there is not raises KeyError. Say it where you can: the
            activations travel.
        remove_batch_dim: without the first axis, of one prompt.
        pos_slice: positions to keep: an index, which leaves an axis of length 1, a tuple as for
            `slice`, or a list.
        return_cache_object: False: a dict in place of the `ActivationCache`.

        The others are as in `forward`. Raises as `scalpel.Model.run`.
        """
        with_logits = _wants_logits(return_type)
        rows = self.rows_of(input, prepend_bos)
        if remove_batch_dim and len(rows) != 1:
            raise ValueError(f"remove_batch_dim: there are {len(rows)} prompts")
        kept = self.hooks_of_model.chosen(names_filter)
        edits = self.with_sources(self._edits, prepend_bos)
        ran = self.activations(rows, edits, kept, with_logits=with_logits)
        cache = ActivationCache(self, {}, rows, edits, pos_slice, not remove_batch_dim)
        cache.cache_dict = cache.cut(ran.arrays, kept)
        output = self._output(ran.logits, rows, return_type, loss_per_token)
        return output, cache if return_cache_object else cache.cache_dict

    @contextlib.contextmanager
    def hooks(self, fwd_hooks: Sequence[FwdHook] = ()) -> Iterator[HookedTransformer]:
        """Every run in the `with` block is under these edits too, after those of an outer block.
        For one thread at a time.

        >>> with model.hooks([("blocks.9.attn.hook_z", lens.zero(head=6))]):
        ...     logits, cache = model.run_with_cache(tokens)
        """
        before = self._edits
        self._edits = [*before, *self.resolved(fwd_hooks)]
        try:
            yield self
        finally:
            self._edits = before

    def loss_fn(self, logits: Any, tokens: Any, per_token: bool = False) -> Array:
        """The mean of -log p(next token) of logits [batch, pos, d_vocab], or of each token."""
        return self.make(_loss(to_numpy(logits), to_numpy(tokens), per_token))

    def tokens_to_residual_directions(self, tokens: Any) -> Array:
        """The columns of the unembedding of a token's text, an id, or an array of ids: [d_model],
        or [*ids, d_model]. Without the final LayerNorm's gain, as of
        `from_pretrained_no_processing`."""
        return self.make(self.residual_directions(self.ids_of(tokens)))

    def close(self) -> None:
        """Closes the connection."""
        self.model.close()

    def __enter__(self) -> HookedTransformer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HookedTransformer {self.cfg.model_name} at {self.model.settings.address}>"

    def _output(self, logits: Any, rows: Any, return_type: ReturnType, per_token: bool) -> Any:
        if return_type in (None, "logits"):
            return None if return_type is None else self.make(logits)
        loss = self.make(_loss(logits, rows, per_token))
        return loss if return_type == "loss" else Output(self.make(logits), loss)


def _wants_logits(return_type: ReturnType) -> bool:
    if return_type not in (None, "logits", "loss", "both"):
        raise ValueError(f"return_type: {return_type!r} is none of 'logits', 'loss', 'both', None")
    return return_type is not None


def _loss(logits: Any, rows: Any, per_token: bool) -> Any:
    """In double precision; the numbers are float32, as those of TransformerLens."""
    wide = logits[..., :-1, :].astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    log_probs = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    of_next = -np.take_along_axis(log_probs, rows[..., 1:, None], axis=-1)[..., 0]
    return (of_next if per_token else of_next.mean()).astype(np.float32)
