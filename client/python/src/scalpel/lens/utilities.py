"""Of `transformer_lens.utilities`, as it is called from version 3 on, what a served model needs."""

from scalpel.lens.arrays import to_numpy
from scalpel.lens.names import get_act_name
from scalpel.lens.slices import Slice

__all__ = ["Slice", "get_act_name", "to_numpy"]
