"""The machine's roof: what its fastest linear layer does, in the same run as everything else."""

import time

import torch

TOKENS = 1024
REPEATS = 5


class Roof:
    """oneDNN's linear layer with packed weights, at 1024 tokens: the four of a block, one after the
    other, with random weights."""

    def __init__(self, d_model: int, d_mlp: int):
        shapes = [(d_model, 3 * d_model), (d_model, d_model), (d_model, d_mlp), (d_mlp, d_model)]
        self.layers = [self._layer(*shape) for shape in shapes]
        self.flops = sum(2 * TOKENS * rows * columns for rows, columns in shapes)

    def _layer(self, rows: int, columns: int):
        """Packed without saying for how many tokens, as a server must."""
        weight = torch.randn(columns, rows) / rows**0.5
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        return packed, torch.randn(columns), torch.randn(TOKENS, rows)

    @torch.inference_mode()
    def measure(self) -> float:
        """GFLOP/s; the best of a few, since it is a roof."""
        return max(self._once() for _ in range(REPEATS)) / 1e9

    def _once(self) -> float:
        begin = time.perf_counter()
        for packed, bias, value in self.layers:
            torch.ops.mkldnn._linear_pointwise(value, packed, bias, "none", [], None)
        return self.flops / (time.perf_counter() - begin)
