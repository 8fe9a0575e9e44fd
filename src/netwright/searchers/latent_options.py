"""How to search in a latent space; see `netwright.searchers.latent`."""

import math
from dataclasses import dataclass, field
from typing import Literal

from netwright.surrogates.dngo import DNGOOptions
from netwright.surrogates.options import GPOptions


@dataclass(frozen=True)
class LatentOptions:
    """How to search; the defaults are for budgets of some hundred evaluations.

    Attributes:
        initial: Random architectures evaluated first.
        acquisition: "log-ei", or "random", which takes candidates as they come: a baseline.
        surrogate: What learns the scores: "gp", a Gaussian process, or "dngo", a regression on the
            features of a network, which chooses a batch without fantasies.
        candidates: "near", "box", "space" or "fixed", see the module.
        pool: Candidates from which a batch is chosen.
        draws: How often a chosen point of the box is decoded.
        iterations: Of L-BFGS from a chosen point of the box; 0 takes the point as it is.
        warp: "rank" learns normal scores of the ranks, which outliers do not disturb, "none" the
            scores themselves.
        elites: Candidates are near the encodings of so many of the best.
        spread: Share of the latent space's standard deviation by which candidates are off them,
            at most; by a tenth of that, at least.
        explore: Share of candidates that are not near the best.
        within: Whether to decode to members of the space only, if the generator can.
        node_mean: Whether the surrogate sees the mean of the latent vectors of an architecture's
            nodes instead of all of them, if the generator has one for each; for candidates that
            are not decoded.
        reference: The score to improve on; None for the best posterior mean at a known point.
        gp: The Gaussian process.
        dngo: The network.
    """

    initial: int = 10
    acquisition: Literal["log-ei", "random"] = "log-ei"
    surrogate: Literal["gp", "dngo"] = "gp"
    candidates: Literal["near", "box", "space", "fixed"] = "near"
    pool: int = 500
    draws: int = 500
    iterations: int = 0
    warp: Literal["rank", "none"] = "rank"
    elites: int = 10
    spread: float = 1.5
    explore: float = 0.2
    within: bool = True
    node_mean: bool = False
    reference: float | None = None
    gp: GPOptions = field(default_factory=GPOptions)
    dngo: DNGOOptions = field(default_factory=DNGOOptions)

    def __post_init__(self) -> None:
        least_of = {"initial": 0, "iterations": 0, "pool": 1, "draws": 1, "elites": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 < self.spread < math.inf:
            raise ValueError(f"spread must be positive and finite, not {self.spread}")
        if not 0 <= self.explore <= 1:
            raise ValueError(f"explore must be a share, not {self.explore}")
        if self.node_mean and self.candidates in ("near", "box"):
            raise ValueError("the mean of a graph's nodes cannot be decoded: candidates = 'fixed'")
        if self.reference is not None and self.warp != "none":
            raise ValueError("a reference is a score, and ranks are learned: set warp = 'none'")
        if self.iterations and self.surrogate == "dngo":
            raise ValueError("L-BFGS climbs Gaussian processes only: set iterations = 0")
