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
* ``likelihood = "normalised"`` is the released code's too: the log-probability of a pair of nodes
  on average (each node with itself counted), plus half that of an operation.

Several policies can be fitted side by side, as one model with a leading axis, which costs little
more than one where models are small.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout

Reward = Literal["standardised", "rank"]
Likelihood = Literal["graph", "normalised"]
Probability = Literal["graph", "per_decision"]

#: log P above which P counts as 1: the resolution of a sum of float32 log-probabilities.
_ALMOST_ZERO = -1e-6

#: Nodes of prefixes in one backward pass; larger mini-batches are gone through in parts, which
#: bounds the memory and stays in the cache.
_ROWS = 4096


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
        likelihood: What log P(G) is: "graph", or "normalised" by the size of the graph.
        probability: What the negative term calls P(G), see `loss`.
    """

    epochs: int = 70
    batch_size: int = 2
    learning_rate: float = 1e-3
    clip: float | None = 1.0
    reward: Reward = "standardised"
    beta: float = 0.05
    likelihood: Likelihood = "graph"
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


def loss_of_each(
    log_prob: Float[Tensor, " batch"],
    reward: Float[Tensor, " batch"],
    length: Float[Tensor, " batch"],
    options: FitOptions,
) -> Float[Tensor, " batch"]:
    """Return the loss of each graph; that of a mini-batch is their mean.

    Args:
        log_prob: Of each graph, in nats.
        reward: Of each graph.
        length: Number of decisions of each graph; the negative term takes P as
            ``exp(log_prob / length)`` where ``options.probability`` is "per_decision" and the
            likelihood is not normalised already.
        options: ``beta``, ``likelihood`` and ``probability`` count.
    """
    whole = options.probability == "graph" or options.likelihood == "normalised"
    p = log_prob if whole else log_prob / length
    positive = reward.clamp(min=0) * log_prob  # eq. 12, second term
    negative = options.beta * (-reward).clamp(min=0) * log1mexp(p)  # eq. 12, first term
    return -(positive + negative)


@dataclass(frozen=True, eq=False)
class Learner:
    """A policy and how Adam has been training it.

    Attributes:
        policy: Its parameters change.
        adam: Steps so far, and both moments of all parameters in one row; empty before the first.
    """

    policy: Policy
    adam: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> Float[Tensor, " parameter"]:
        """All parameters in one row, a copy."""
        return torch.cat([p.detach().flatten() for p in self.policy.parameters()])

    @torch.no_grad()
    def take(self, row: Float[Tensor, " parameter"]) -> None:
        """Give the policy the parameters of ``row``."""
        parameters = list(self.policy.parameters())
        for p, values in zip(parameters, row.split([p.numel() for p in parameters]), strict=True):
            p.copy_(values.view_as(p))


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a learner is to learn from.

    Attributes:
        learner: Who learns.
        archs: The content of its replay buffer.
        score: Their scores.
        rng: Shuffles the mini-batches.
    """

    learner: Learner
    archs: ArchitectureBatch
    score: Float[Tensor, " kept"]
    rng: torch.Generator


def fit(lessons: Sequence[Lesson], options: FitOptions) -> list[dict[str, float]]:
    """Fit policies to scored architectures, in place, each to its own.

    Those of one shape and with equally many architectures are fitted as one stacked model, if
    the policy is ``stackable``: its parameters have a leading axis, and `log_prob` of several
    replicas takes an equal share of graphs for each. The result is that of fitting one by one,
    up to rounding.

    Args:
        lessons: Who learns from what. Nothing else counts.
        options: How to fit.

    Returns:
        For each, means over the last epoch: "loss" and "gradient norm" (before clipping). Empty
        if all rewards are zero, since there is nothing to learn then.

    Raises:
        FloatingPointError: If a gradient stopped being finite.
        TypeError: If the likelihood is to be normalised and a policy has no `log_prob_parts`.
    """
    stats: list[dict[str, float]] = [{} for _ in lessons]
    stacks: dict[Any, list[int]] = {}
    for i, lesson in enumerate(lessons):
        policy = lesson.learner.policy
        if not rewards(lesson.score, options.reward).any():
            continue
        shapes = tuple(p.shape for p in policy.parameters())
        alone = None if getattr(policy, "stackable", False) else i
        steps = lesson.learner.adam.get("step", 0)
        same = (type(policy), shapes, len(lesson.archs), steps, alone)
        stacks.setdefault(same, []).append(i)
    for members in stacks.values():
        found = _fit_stack([lessons[i] for i in members], options)
        for i, values in zip(members, found, strict=True):
            stats[i] = values
    return stats


def _fit_stack(lessons: Sequence[Lesson], options: FitOptions) -> list[dict[str, float]]:
    learners = [lesson.learner for lesson in lessons]
    rows = torch.stack([learner.row for learner in learners]).requires_grad_()
    stack = _Stack(learners[0].policy)
    adam = torch.optim.Adam([rows], lr=options.learning_rate, fused=True)
    if learners[0].adam:
        step = torch.tensor(float(learners[0].adam["step"]), device=rows.device)
        moments = {
            name: torch.stack([learner.adam[name] for learner in learners]).to(rows.device)
            for name in ("exp_avg", "exp_avg_sq")
        }
        adam.load_state_dict({**adam.state_dict(), "state": {0: {"step": step, **moments}}})
    device, layout = rows.device, learners[0].policy.layout
    archs = ArchitectureBatch.cat([lesson.archs for lesson in lessons]).to(device)
    reward = torch.cat([rewards(lesson.score, options.reward) for lesson in lessons]).to(device)
    length = decisions(archs, layout)
    replicas, kept = len(lessons), len(lessons[0].archs)
    offset = torch.arange(replicas)[:, None] * kept
    part = max(1, 2 * _ROWS // (replicas * layout.max_nodes * (layout.max_nodes + 1)))
    losses: list[Tensor] = []
    norms: list[Tensor] = []
    for _ in range(options.epochs):
        losses.clear()
        norms.clear()
        order = torch.stack([torch.randperm(kept, generator=x.rng) for x in lessons])
        for batch in (order + offset).to(device).split(options.batch_size, dim=1):
            rows.grad = None
            total = torch.zeros(replicas, device=device)
            for some in batch.split(part, dim=1):
                index = some.flatten()
                model = stack.read(rows)
                log_prob = _log_likelihood(model, archs[index], options)
                each = loss_of_each(log_prob, reward[index], length[index], options)
                value = each.view(replicas, -1).sum(dim=1) / batch.shape[1]
                value.sum().backward()
                total += value.detach()
            gradient = rows.grad
            assert gradient is not None
            norm = gradient.norm(dim=1)
            if options.clip is not None:
                gradient *= (options.clip / (norm + 1e-6)).clamp(max=1.0)[:, None]
            adam.step()
            losses.append(total)
            norms.append(norm)
    means = {"loss": torch.stack(losses).mean(0), "gradient norm": torch.stack(norms).mean(0)}
    if not all(bool(values.isfinite().all()) for values in means.values()):
        raise FloatingPointError(
            "the policy gradient stopped being finite: lower learning_rate or clip, and check "
            "that log_prob is finite for every architecture of the space"
        )
    state = adam.state_dict()["state"][0]
    for i, learner in enumerate(learners):
        learner.take(rows.detach()[i])
        moments = {name: state[name][i].clone() for name in ("exp_avg", "exp_avg_sq")}
        learner.adam.update(step=int(state["step"]), **moments)
    return [{name: float(values[i]) for name, values in means.items()} for i in range(replicas)]


class _Stack:
    """A copy of a policy whose parameters are read from rows, one for each replica."""

    def __init__(self, policy: Policy) -> None:
        model = copy.deepcopy(policy)
        assert isinstance(model, nn.Module)
        self.model: Policy = model
        self._places: list[tuple[nn.Module, str, torch.Size]] = []
        for name, parameter in list(model.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            module = model.get_submodule(owner)
            self._places.append((module, leaf, parameter.shape))
            delattr(module, leaf)  # what takes its place is a part of the rows, no parameter

    def read(self, rows: Float[Tensor, "replica parameter"]) -> Policy:
        """Return the model with these parameters."""
        parts = rows.split([shape.numel() for _, _, shape in self._places], dim=1)
        for (module, leaf, shape), part in zip(self._places, parts, strict=True):
            one = len(rows) == 1
            setattr(module, leaf, part.view(shape if one else (len(rows), *shape[1:])))
        return self.model


def _log_likelihood(
    policy: Policy, archs: ArchitectureBatch, options: FitOptions
) -> Float[Tensor, " batch"]:
    if options.likelihood == "graph":
        return policy.log_prob(archs)
    parts = getattr(policy, "log_prob_parts", None)
    if parts is None:
        raise TypeError(f"{type(policy).__name__} has no log_prob_parts: use likelihood = 'graph'")
    nodes = archs.num_nodes.float()
    edges, ops = parts(archs).unbind(dim=1)
    normalised: Tensor = edges / (nodes * (nodes + 1) / 2) + 0.5 * ops / nodes
    return normalised
