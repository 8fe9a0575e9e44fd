"""Layers of several replicas of a model that run side by side.

Small models are bound by the number of operations started, not by arithmetic, so the seeds of an
experiment train as one model whose parameters have a leading axis ``replica``. A single model is
one replica; the same code serves both.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Draw a parameter of one replica as torch's linear layers do: within ``1 / sqrt(fan_in)``."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return nn.Parameter(torch.empty(1, *shape).uniform_(-bound, bound))


class ReplicaLinear(nn.Module):
    """One linear layer per replica: ``x @ weight + bias``.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        bias: Whether something is added.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = uniform(in_features, out_features, fan_in=in_features)
        self.bias = uniform(out_features, fan_in=in_features) if bias else None

    def forward(self, x: Float[Tensor, "replica row in"]) -> Float[Tensor, "replica row out"]:
        """Apply each replica's layer to its rows."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias[:, None], x, self.weight)
