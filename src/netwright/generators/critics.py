"""The discriminator and the valuer of GNN2GNN ([GNN2GNN] sections 3.2.2 and 3.2.3).

Both are graph convolutions, a pooling over nodes and a linear layer, which end in one number: the
logit of "real" (discriminator), the logit of "strong" or an accuracy (valuer). The released code's
two-class logits differ from one number by a shift that no loss sees.
"""

from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.generators.relaxed import Relaxed, uniform
from netwright.nn.replicas import ReplicaLinear
from netwright.rng import scoped

Pool = Literal["mean", "sum", "attention"]


@final
class Critic(nn.Module):
    r"""A number for each graph, by graph convolutions [Kipf2017].

    Args:
        num_ops: Size of the operation vocabulary.
        rng: Initialises the parameters.
        widths: Sizes of node features after each convolution, the paper's $\nu$ many.
        pool: How node features become one vector: "mean", "sum", or "attention", a softmax-
            weighted sum of a linear map of them.
        both_ways: Whether nodes also see what they feed; the paper's convolution goes along the
            edges only.
        dropout: Share of the pooled vector that is dropped in training.
    """

    def __init__(
        self,
        num_ops: int,
        *,
        rng: torch.Generator,
        widths: Sequence[int] = (32, 32),
        pool: Pool = "mean",
        both_ways: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must be one or more sizes of at least 1, not {widths}")
        self.pool, self.both_ways, self.dropout = pool, both_ways, dropout
        ways = 2 if both_ways else 1
        with scoped(rng):
            sizes = [num_ops, *widths]
            self.convolutions = nn.ModuleList(
                [
                    ReplicaLinear(ways * before, after)
                    for before, after in zip(sizes, widths, strict=False)
                ]
            )
            if pool == "attention":
                self.gate = ReplicaLinear(widths[-1], 1)
                self.value = ReplicaLinear(widths[-1], widths[-1])
            self.head = ReplicaLinear(widths[-1], 1)

    def forward(
        self, graphs: Relaxed, *, rngs: Sequence[torch.Generator] | None = None
    ) -> Float[Tensor, "replica batch"]:
        """Return a number for each graph; dropout is drawn from ``rngs``, and off without."""
        replicas, batch, size = graphs.real.shape
        features = graphs.ops.flatten(0, 1)
        for convolution in self.convolutions:
            around = torch.bmm(graphs.into, features)
            if self.both_ways:
                around = torch.cat([around, torch.bmm(graphs.out_of, features)], dim=-1)
            flat = around.view(replicas, batch * size, -1)
            features = convolution(flat).relu().view(replicas * batch, size, -1)
        pooled = self._pooled(features.view(replicas, batch, size, -1), graphs.real.float())
        if rngs is not None and self.dropout:
            kept = uniform(rngs, *pooled.shape[1:], device=pooled.device) >= self.dropout
            pooled = pooled * (kept / (1 - self.dropout))
        logit: Tensor = self.head(pooled)
        return logit[..., 0]

    def _pooled(
        self,
        features: Float[Tensor, "replica batch node width"],
        there: Float[Tensor, "replica batch node"],
    ) -> Float[Tensor, "replica batch width"]:
        if self.pool == "attention":
            flat = features.flatten(1, 2)
            gate = self.gate(flat).view(there.shape).masked_fill(there == 0, -torch.inf)
            value = self.value(flat).view(features.shape)
            weighed: Tensor = gate.softmax(dim=-1)[..., None] * value
            return weighed.sum(dim=2)
        total = (features * there[..., None]).sum(dim=2)
        if self.pool == "sum":
            return total
        return total / there.sum(dim=-1, keepdim=True)
