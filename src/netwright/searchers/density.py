"""BOHB's model: propose what is likely among good architectures and unlikely among bad ones.

[Falkner2018] section 3.2 and the code released with it, over architectures instead of
hyperparameters: an architecture is a vector of categories, one for each decision that the layout of
its space leaves open (`Decisions`). What makes it BOHB is successive halving as its evaluator
(`netwright.evaluators.halving`); it works with any other one too. An architecture that halving
stopped is told as NaN and counts as bad, like a failure: the original's model is that of the
longest training for which there are enough scores, and those that were stopped are not in it.

Deviations:

* The spread in the bandwidth rule does not depend on the numbering of categories; statsmodels takes
  the standard deviation of the numbers. Equal for two categories.
* Bandwidths are at most (k - 1) / k, where the kernel of k categories is uniform; statsmodels'
  kernels may leave [0, 1].
* Candidates are drawn from the kernels themselves (released: with probability h, a category out of
  all k), simplified, and only valid, new ones compete.
* The original's factor of 3 widens continuous dimensions only. There are none here:
  ``bandwidth_factor`` is 1 by default.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.searchers.base import Fresh, Proposals
from netwright.spaces.base import SearchSpace


class Decisions:
    """Architectures as vectors of categories.

    There is a dimension for every node that may have several operations, whose categories are
    those it may have, and one for every free pair of nodes: no edge, or an edge. The positions
    after the end of a graph hold the operation that ends it, where they may.

    Attributes:
        sizes: How many categories each dimension has; at least two.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        allowed = layout.allowed_ops
        self._nodes = (allowed.sum(dim=1) > 1).nonzero()[:, 0]
        self._sources, self._targets = layout.free.nonzero().T
        pairs = torch.full((len(self._sources),), 2)
        self.sizes: Int[Tensor, " dim"] = torch.cat([allowed.sum(dim=1)[self._nodes], pairs])
        self._category = (allowed.long().cumsum(dim=1) - 1).clamp(min=0)  # of an operation
        self._op = allowed.long().argsort(dim=1, descending=True, stable=True)  # of a category

    def encode(self, archs: ArchitectureBatch) -> Int[Tensor, "batch dim"]:
        """Return the categories of architectures of the layout."""
        archs = archs.pad(self.layout.max_nodes)
        ops = archs.ops
        if self.layout.end_op is not None:
            ops = torch.where(archs.node_mask, ops, self.layout.end_op)
        nodes = self._category[self._nodes, ops[:, self._nodes]]
        return torch.cat([nodes, archs.adj[:, self._sources, self._targets].long()], dim=1)

    def decode(self, categories: Int[Tensor, "batch dim"]) -> ArchitectureBatch:
        """Return the graphs that vectors stand for; a graph ends where one first may."""
        layout, n = self.layout, len(categories)
        nodes, edges = categories.split([len(self._nodes), len(self._sources)], dim=1)
        ops, adj = self._op[:, 0].repeat(n, 1), layout.forced.repeat(n, 1, 1)
        ops[:, self._nodes] = self._op[self._nodes, nodes]
        adj[:, self._sources, self._targets] = edges.bool()
        size = torch.full((n,), layout.max_nodes)
        if layout.end_op is not None:
            ends = ops == layout.end_op
            size = torch.where(ends.any(dim=1), ends.long().argmax(dim=1) + 1, size)
        return ArchitectureBatch.masked(ops, adj, size)


@dataclass(frozen=True, eq=False)
class Density:
    """A kernel density estimate over vectors of categories.

    The kernel of a dimension with k categories is Aitchison and Aitken's: 1 - h for the category
    of the point itself, h / (k - 1) for every other; that of a vector is the product.

    Attributes:
        points: What it is an estimate from; at least one.
        sizes: How many categories each dimension has.
        bandwidth: The h of each dimension, in 0 .. (k - 1) / k.
    """

    points: Int[Tensor, "point dim"]
    sizes: Int[Tensor, " dim"]
    bandwidth: Float[Tensor, " dim"]

    @classmethod
    def fit(
        cls, points: Int[Tensor, "point dim"], sizes: Int[Tensor, " dim"], *, least: float
    ) -> "Density":
        """Estimate the bandwidths by the normal reference rule.

        For n points of d dimensions, h = 1.06 s n^(-1 / (4 + d)). With p_c the share of points in
        category c, s^2 = (1 - sum p_c^2) / 2: the variance where there are two categories.

        Args:
            points: At least one.
            sizes: How many categories each dimension has.
            least: Smallest bandwidth.
        """
        n, d = points.shape
        category = torch.arange(int(sizes.max()) if d else 0)
        share = (points[:, :, None] == category).double().mean(dim=0)
        spread = ((1 - share.square().sum(dim=1)) / 2).clamp(min=0).sqrt()
        bandwidth = (1.06 * spread * n ** (-1 / (4 + d))).clamp(min=least)
        return cls(points, sizes, bandwidth.minimum(_uniform(sizes)))

    def log_prob(self, categories: Int[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return the logarithm of the density at vectors, in nats."""
        equal = categories[:, None, :] == self.points
        other = self.bandwidth / (self.sizes - 1)
        kernel = torch.where(equal, (1 - self.bandwidth).log(), other.log()).sum(dim=2)
        return kernel.logsumexp(dim=1) - math.log(len(self.points))

    def sample(
        self, n: int, *, rng: torch.Generator, factor: float = 1.0
    ) -> Int[Tensor, "batch dim"]:
        """Draw points and move each by its kernel, with ``factor`` times the bandwidths."""
        start = self.points[torch.randint(len(self.points), (n,), generator=rng)]
        bandwidth = (factor * self.bandwidth).minimum(_uniform(self.sizes))
        moves = torch.rand(start.shape, generator=rng, dtype=torch.float64) < bandwidth
        step = torch.rand(start.shape, generator=rng, dtype=torch.float64) * (self.sizes - 1)
        return torch.where(moves, (start + 1 + step.long()) % self.sizes, start)


def _uniform(sizes: Int[Tensor, " dim"]) -> Float[Tensor, " dim"]:
    """Return the bandwidths of which kernels are uniform."""
    return (sizes - 1) / sizes.double()


@dataclass(frozen=True)
class DensityOptions:
    """How to search; the defaults are [Falkner2018]'s.

    Attributes:
        good: Share of the architectures told that count as good, at least ``min_points`` of them.
        random: Share of proposals that are random.
        candidates: Draws of which the best is proposed.
        bandwidth_factor: Times the bandwidths when candidates are drawn.
        min_bandwidth: Smallest bandwidth.
        min_points: There is no model before so many good ones have a score and so many others are
            known; None for one more than there are dimensions.
    """

    good: float = 0.15
    random: float = 1 / 3
    candidates: int = 64
    bandwidth_factor: float = 1.0
    min_bandwidth: float = 1e-3
    min_points: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.good < 1:
            raise ValueError(f"good must be a share between 0 and 1, not {self.good}")
        if not 0 <= self.random <= 1:
            raise ValueError(f"random must be a share, not {self.random}")
        for name, value in (("candidates", self.candidates), ("min_points", self.min_points)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not 0 < self.min_bandwidth <= 0.5:
            raise ValueError(f"min_bandwidth must lie in 0..0.5, not {self.min_bandwidth}")
        if not 0 < self.bandwidth_factor < math.inf:
            raise ValueError(f"bandwidth_factor must be positive, not {self.bandwidth_factor}")


class DensitySearch:
    """Propose the candidate with the largest ratio of the density of good and of bad ones.

    A share of the proposals is random (origin "random"), and so are all until enough is known, and
    those for which no candidate is valid and new. For each of the others (origin "model") it draws
    candidates from the density of the good. NaN counts as worse than any score.

    Args:
        space: Where to search.
        options: How.
    """

    def __init__(self, space: SearchSpace, *, options: DensityOptions | None = None) -> None:
        self.space, self.options = space, options or DensityOptions()
        self.decisions = Decisions(space.layout)
        self._fresh = Fresh(space)
        self._points = self.decisions.encode(self._fresh.none())  # of everything told, once each
        self._score = torch.zeros(0, dtype=torch.float64)
        self._row: dict[tuple[int, int], int] = {}  # of each key
        self._share = 0.0  # of the last proposals, that the model made

    def ask(self, n: int, *, rng: torch.Generator) -> Proposals:
        """Propose up to ``n`` valid, new architectures; fewer only if the space is exhausted."""
        found, model = Proposals(self._fresh.none(), ()), self.model()
        if model is not None:
            draw = self._candidates(*model, rng)
            guided = int((torch.rand(n, generator=rng) >= self.options.random).sum())
            best = [self._fresh.fill(1, draw, max_draws=1) for _ in range(guided)]
            found = Proposals.cat([found, *best])
        self._share = len(found) / max(n, 1)
        return Proposals.cat([found, self._fresh.random(n - len(found), rng=rng)])

    def model(self) -> tuple[Density, Density] | None:
        """Return the densities of good and of bad architectures; None before enough is known."""
        told, scored = len(self._score), int((~self._score.isnan()).sum())
        least = self.options.min_points or len(self.decisions.sizes) + 1
        good = max(least, int(self.options.good * told))
        good = min(good, scored)
        if good < least or told - good < least:
            return None
        height = torch.where(self._score.isnan(), -math.inf, self._score)
        points = self._points[height.argsort(descending=True, stable=True)]
        sizes, least_bandwidth = self.decisions.sizes, self.options.min_bandwidth
        better = Density.fit(points[:good], sizes, least=least_bandwidth)
        return better, Density.fit(points[good:], sizes, least=least_bandwidth)

    def _candidates(
        self, good: Density, bad: Density, rng: torch.Generator
    ) -> Callable[[int], Proposals]:
        """Return what draws candidates, those with the largest ratio l / g first."""
        options = self.options

        def draw(_: int) -> Proposals:
            drawn = good.sample(options.candidates, rng=rng, factor=options.bandwidth_factor)
            archs = self.space.simplify(self.decisions.decode(drawn))
            categories = self.decisions.encode(archs)
            ratio = good.log_prob(categories) - bad.log_prob(categories)
            return Proposals.of(archs[ratio.argsort(descending=True, stable=True)], "model")

        return draw

    def tell(
        self, archs: ArchitectureBatch, score: Float[Tensor, " batch"], *, rng: torch.Generator
    ) -> None:
        """Take in scores; the newest counts.

        Raises:
            ValueError: If an architecture is not a member of the space.
        """
        del rng
        archs, score = self._fresh.admit(archs, score)
        points, first = self.decisions.encode(archs), list[int]()
        for i, (hi, lo) in enumerate(self.space.keys(archs).tolist()):
            if (hi, lo) not in self._row:
                self._row[hi, lo] = len(self._row)
                first.append(i)
        self._points = torch.cat([self._points, points[torch.tensor(first).long()]])
        self._score = torch.cat([self._score, torch.zeros(len(first), dtype=torch.float64)])
        for (hi, lo), value in zip(self.space.keys(archs).tolist(), score.tolist(), strict=True):
            self._score[self._row[hi, lo]] = value

    def state_dict(self) -> dict[str, Any]:
        """Return all that was told, and what was seen."""
        return {
            "fresh": self._fresh.state_dict(),
            "points": self._points,
            "score": self._score.clone(),
            "keys": torch.tensor(list(self._row), dtype=torch.long).view(-1, 2),
            "share": self._share,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._fresh.load_state_dict(state["fresh"])
        self._points, self._score = state["points"], state["score"].clone()
        self._row = {(hi, lo): row for row, (hi, lo) in enumerate(state["keys"].tolist())}
        self._share = state["share"]

    def stats(self) -> dict[str, float]:
        """Return how many are good and bad, and the share of proposals that the model made."""
        model = self.model()
        good, bad = (0, 0) if model is None else (len(part.points) for part in model)
        return {"good": float(good), "bad": float(bad), "by the model": self._share}
