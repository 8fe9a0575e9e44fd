r"""The learning rule of GraphPNAS ([GraphPNAS] section 3.2), for any generator with a likelihood.

The loss minimised, averaged over a mini-batch of the replay buffer, is

$$ -\left[ 1(\bar R > 0) \bar R \log P(G)
   + \beta \, 1(\bar R \le 0) |\bar R| \log(1 - P(G)) \right]. $$

Deviations from the paper:

* Eq. 12 put into eq. 11 as printed multiplies $\log(1 - P)$ by the negative $\bar R$, which would
  make bad architectures *more* likely. Here it is multiplied by $|\bar R|$.
* $P(G)$ of a whole graph is so small that $\log(1 - P)$ does nothing. ``probability =
  "per_decision"`` puts the geometric mean of a decision's probability in its place; the paper's
  is ``"graph"``.
* ``reward = "rank"`` is the released code's: the share of the buffer that scores no better.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout

Reward = Literal["standardised", "rank"]
Probability = Literal["graph", "per_decision"]

#: log P above which P counts as 1: the resolution of a sum of float32 log-probabilities.
_ALMOST_ZERO = -1e-6


@runtime_checkable
class Policy(Protocol):
    """A generator that can learn by policy gradient: an ``nn.Module`` with ``log_prob``."""

    layout: Layout

    def sample(self, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
        """Draw ``n`` graphs."""
        ...

    def log_prob(self, archs: ArchitectureBatch) -> Float[Tensor, " batch"]:
        """Return the log-likelihood in nats, differentiable."""
        ...

    def parameters(self) -> Any:
        """Iterate over the parameters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Restore what `state_dict` returned."""
        ...


@dataclass(frozen=True)
class FitOptions:
    """How a policy is fitted to the replay buffer; the defaults are [GraphPNAS] appendix E.

    Attributes:
        epochs: Passes over the buffer at every update.
        batch_size: Architectures in a mini-batch.
        learning_rate: Of Adam.
        clip: Largest norm of a mini-batch's gradient (table 8); None for no limit.
        reward: "standardised" (eq. 11) or "rank", see `rewards`.
        beta: Weight of the architectures below the mean (eq. 12).
        probability: What the negative term calls P(G), see `loss`.
    """

    epochs: int = 70
    batch_size: int = 2
    learning_rate: float = 1e-3
    clip: float | None = 1.0
    reward: Reward = "standardised"
    beta: float = 0.05
    probability: Probability = "graph"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0 (None for no limit), not {self.clip}")
        if not self.beta >= 0:
            raise ValueError(f"beta must be at least 0, not {self.beta}")


def log1mexp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ``log(1 - exp(x))`` for ``x <= 0`` without cancellation [Maechler2012].

    Finite, with a finite gradient, up to ``x = 0``: there it stays at its value at -1e-6.
    """
    x = x.clamp(max=_ALMOST_ZERO)
    half = -math.log(2)  # each branch is clamped to its own side, or 0 * inf spoils the gradient
    near = torch.log(-torch.expm1(x.clamp(min=half)))
    far = torch.log1p(-torch.exp(x.clamp(max=half)))
    return torch.where(x > half, near, far)


def rewards(score: Float[Tensor, " kept"], reward: Reward) -> Float[Tensor, " kept"]:
    """Turn the buffer's scores into rewards.

    Args:
        score: Scores, none of them NaN.
        reward: "standardised": less the mean and over the standard deviation of the buffer
            ([GraphPNAS] eq. 11); all zero where all scores are equal. "rank": the share of the
            buffer that scores no better, (i + 1) / n for the i-th worst of n.
    """
    score = score.double()
    if reward == "rank":
        ranks = torch.searchsorted(score.sort().values, score, right=True)
        return (ranks / len(score)).float()
    if not (score != score[:1]).any():  # the deviation of equal numbers need not round to 0
        return torch.zeros_like(score).float()
    return ((score - score.mean()) / score.std(correction=0)).float()  # eq. 11


def decisions(archs: ArchitectureBatch, layout: Layout) -> Float[Tensor, " batch"]:
    """Count what a generator decides for each graph: its nodes and its free pairs of nodes."""
    size = archs.max_nodes
    real = archs.node_mask
    pair = real[:, :, None] & real[:, None, :] & layout.free[:size, :size].to(archs.device)
    return (archs.num_nodes + pair.sum(dim=(1, 2))).float()


def loss(
    log_prob: Float[Tensor, " batch"],
    reward: Float[Tensor, " batch"],
    length: Float[Tensor, " batch"],
    options: FitOptions,
) -> Float[Tensor, ""]:
    """Return the loss of a mini-batch, the mean over its graphs.

    Args:
        log_prob: Of each graph, in nats.
        reward: Of each graph.
        length: Number of decisions of each graph; the negative term takes P as
            ``exp(log_prob / length)`` where ``options.probability`` is "per_decision".
        options: ``beta`` and ``probability`` count.
    """
    p = log_prob if options.probability == "graph" else log_prob / length
    positive = reward.clamp(min=0) * log_prob  # eq. 12, second term
    negative = options.beta * (-reward).clamp(min=0) * log1mexp(p)  # eq. 12, first term
    return -(positive + negative).mean()


def optimiser_of(policy: Policy, options: FitOptions) -> torch.optim.Adam:
    """Return a new Adam over the policy's parameters."""
    return torch.optim.Adam(policy.parameters(), lr=options.learning_rate, fused=True)


def fit(
    policy: Policy,
    optimiser: torch.optim.Optimizer,
    archs: ArchitectureBatch,
    score: Float[Tensor, " kept"],
    options: FitOptions,
    *,
    rng: torch.Generator,
) -> dict[str, float]:
    """Fit the policy to scored architectures, in place.

    Nothing but the arguments counts, so that several seeds can be fitted side by side.

    Args:
        policy: Its parameters change.
        optimiser: Over ``policy.parameters()``; its state changes.
        archs: The content of the replay buffer.
        score: Their scores.
        options: How to fit.
        rng: Shuffles the mini-batches.

    Returns:
        Means over the last epoch: "loss" and "gradient norm" (before clipping). Empty if all
        rewards are zero, since there is nothing to learn then.

    Raises:
        FloatingPointError: If the gradient stopped being finite.
    """
    reward = rewards(score, options.reward)
    if not reward.any():
        return {}
    parameters: list[nn.Parameter] = list(policy.parameters())
    device = parameters[0].device
    archs, reward = archs.to(device), reward.to(device)
    length = decisions(archs, policy.layout)
    losses: list[Tensor] = []
    norms: list[Tensor] = []
    limit = math.inf if options.clip is None else options.clip
    for _ in range(options.epochs):
        losses.clear()
        norms.clear()
        order = torch.randperm(len(archs), generator=rng).to(device)
        for part in order.split(options.batch_size):
            value = loss(policy.log_prob(archs[part]), reward[part], length[part], options)
            optimiser.zero_grad()
            value.backward()
            norms.append(nn.utils.clip_grad_norm_(parameters, limit))
            optimiser.step()
            losses.append(value.detach())
    stats = {"loss": torch.stack(losses).mean(), "gradient norm": torch.stack(norms).mean()}
    if not all(bool(value.isfinite()) for value in stats.values()):
        raise FloatingPointError(
            "the policy gradient stopped being finite: lower learning_rate or clip, and check "
            "that log_prob is finite for every architecture of the space"
        )
    return {name: float(value) for name, value in stats.items()}
