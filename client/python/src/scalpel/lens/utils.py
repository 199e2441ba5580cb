"""Of `transformer_lens.utils`, as version 2 calls it, what a served model needs."""

from scalpel.lens.utilities import Slice, get_act_name, to_numpy

__all__ = ["Slice", "get_act_name", "to_numpy"]
