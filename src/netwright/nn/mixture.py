"""Mixtures of Bernoulli vectors: edges of one node that depend on one another."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from netwright.nn.difference import DifferenceMLP


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


class MixtureHead(nn.Module):
    """Predicts the edges of a new node from its state and those of the nodes before it.

    Args:
        in_features: Size of a node's state.
        hidden: Width of both perceptrons.
        mixtures: Number of components.
    """

    def __init__(self, in_features: int, hidden: int, mixtures: int) -> None:
        super().__init__()
        self.alpha = DifferenceMLP(in_features, hidden, mixtures)
        self.theta = DifferenceMLP(in_features, hidden, mixtures)

    def forward(
        self,
        states: Float[Tensor, "row feature"],
        new: Int[Tensor, " batch"],
        candidates: Int[Tensor, "batch edge"],
        exists: Bool[Tensor, "batch edge"],
        free: Bool[Tensor, "batch edge"],
    ) -> BernoulliMixture:
        """Return the distribution of the edges from ``candidates`` to ``new``.

        Args:
            states: States of the nodes of all graphs, one row each.
            new: Row of each graph's new node.
            candidates: Rows of the nodes an edge may come from.
            exists: Which candidates there are; the others are padding.
            free: Which edges are to be decided.
        """
        alpha, theta = self.alpha.project(states), self.theta.project(states)
        hidden = self.alpha.hidden(alpha[new][:, None], alpha[candidates])
        # [GraphPNAS] eq. 4; the second layer is linear, so it follows the sum over j
        summed = (hidden * exists[:, :, None]).sum(dim=1)
        weights = nn.functional.linear(summed, self.alpha.second.weight)
        weights = weights + exists.sum(dim=1, keepdim=True) * self.alpha.second.bias
        # [GraphPNAS] eq. 6
        logits = self.theta.second(self.theta.hidden(theta[new][:, None], theta[candidates]))
        return BernoulliMixture(weights, logits, free)
