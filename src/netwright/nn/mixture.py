"""Mixtures of Bernoulli vectors: edges of one node that depend on one another."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from netwright.nn.replicas import ReplicaLinear

Pooling = Literal["sum", "mean"]


@dataclass(frozen=True, eq=False)
class BernoulliMixture:
    r"""$P(x) = \sum_k \alpha_k \prod_j \theta_{kj}^{x_j} (1 - \theta_{kj})^{1 - x_j}$.

    Attributes:
        alpha: Logits of the mixture weights.
        theta: Logits of the Bernoulli parameters.
        free: Which entries are drawn; the others are no part of the likelihood.
    """

    alpha: Float[Tensor, "batch mixture"]
    theta: Float[Tensor, "batch edge mixture"]
    free: Bool[Tensor, "batch edge"]

    def log_prob(self, edges: Bool[Tensor, "batch edge"]) -> Float[Tensor, " batch"]:
        """Return log P(edges) in nats, exactly; entries that are not free are ignored."""
        each = logsigmoid(torch.where(edges[:, :, None], self.theta, -self.theta))
        each = each.masked_fill(~self.free[:, :, None], 0.0)
        # [GraphPNAS] eq. 2
        return torch.logsumexp(self.alpha.log_softmax(dim=-1) + each.sum(dim=1), dim=-1)

    def sample(self, *, rng: torch.Generator) -> Bool[Tensor, "batch edge"]:
        """Draw the free entries; the others are false.

        Args:
            rng: On the device of the logits.
        """
        chosen = torch.multinomial(self.alpha.softmax(dim=-1), 1, generator=rng)
        index = chosen[:, None].expand(-1, self.theta.shape[1], 1)
        theta = self.theta.gather(2, index)[:, :, 0].sigmoid()
        return (torch.rand(theta.shape, generator=rng, device=theta.device) < theta) & self.free

    def probability(self) -> Float[Tensor, "batch edge"]:
        """Return the probability of each entry alone; 0 where it is not free."""
        weight = self.alpha.softmax(dim=-1)[:, None]
        return (weight * self.theta.sigmoid()).sum(dim=-1) * self.free


class MixtureHead(nn.Module):
    """Predicts the edges of a new node from its state and those of the nodes before it.

    Two perceptrons see the difference of two states; the first layer of both is one matrix that
    is applied to nodes, and the difference is taken afterwards.

    Args:
        in_features: Size of a node's state.
        hidden: Width of both perceptrons.
        mixtures: Number of components.
        layers: Number of layers of both perceptrons, 2 or more.
        pooling: How the mixture weights sum up over earlier nodes: "sum" ([GraphPNAS] eq. 4), or
            "mean", with the difference of the new node to itself among the terms.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        mixtures: int,
        *,
        layers: int = 2,
        pooling: Pooling = "sum",
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.first = ReplicaLinear(in_features, 2 * hidden)
        self.alpha_middle = nn.ModuleList(ReplicaLinear(hidden, hidden) for _ in range(layers - 2))
        self.theta_middle = nn.ModuleList(ReplicaLinear(hidden, hidden) for _ in range(layers - 2))
        self.alpha = ReplicaLinear(hidden, mixtures)
        self.theta = ReplicaLinear(hidden, mixtures)

    def forward(
        self,
        states: Float[Tensor, "row feature"],
        new: Int[Tensor, " slot"],
        candidates: Int[Tensor, "slot edge"],
        exists: Bool[Tensor, "slot edge"],
    ) -> tuple[Float[Tensor, "slot mixture"], Float[Tensor, "slot edge mixture"]]:
        """Return the logits of the mixture weights and of the edges from ``candidates`` to ``new``.

        Args:
            states: States of the nodes of all graphs, one row each.
            new: Row of each graph's new node.
            candidates: Rows of the nodes an edge may come from.
            exists: Which candidates there are; the others are padding.
        """
        weight, bias = self.first.weight, self.first.bias
        assert bias is not None
        replicas = weight.shape[0]
        projected = torch.bmm(states.view(replicas, -1, states.shape[1]), weight).flatten(0, 1)
        of_new = projected.index_select(0, new).view(replicas, -1, weight.shape[2]) + bias[:, None]
        before = projected.index_select(0, candidates.flatten())
        before = before.view(replicas, of_new.shape[1], candidates.shape[1], weight.shape[2])
        pairs = torch.relu(of_new[:, :, None] - before)  # first layer; replica slot edge 2 hidden
        shape, hidden = pairs.shape[:3], weight.shape[2] // 2
        alpha, theta = pairs.chunk(2, dim=3)
        itself, _ = bias.relu()[:, None].chunk(2, dim=2)
        for of_alpha, of_theta in zip(self.alpha_middle, self.theta_middle, strict=True):
            alpha = of_alpha(alpha.flatten(1, 2)).relu().view(*shape, hidden)
            theta = of_theta(theta.flatten(1, 2)).relu().view(*shape, hidden)
            itself = of_alpha(itself).relu()
        # The last layer is linear, so it follows the sum over j.
        mask = exists.view(*shape, 1)
        summed, count = (alpha * mask).sum(dim=2), mask.sum(dim=2)
        if self.pooling == "mean":
            summed, count = (summed + itself) / (count + 1), torch.ones_like(count)
        assert self.alpha.bias is not None
        weights = torch.bmm(summed, self.alpha.weight) + count * self.alpha.bias[:, None]  # eq. 4
        logits = self.theta(theta.flatten(1, 2)).view(*shape, weights.shape[2])  # eq. 6
        return weights.flatten(0, 1), logits.flatten(0, 1)
